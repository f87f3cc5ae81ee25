"""What every decoder does after its last layer, on one without layers; the loss of a span."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from models.decoder_cases import CASES, VARIANTS
from models.tiny_checkpoints import DECODERS, TinyDecoder, decoder_batch

from loren_jax import noise
from loren_jax.diagnostics import dense_leaves
from loren_jax.directions import isotropic
from loren_jax.evaluation import materialised, perturbed
from loren_jax.models import apply_function, choice_function, span_loss
from loren_jax.models.decoder import Decoder, DecoderConfig, last_true
from loren_jax.models.families import abstract_params


@dataclass(frozen=True, kw_only=True)
class BagConfig(DecoderConfig):
    """A decoder whose hidden states are its word embeddings."""

    act: str = "relu"
    ACTIVATION: ClassVar[str] = "act"

    @property
    def max_length(self):
        """Longest sequence."""
        return 4


class Bag(Decoder):
    """The network."""

    def hidden(self, input_ids, places, memory=None):
        return self.word(jnp.asarray(input_ids))


def bag(**options):
    network = Bag(BagConfig(vocab_size=6, **options), 3, rngs=nnx.Rngs(0))
    return network, np.asarray(network.word.embedding[...])


IDS = np.array([[2, 3, 0, 0], [0, 0, 4, 5], [2, 0, 0, 0], [3, 4, 5, 0]])
MASK = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0], [1, 1, 1, 1]])


@pytest.mark.parametrize(("pad", "pooled"), [(0, [3, 5, 2, 5]), (None, [3, 5, 2, 0])])
def test_classifier_reads_the_last_token(pad, pooled):
    """By the ids where padding has one, even if the last token of the text is the same; else by
    the mask."""
    network, table = bag(pad_token_id=pad, num_labels=3)
    wanted = table[pooled] @ np.asarray(network.score.kernel[...])
    np.testing.assert_allclose(network(IDS, MASK), wanted, atol=1e-6)
    np.testing.assert_allclose(network(IDS, MASK != 0, IDS), wanted, atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
def test_choices_are_logits_at_the_last_unmasked_token(tied):
    network, table = bag(head="language_model", tie_word_embeddings=tied, pad_token_id=0)
    output = table.T if tied else np.asarray(network.lm_head.kernel[...])
    logits = network(IDS, MASK)
    np.testing.assert_allclose(logits, table[IDS] @ output, atol=1e-6)
    found = network.choices(IDS, MASK, None, np.array([4, 1]))
    np.testing.assert_allclose(found, (table[[3, 5, 2, 0]] @ output)[:, [4, 1]], atol=1e-6)


@pytest.mark.parametrize("model_type", ["gpt2", "llama", "qwen2", "gemma3_text"])
def test_perturbed_evaluation_is_that_of_perturbed_weights(model_type):
    """With a tied output layer and with one of its own, on all tokens and on two of them."""
    decoder = TinyDecoder(model_type, "language_model", **VARIANTS[model_type])
    params, (ids, mask) = decoder.params(), decoder_batch()

    def loss(params):
        chosen = choice_function(decoder.config, [5, 2])(params, ids, mask)
        told = span_loss(apply_function(decoder.config)(params, ids, mask), ids, mask)
        return told + jnp.mean(jax.nn.logsumexp(chosen, axis=-1) - chosen[:, 0])

    @jax.jit
    def both(scale):
        directions = isotropic(rank=1).draw((), params, noise.run_key(0))
        return [way(loss, params).run(directions, scale) for way in (perturbed, materialised)]

    found, wanted = both(jnp.float32(0.1))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert abs(wanted - loss(params)) > 1e-2


@pytest.mark.parametrize(("family", "case"), CASES)
def test_no_weight_is_made_dense_by_perturbed_evaluation(family, case):
    head, changes = CASES[family, case]
    config = TinyDecoder(family, head, **changes).config
    narrow = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16)
    params = jax.tree.map(narrow, abstract_params(config))
    applied = [apply_function(config)]
    if head == "language_model":
        applied.append(choice_function(config, [5, 2]))
    for apply in applied:
        loss = lambda params, apply=apply: apply(params, *decoder_batch()).sum()
        assert dense_leaves(loss, params) == []


def test_choices_need_a_language_model():
    with pytest.raises(ValueError, match=r"head='classification'.*load_prompted"):
        bag()[0].choices(IDS, MASK, None, np.array([1]))


@pytest.mark.parametrize("family", DECODERS)
def test_too_long_input_is_refused(family):
    config = TinyDecoder(family).config
    ids = np.ones((1, config.max_length + 1), np.int32)
    with pytest.raises(ValueError, match=rf"{ids.size} tokens a row.*{ids.size - 1} positions"):
        jax.eval_shape(apply_function(config), abstract_params(config), ids, ids)


def test_last_true_of_every_row():
    flags = jnp.array([[True, False, True, False], [False] * 4, [False, False, False, True]])
    assert last_true(flags).tolist() == [2, 0, 3]


RNG = np.random.default_rng(0)
LOGITS = jnp.asarray(3 * RNG.standard_normal((2, 4, 5)), jnp.float32)
LOSS = jax.jit(span_loss)
SPAN_IDS = RNG.integers(0, 5, (2, 4)).astype(np.int32)


def by_hand(span):
    wide = np.asarray(LOGITS, np.float64)
    nats = [
        np.log(np.exp(wide[b, t - 1]).sum()) - wide[b, t - 1, SPAN_IDS[b, t]]
        for b in range(2)
        for t in range(1, 4)
        if span[b][t]
    ]
    return np.mean(nats)


@pytest.mark.parametrize(
    "span",
    [
        [[1, 1, 1, 1], [1, 1, 1, 1]],  # the first token is never predicted
        [[0, 0, 1, 1], [0, 0, 0, 1]],  # the mean is over tokens, not over rows
        [[0, 2, 0, 0], [0, 0, 0, 0]],
    ],
)
def test_mean_over_the_spans_targets(span):
    loss = LOSS(LOGITS, SPAN_IDS, np.array(span))
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, by_hand(span), rtol=1e-6)
    np.testing.assert_array_equal(LOSS(LOGITS, SPAN_IDS, np.array(span) != 0), loss)


@pytest.mark.parametrize("first", [0, 1])
def test_empty_span_is_no_nan(first):
    span = np.array([[first, 0, 0, 0]] * 2)
    assert LOSS(LOGITS, SPAN_IDS, span) == 0


def test_what_stands_outside_the_span_may_be_infinite():
    logits = np.array(LOGITS)
    logits[:, 0] = np.nan
    span = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    np.testing.assert_allclose(LOSS(logits, SPAN_IDS, span), by_hand(span), rtol=1e-6)


def test_bfloat16_logits_are_summed_in_float32():
    span = np.ones((2, 4), np.int32)
    narrow = jnp.asarray(LOGITS, jnp.bfloat16)
    loss = LOSS(narrow, SPAN_IDS, span)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, LOSS(narrow.astype(jnp.float32), SPAN_IDS, span), rtol=1e-6)


def test_large_logits_do_not_overflow():
    assert jnp.isfinite(LOSS(LOGITS * 1e4, SPAN_IDS, np.ones((2, 4), np.int32)))
