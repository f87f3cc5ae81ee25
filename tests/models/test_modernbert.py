"""ModernBERT in its variants, its first layer, its head and what padding is to its windows."""

import jax
import numpy as np
import pytest
from models.tiny_checkpoints import (
    ENCODERS,
    TinyCheckpoint,
    export,
    load,
    padded_batch,
    shapes_of,
    torch_logits,
    torch_model,
)

from loren_jax.models import FAMILIES, load_classifier
from loren_jax.models.families import abstract_params

BIASES = dict.fromkeys(("norm_bias", "attention_bias", "mlp_bias", "classifier_bias"), True)
RENEWED = {
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "rope_parameters": {
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 30.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 5.0},
    },
}
VARIANTS = {
    "mean": {"classifier_pooling": "mean"},
    "biases, of which the norms have some": BIASES,
    "as transformers 5 writes it": {**RENEWED, "classifier_pooling": "mean"},
}
# Of transformers 5.24.0 with torch 2.14.1: `test_golden_logits_are_the_oracles` recomputes them.
GOLDEN = {
    "mean": [
        [-0.04784817, 0.0155359, 0.2196899],
        [-0.1612915, 0.1202703, 0.1772048],
        [0.1019071, -0.1873784, 0.1298456],
    ],
    "biases, of which the norms have some": [
        [0.02462339, -0.1048281, 0.03407465],
        [-0.004764412, -0.1638389, 0.02958721],
        [0.0153887, -0.1021464, 0.04556136],
    ],
    "as transformers 5 writes it": [
        [-0.03696177, 0.003541727, 0.2264884],
        [-0.1068186, 0.1292133, 0.1703131],
        [0.1019071, -0.1873784, 0.1298456],
    ],
}
PADDED = padded_batch(2)[:2]
ALIKE = [row for row in range(4) if PADDED[1][row, 0]]
"""Rows without padding on the left, of which transformers reads the first place."""


def tiny(**changes):
    return TinyCheckpoint({**ENCODERS["modernbert"], **changes})


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_are_golden(variant, tmp_path):
    model = load(tiny(**VARIANTS[variant]).write(tmp_path), "classification")
    found = np.asarray(jax.jit(model.apply)(model.params, *PADDED))
    np.testing.assert_allclose(found[ALIKE], GOLDEN[variant], atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("variant", VARIANTS)
def test_golden_logits_are_the_oracles(variant, tmp_path):
    """Also of what we export."""
    source = tiny(**VARIANTS[variant]).write(tmp_path / "source")
    out = export(tmp_path / "out", source, load(source, "classification"))
    for directory in (source, out):
        model = torch_model(directory, "ModernBertForSequenceClassification")
        oracle = torch_logits(model, *PADDED)[ALIKE]
        np.testing.assert_allclose(oracle, GOLDEN[variant], atol=1e-5)


@pytest.mark.oracle
def test_language_model_without_an_output_bias_is_the_oracles(tmp_path):
    checkpoint = TinyCheckpoint(
        {**ENCODERS["modernbert"], "decoder_bias": False}, head="language_model"
    )
    model = load(checkpoint.write(tmp_path), "language_model")
    ids, mask = (x[:1] for x in PADDED)
    oracle = torch_logits(torch_model(tmp_path, "ModernBertForMaskedLM"), ids, mask)
    np.testing.assert_allclose(model.apply(model.params, ids, mask), oracle, atol=1e-5)
    assert "bias" not in model.params


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_padding_on_either_side_does_not_matter(pooling, tmp_path):
    """The window at the first place of the third row shows padding alone."""
    model = load(tiny(classifier_pooling=pooling).write(tmp_path), "classification")
    assert model.config.pooling == pooling
    apply, (ids, mask) = jax.jit(model.apply), map(np.asarray, PADDED)
    texts, found = [row[read == 1] for row, read in zip(ids, mask, strict=True)], []
    for side in (0, 1):
        edges = [(0, 7 - len(text))[:: 1 - 2 * side] for text in texts]
        padded = np.stack([np.pad(t, e) for t, e in zip(texts, edges, strict=True)])
        read = np.stack([np.pad(t * 0 + 1, e) for t, e in zip(texts, edges, strict=True)])
        found.append(apply(model.params, padded, read))
    np.testing.assert_allclose(*found, atol=1e-5)


def test_first_layer_alone_has_no_norm_before_its_attention():
    shapes = shapes_of(tiny().config)
    assert "first/attention_norm/scale" not in shapes
    assert shapes["layers/attention_norm/scale"] == (2, 12)
    assert shapes["first/attention/input/kernel"] == (12, 36)
    assert shapes["layers/attention/input/kernel"] == (2, 12, 36)
    names = tiny().tensors
    assert "model.layers.0.attn_norm.weight" not in names
    assert {"model.layers.1.attn_norm.weight", "model.layers.2.attn_norm.weight"} <= set(names)


def test_classifier_goes_on_with_the_head_of_the_language_model(tmp_path):
    checkpoint = TinyCheckpoint(ENCODERS["modernbert"], head="language_model")
    whole = load_classifier(checkpoint.write(tmp_path / "whole"), num_labels=2)
    language = load(tmp_path / "whole", "language_model")
    jax.tree.map(np.testing.assert_array_equal, whole.params["head"], language.params["head"])
    bare = load_classifier(checkpoint.without_head().write(tmp_path / "bare"), num_labels=2)
    head = bare.params["head"]
    np.testing.assert_array_equal(head["norm"]["scale"], np.ones(12))
    assert 0.01 < head["dense"]["kernel"].std() < 0.03


def test_number_of_parameters_is_the_published_one():
    """Of ModernBERT-base with the head of its language model."""
    sizes = {"vocab_size": 50368, "hidden_size": 768, "intermediate_size": 1152}
    sizes |= {"num_hidden_layers": 22, "num_attention_heads": 12}
    config = FAMILIES["modernbert"].config.from_hugging_face(sizes, head="language_model")
    leaves = jax.tree.leaves(abstract_params(config))
    assert sum(leaf.size for leaf in leaves) == 149_655_232
    assert [kind.window for kind in config.kinds[:4]] == [None, 64, 64, None]
    assert [kind.rotary.theta for kind in config.kinds[:2]] == [160000.0, 10000.0]
