"""GPT-2 against golden logits that torch made, and what its checkpoints and configurations say.

`golden_gpt2.json` holds the logits of transformers 5.23.0 with torch 2.13.0 for the weights and the
batch of `tiny_decoders.py`; `test_golden_logits_are_the_oracles` recomputes them.
"""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_decoders import TensorTable, TinyDecoder, batch, check_golden, check_narrow, read_only

from loren_jax.models.families import abstract_params
from loren_jax.models.gpt2 import gpt2_export, gpt2_weight_table
from loren_jax.models.gpt2_config import GPT2Config
from loren_jax.models.weights import flatten_params, match_tensors

GOLDEN = json.loads(Path(__file__).with_name("golden_gpt2.json").read_text())
UNTIED = {
    "tie_word_embeddings": False,
    "n_inner": 20,
    "activation_function": "relu",
    "layer_norm_epsilon": 1e-2,
}
CASES = {
    "classification": ("classification", {}),
    "language model": ("language_model", {}),
    "untied": ("language_model", UNTIED),
}


@pytest.mark.parametrize("case", CASES)
def test_logits_are_golden(case):
    head, changes = CASES[case]
    check_golden(GOLDEN[case], TinyDecoder("gpt2", head, **changes))


@pytest.mark.oracle
@pytest.mark.parametrize("case", CASES)
def test_golden_logits_are_the_oracles(case):
    head, changes = CASES[case]
    ids, mask = batch()
    oracle = TinyDecoder("gpt2", head, **changes).torch(ids, mask)
    np.testing.assert_allclose(read_only(oracle, mask), GOLDEN[case], atol=1e-5)


def test_bfloat16_parameters_keep_their_type():
    check_narrow(TinyDecoder("gpt2", "language_model"), 0.05)


def test_parameter_paths_and_shapes():
    config = TinyDecoder("gpt2").config
    shapes = {path: leaf.shape for path, leaf in flatten_params(abstract_params(config)).items()}
    norms = {"layers/attention_norm", "layers/mlp_norm"}
    assert shapes == {
        "word/embedding": (13, 8),
        "position/embedding": (9, 8),
        **{f"{path}/{leaf}": (2, 8) for path in norms for leaf in ("scale", "bias")},
        "layers/attention/input/kernel": (2, 8, 24),
        "layers/attention/input/bias": (2, 24),
        "layers/attention/output/kernel": (2, 8, 8),
        "layers/attention/output/bias": (2, 8),
        "layers/up/kernel": (2, 8, 32),
        "layers/up/bias": (2, 32),
        "layers/down/kernel": (2, 32, 8),
        "layers/down/bias": (2, 8),
        "norm/scale": (8,),
        "norm/bias": (8,),
        "score/kernel": (8, 3),
    }


def test_published_checkpoint_fits_both_heads():
    """The Hub's GPT-2: no prefix, the mask as a tensor, the tied head written out or not."""
    tensors = {
        name.removeprefix("transformer."): tensor
        for name, tensor in TinyDecoder("gpt2", "language_model").tensors.items()
    }
    tensors["h.0.attn.bias"] = np.ones((1, 1, 9, 9), np.float32)
    tensors["h.0.attn.masked_bias"] = np.float32(-1e4)
    tensors["lm_head.weight"] = tensors["wte.weight"]
    for head in ("classification", "language_model"):
        config = TinyDecoder("gpt2", head).config
        matched = match_tensors(
            TensorTable(tensors), gpt2_weight_table(config), abstract_params(config)
        )
        assert matched["transformer.wte.weight"] == "wte.weight"
        assert "score.weight" not in matched


def test_missing_output_layer_is_an_error():
    decoder = TinyDecoder("gpt2", "language_model", tie_word_embeddings=False)
    del decoder.tensors["lm_head.weight"]
    table = gpt2_weight_table(decoder.config)
    with pytest.raises(ValueError, match=r"lm_head\.weight"):
        match_tensors(decoder.tensors, table, abstract_params(decoder.config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx=True"),
        ({"reorder_and_upcast_attn": True}, "reorder_and_upcast_attn=True"),
        ({"scale_attn_weights": False}, "scale_attn_weights=False"),
        ({"add_cross_attention": True}, "add_cross_attention=True"),
        ({"activation_function": "mish"}, "activation_function='mish'.*gelu_new"),
        ({"n_head": 3}, "n_embd=8 must be a multiple of n_head=3"),
        ({"n_layer": 0}, "n_layer=0 must be at least 1"),
    ],
)
def test_unsupported_options_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TinyDecoder("gpt2", **change)


def test_missing_sizes_are_named():
    with pytest.raises(ValueError, match=r"lacks.*n_embd.*GPT2"):
        GPT2Config.from_hugging_face({"vocab_size": 13, "n_layer": 2, "n_head": 2})


def test_export_names_the_torch_class():
    assert gpt2_export(TinyDecoder("gpt2").config).architecture == "GPT2ForSequenceClassification"
    model = gpt2_export(TinyDecoder("gpt2", "language_model").config)
    assert model.architecture == "GPT2LMHeadModel"


def test_too_long_input_is_refused():
    decoder = TinyDecoder("gpt2")
    ids = jnp.ones((1, 10), jnp.int32)
    with pytest.raises(ValueError, match=r"input_ids has 10 tokens.*9 positions"):
        decoder.run(ids, ids)
