"""Models of llama2.c: every array is found, turned and named. (Real ones: `test_real_decoders`.)"""

import numpy as np
import pytest
from checkpoints.llama2c_files import write_model

from loren_jax.checkpoints.llama2c_file import Llama2cFile, is_llama2c, llama2c_config
from loren_jax.checkpoints.llama2c_file import read_llama2c_header as read_header
from loren_jax.checkpoints.llama_layout import half_split

LAYER = "model.layers.{}.{}.weight"
STACKED = [
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.down_proj",
    "mlp.up_proj",
]
HEADS = {"self_attn.q_proj": 2, "self_attn.k_proj": 1}


@pytest.mark.parametrize("tied", [True, False])
def test_every_array_is_found(tied, tmp_path):
    path = tmp_path / "model.bin"
    embedding, *stacked, norm, _, _ = arrays = write_model(path, tied=tied)[:13]
    assert len(arrays) == 13
    expected = {"model.embed_tokens.weight": embedding, "model.norm.weight": norm}
    for name, array in zip(STACKED, stacked, strict=True):
        for layer, rows in enumerate(array):
            turned = half_split(rows, HEADS[name]) if name in HEADS else rows
            expected[LAYER.format(layer, name)] = turned
    if not tied:
        expected["lm_head.weight"] = write_model(path, tied=False)[13]
    source = Llama2cFile(path)
    assert sorted(source.names()) == sorted(expected)
    for name, array in expected.items():
        assert (source.shape(name), source.dtype(name)) == (array.shape, "F32")
        np.testing.assert_array_equal(source.read(name), array)


def test_configuration_is_told(tmp_path):
    write_model(tmp_path / "model.bin", tied=False)
    config = llama2c_config(read_header(tmp_path / "model.bin"))
    assert config["model_type"] == "llama"
    sizes = {
        "vocab_size": 269,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 6,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
    }
    assert sizes.items() <= config.items()


@pytest.mark.parametrize("kept", [0, 20, 28, -4])
def test_truncated_file_is_named(kept, tmp_path):
    path = tmp_path / "model.bin"
    write_model(path)
    assert is_llama2c(path)
    path.write_bytes(path.read_bytes()[:kept])
    assert not is_llama2c(path)
    with pytest.raises(ValueError, match=r"model\.bin is no model of llama2\.c"):
        Llama2cFile(path)


@pytest.mark.parametrize(
    ("place", "number"), [(0, 9), (0, -8), (2, 0), (3, 3), (4, 3), (5, 0), (6, 2**31 - 1)]
)
def test_impossible_sizes_are_refused(place, number, tmp_path):
    path = tmp_path / "model.bin"
    write_model(path)
    content = bytearray(path.read_bytes())
    content[4 * place : 4 * place + 4] = number.to_bytes(4, "little", signed=True)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.bin is no model of llama2\.c"):
        read_header(path)


def test_newer_format_is_named(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"24ka" + bytes(300))
    with pytest.raises(ValueError, match="--version 0"):
        read_header(path)
