"""Tensors of a GGUF come under Hugging Face's names, whole, and in its layout."""

import sys

import numpy as np
import pytest
from checkpoints.gguf_files import SHAPES, stored_tensors, write_gguf

from loren_jax.checkpoints.gguf.tensors import GGUFFile, half_split

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "model.layers.0.input_layernorm.weight": "blk.0.attn_norm.weight",
    "model.layers.0.self_attn.q_proj.weight": "blk.0.attn_q.weight",
    "model.layers.0.self_attn.k_proj.weight": "blk.0.attn_k.weight",
    "model.layers.0.self_attn.v_proj.weight": "blk.0.attn_v.weight",
    "model.layers.0.self_attn.o_proj.weight": "blk.0.attn_output.weight",
    "model.layers.0.post_attention_layernorm.weight": "blk.0.ffn_norm.weight",
    "model.layers.0.mlp.gate_proj.weight": "blk.0.ffn_gate.weight",
    "model.layers.0.mlp.up_proj.weight": "blk.0.ffn_up.weight",
    "model.layers.0.mlp.down_proj.weight": "blk.0.ffn_down.weight",
}
HEADS = {"blk.0.attn_q.weight": 4, "blk.0.attn_k.weight": 2}


@pytest.mark.parametrize(
    ("packing", "dtype", "tolerance"),
    [("F32", "F32", 0), ("F16", "F16", 1e-3), ("Q8_0", "F32", 2e-2)],
)
def test_every_tensor_is_read(packing, dtype, tolerance, tmp_path):
    source = GGUFFile(write_gguf(tmp_path / "model.gguf", packing=packing))
    assert sorted(source.names()) == sorted(NAMES)
    for name, stored in NAMES.items():
        tensor = stored_tensors()[stored]
        assert source.shape(name) == tensor.shape
        assert source.dtype(name) == (dtype if tensor.ndim > 1 else "F32")
        expected = half_split(tensor, HEADS[stored]) if stored in HEADS else tensor
        read = source.read(name)
        assert read.dtype == (np.float16 if source.dtype(name) == "F16" else np.float32)
        np.testing.assert_allclose(read, expected, rtol=0, atol=tolerance)


def opened(path, **more):
    return GGUFFile(write_gguf(path / "model.gguf", tensors={**stored_tensors(), **more}))


def test_biases_are_reordered_with_their_kernels(tmp_path):
    bias = np.arange(32, dtype=np.float32)
    source = opened(tmp_path, **{"blk.0.attn_q.bias": bias})
    read = source.read("model.layers.0.self_attn.q_proj.bias")
    np.testing.assert_array_equal(read, half_split(bias, 4))


def test_rotary_factors_are_no_tensor_and_that_of_another_family_is_named(tmp_path):
    four = np.ones(4, np.float32)
    assert sorted(opened(tmp_path, **{"rope_freqs.weight": four}).names()) == sorted(NAMES)
    with pytest.raises(ValueError, match=r"'blk\.0\.ffn_gate_exps\.weight' is no part of a "):
        opened(tmp_path, **{"blk.0.ffn_gate_exps.weight": four})


def test_truncated_file_is_named(tmp_path):
    path = write_gguf(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"incomplete: tensor 'blk\.0\.ffn_down\.weight' ends"):
        GGUFFile(path)


def test_without_the_package_only_plain_tensors_are_read(tmp_path, monkeypatch):
    plain = write_gguf(tmp_path / "plain.gguf", packing="F16")
    quantised = write_gguf(tmp_path / "quantised.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    assert GGUFFile(plain).read("model.embed_tokens.weight").shape == SHAPES["token_embd.weight"]
    with pytest.raises(
        ImportError, match=r"quantised\.gguf holds .*pip install 'loren-jax\[gguf\]'"
    ):
        GGUFFile(quantised)


ANGLES = 2.0 ** -np.arange(4)


def rotated(features, position, *, interleaved):
    """One head's features, pairs turned by the position."""
    first, second = (features[0::2], features[1::2]) if interleaved else np.split(features, 2)
    turned = (first + 1j * second) * np.exp(1j * position * ANGLES)
    return np.concatenate([turned.real, turned.imag])


def test_rows_for_half_split_rotation_keep_the_attention_of_interleaved_rotation():
    rng = np.random.default_rng(0)
    queries, keys = rng.standard_normal((2, 24, 5))
    here, there = rng.standard_normal((2, 5))

    def scores(interleaved):
        layout = (lambda rows: rows) if interleaved else (lambda rows: half_split(rows, 3))
        query, key = ((layout(q) @ x).reshape(3, -1) for q, x in ((queries, here), (keys, there)))
        return [
            rotated(query[head], 7, interleaved=interleaved)
            @ rotated(key[head], 3, interleaved=interleaved)
            for head in range(3)
        ]

    np.testing.assert_allclose(scores(interleaved=False), scores(interleaved=True), rtol=1e-12)
    assert not np.allclose(half_split(queries, 3), queries)
