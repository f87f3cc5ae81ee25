"""Llama in its published variants against golden logits that torch made, and its checkpoints.

`golden_llama.json` holds the logits of transformers 5.23.0 with torch 2.13.0 for the weights and
the batch of `tiny_decoders.py`; `test_golden_logits_are_the_oracles` recomputes them.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_decoders import TensorTable, TinyDecoder, batch, check_golden, check_narrow, read_only

from loren_jax.models.families import abstract_params
from loren_jax.models.llama import llama_export, llama_weight_table
from loren_jax.models.weights import flatten_params, match_tensors

GOLDEN = json.loads(Path(__file__).with_name("golden_llama.json").read_text())
# Of the four pairs of a head one turns fast, two are interpolated and one is slow.
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SHARED = {
    "num_key_value_heads": 1,
    "rope_theta": 100.0,
    "rope_scaling": LLAMA3,
    "attention_bias": True,
    "mlp_bias": True,
}
TIED = {
    "tie_word_embeddings": True,
    "head_dim": 6,
    "hidden_act": "gelu",
    "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 50.0},
}
CASES = {
    "4 to 1, llama3, biases": ("classification", SHARED),
    "4 to 2, untied": ("language_model", {}),
    "tied, linear, wide heads": ("language_model", TIED),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_golden(case):
    head, changes = CASES[case]
    check_golden(GOLDEN[case], TinyDecoder("llama", head, **changes))


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES)
def test_golden_logits_are_the_oracles(case):
    head, changes = CASES[case]
    ids, mask = batch()
    oracle = TinyDecoder("llama", head, **changes).torch(ids, mask)
    np.testing.assert_allclose(read_only(oracle, mask), GOLDEN[case], atol=1e-5)


@pytest.mark.oracle
def test_rotary_scaling_is_felt():
    """Without it the golden logits would be others: the case tests what it says."""
    ids, mask = batch()
    plain = {**SHARED, "rope_scaling": None}
    oracle = TinyDecoder("llama", **plain).torch(ids, mask)
    assert np.abs(oracle - np.array(GOLDEN["4 to 1, llama3, biases"])).max() > 1e-2


def test_bfloat16_parameters_keep_their_type():
    check_narrow(TinyDecoder("llama", **SHARED), 0.1)


def test_parameter_paths_and_shapes():
    config = TinyDecoder("llama", "language_model").config
    shapes = {path: leaf.shape for path, leaf in flatten_params(abstract_params(config)).items()}
    assert shapes == {
        "word/embedding": (13, 32),
        "layers/attention_norm/scale": (2, 32),
        "layers/attention/query/kernel": (2, 32, 32),
        "layers/attention/key/kernel": (2, 32, 16),
        "layers/attention/value/kernel": (2, 32, 16),
        "layers/attention/output/kernel": (2, 32, 32),
        "layers/mlp_norm/scale": (2, 32),
        "layers/gate/kernel": (2, 32, 12),
        "layers/up/kernel": (2, 32, 12),
        "layers/down/kernel": (2, 12, 32),
        "norm/scale": (32,),
        "lm_head/kernel": (32, 13),
    }


def test_published_checkpoint_fits_a_classifier():
    """A causal model's tensors, and the frequencies that old checkpoints hold."""
    tensors = dict(TinyDecoder("llama", "language_model").tensors)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(4, np.float32)
    config = TinyDecoder("llama").config
    table = llama_weight_table(config)
    matched = match_tensors(TensorTable(tensors), table, abstract_params(config))
    assert "lm_head.weight" not in matched
    assert "score.weight" not in matched


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_key_value_heads": 3}, "num_attention_heads=4.*num_key_value_heads=3"),
        ({"head_dim": 5}, "head_dim=5 must be even"),
        ({"hidden_size": 30}, "hidden_size=30 must be a multiple of num_attention_heads=4"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type='dynamic'"),
        ({"hidden_act": "mish"}, "hidden_act='mish'"),
    ],
)
def test_unsupported_options_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TinyDecoder("llama", **change)


def test_export_names_the_torch_class():
    config = TinyDecoder("llama").config
    assert llama_export(config).architecture == "LlamaForSequenceClassification"
    export = llama_export(TinyDecoder("llama", "language_model").config)
    assert export.architecture == "LlamaForCausalLM"
    assert export.settings == {"tie_word_embeddings": False}
