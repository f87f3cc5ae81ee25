"""OPT in all its shapes against golden logits that torch made, and its checkpoints.

`golden_opt.json` holds the logits of transformers 5.23.0 with torch 2.13.0 for the weights and the
batch of `tiny_decoders.py`; `test_golden_logits_are_the_oracles` recomputes them.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_decoders import TensorTable, TinyDecoder, batch, check_golden, check_narrow, read_only

from loren_jax.models.families import abstract_params
from loren_jax.models.opt import opt_export, opt_weight_table
from loren_jax.models.weights import flatten_params, match_tensors

GOLDEN = json.loads(Path(__file__).with_name("golden_opt.json").read_text())
SHAPE_350M = {"do_layer_norm_before": False, "word_embed_proj_dim": 6}
BARE = {
    "enable_bias": False,
    "layer_norm_elementwise_affine": False,
    "_remove_final_layer_norm": True,
    "activation_function": "gelu",
}
CASES = {
    "classification": ("classification", {}),
    "350m": ("language_model", SHAPE_350M),
    "bare": ("language_model", BARE),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_golden(case):
    head, changes = CASES[case]
    check_golden(GOLDEN[case], TinyDecoder("opt", head, **changes))


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES)
def test_golden_logits_are_the_oracles(case):
    head, changes = CASES[case]
    ids, mask = batch()
    oracle = TinyDecoder("opt", head, **changes).torch(ids, mask)
    np.testing.assert_allclose(read_only(oracle, mask), GOLDEN[case], atol=1e-5)


def test_bfloat16_parameters_keep_their_type():
    check_narrow(TinyDecoder("opt"), 0.05)


def test_parameters_of_the_350m_shape():
    config = TinyDecoder("opt", **SHAPE_350M).config
    shapes = {path: leaf.shape for path, leaf in flatten_params(abstract_params(config)).items()}
    assert shapes["word/embedding"] == (13, 6)
    assert shapes["position/embedding"] == (11, 8)
    assert shapes["project_in/kernel"] == (6, 8)
    assert shapes["project_out/kernel"] == (8, 6)
    assert shapes["score/kernel"] == (6, 3)
    assert "norm/scale" not in shapes


@pytest.mark.parametrize("prefix", ["model.decoder.", "decoder."])
def test_published_checkpoint_fits_both_heads(prefix):
    tensors = {
        name.replace("model.decoder.", prefix): tensor
        for name, tensor in TinyDecoder("opt", "language_model").tensors.items()
    }
    tensors["lm_head.weight"] = tensors[f"{prefix}embed_tokens.weight"]
    for head in ("classification", "language_model"):
        config = TinyDecoder("opt", head).config
        table = opt_weight_table(config)
        matched = match_tensors(TensorTable(tensors), table, abstract_params(config))
        assert matched["model.decoder.layers.1.fc1.bias"] == f"{prefix}layers.1.fc1.bias"
        assert "score.weight" not in matched


def test_unsupported_activation_is_refused():
    with pytest.raises(ValueError, match=r"activation_function='mish'.*relu"):
        TinyDecoder("opt", activation_function="mish")


def test_export_names_the_torch_class():
    export = opt_export(TinyDecoder("opt", pad_token_id=4).config)
    assert export.architecture == "OPTForSequenceClassification"
    assert export.settings == {"pad_token_id": 4}
    assert opt_export(TinyDecoder("opt", "language_model").config).architecture == "OPTForCausalLM"
