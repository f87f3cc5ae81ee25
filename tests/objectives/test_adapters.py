"""What the optimiser of a run sees, and what becomes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.tiny_checkpoints import DECODERS, ENCODERS, TinyCheckpoint, shapes_of

from loren_jax.models import BertConfig, Classifier, GPT2Config, apply_function, init_params
from loren_jax.models.kernel_names import kernel_patterns
from loren_jax.noise import leaf_paths
from loren_jax.objectives import ClassificationConfig
from loren_jax.objectives.adapters import trainable_model

SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}
BERT = BertConfig(vocab_size=9, hidden_size=8, **SIZES)
IDS = jnp.array([[1, 2, 3]])
INPUTS = (IDS, jnp.ones_like(IDS), jnp.zeros_like(IDS))


def init_classifier(config):
    return Classifier(config, apply_function(config), init_params(config), ("no", "yes"))


def trainable(model=BERT, **options):
    return trainable_model(ClassificationConfig(**options), init_classifier(model))


def test_a_mask_on_the_models_own_parameters():
    found = trainable(trainable=("classifier/*", "layers/up/bias"))
    assert found.trained_paths == ["classifier/bias", "classifier/kernel", "layers/up/bias"]
    assert found.trained_parameters == 8 * 2 + 2 + 2 * 12
    assert found.parameters == sum(leaf.size for leaf in jax.tree.leaves(found.params))
    assert found.frozen == ()
    assert found.merge(found.params) is found.params
    assert trainable().trained_paths is None


def test_adapters_beside_a_frozen_model():
    """With the head in full; they change nothing yet, and what they change is merged."""
    found, plain = trainable(lora_rank=2, lora_alpha=6.0), trainable()
    assert set(found.params) == {"classifier", "layers"}
    assert found.params["layers"]["attention"]["query"]["kernel"]["down"].shape == (2, 8, 2)
    assert found.trained_parameters == 4 * 2 * 2 * (8 + 8) + 8 * 2 + 2
    assert found.parameters == plain.parameters
    answers = lambda params: found.apply(params, *INPUTS, *found.frozen)
    own = lambda params: plain.apply(params, *INPUTS)
    np.testing.assert_allclose(answers(found.params), own(plain.params), atol=1e-6)
    moved = jax.tree.map(lambda leaf: leaf + 0.1, found.params)
    merged = found.merge(moved)
    np.testing.assert_allclose(own(merged), answers(moved), atol=1e-5)
    kernel = lambda params: params["layers"]["attention"]["query"]["kernel"]
    product = kernel(moved)["down"] @ kernel(moved)["up"]
    np.testing.assert_allclose(kernel(merged), kernel(plain.params) + 3.0 * product, atol=1e-5)


def test_the_head_goes_by_its_familys_name():
    gpt2 = GPT2Config(vocab_size=8, n_embd=4, n_layer=1, n_head=2)
    assert "score" in trainable(gpt2, lora_rank=1, lora_targets=("layers/*/kernel",)).params


def test_patterns_that_match_nothing():
    with pytest.raises(ValueError, match="trainable: 'head/\\*' matches no parameter"):
        trainable(trainable=("head/*",))
    with pytest.raises(ValueError, match="targets: 'nothing' matches no parameter"):
        trainable(lora_rank=1, lora_targets=("nothing",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora_targets": ("query",)}, "lora_targets chooses what to adapt: give lora_rank too"),
        (
            {"lora_rank": 2, "lora_targets": ("qeury",)},
            "^lora_targets: 'qeury' matches no .* names are down, key, output, pooler, query, up,",
        ),
        ({"lora_rank": 2, "lora_targets": ("*/qeury",)}, r"^lora_targets: '\*/qeury' matches no"),
        ({"lora_rank": 2, "trainable": ("lora*",)}, r"^trainable: 'lora\*' matches no"),
    ],
)
def test_errors_name_the_options(options, message):
    with pytest.raises(ValueError, match=message):
        trainable(**options)


@pytest.mark.parametrize(
    ("target", "adapted"),
    [
        ("query", {"attention/query"}),
        ("attention.self.query", {"attention/query"}),
        ("layers/attention/query/kernel", {"attention/query"}),
        ("dense", {"attention/output", "up", "down"}),  # PEFT takes all that end so
        ("attention.output.dense", {"attention/output"}),
        ("output", {"attention/output"}),
    ],
)
def test_a_target_is_the_name_of_a_module(target, adapted):
    found = trainable(lora_rank=1, lora_targets=(target,)).params["layers"]
    paths = {f"layers/{name}/kernel/{part}" for name in adapted for part in ("down", "up")}
    assert set(leaf_paths({"layers": found})) == paths


@pytest.mark.parametrize(
    ("family", "names", "count"),
    [
        ("roberta", ("query", "value"), 2),
        ("distilbert", ("q_lin", "v_lin"), 2),
        ("modernbert", ("Wqkv",), 2),  # of the first layer and of the others
        ("gpt2", ("c_attn",), 1),
        ("gpt2", ("c_proj",), 2),  # of the attention and of the MLP
        ("opt", ("q_proj", "v_proj", "out_proj", "fc1"), 4),
        ("llama", ("q_proj", "v_proj", "gate_proj"), 3),
        ("llama", ("query", "gate"), 2),
    ],
)
def test_every_family_knows_the_names_of_transformers(family, names, count):
    checkpoint = TinyCheckpoint({**ENCODERS, **DECODERS}[family])
    paths = kernel_patterns(checkpoint.config, names, [])
    assert len(paths) == count
    assert set(paths) <= set(shapes_of(checkpoint.config))
    with pytest.raises(ValueError, match="'classifier' matches no parameter and is the name of no"):
        kernel_patterns(checkpoint.config, ["classifier"], [])


def test_the_head_has_one_name_in_every_family():
    assert trainable(trainable=("head",)).trained_paths == ["classifier/bias", "classifier/kernel"]
    gpt2 = GPT2Config(vocab_size=8, n_embd=4, n_layer=1, n_head=2)
    (path,) = trainable(gpt2, trainable=("head",)).trained_paths
    assert path.startswith("score/")
