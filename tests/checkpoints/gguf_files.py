"""A tiny GGUF of the Llama family, made with the package `gguf`."""

import numpy as np
import pytest

SIZES = {
    "context_length": 64,
    "embedding_length": 32,
    "feed_forward_length": 64,
    "block_count": 1,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "vocab_size": 11,
}
FLOATS = {"attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 500000.0}
_NORM, _WIDE, _KEYS = (32,), (32, 32), (16, 32)
SHAPES = {
    "token_embd.weight": (11, 32),
    "output_norm.weight": _NORM,
    "blk.0.attn_norm.weight": _NORM,
    "blk.0.attn_q.weight": _WIDE,
    "blk.0.attn_k.weight": _KEYS,
    "blk.0.attn_v.weight": _KEYS,
    "blk.0.attn_output.weight": _WIDE,
    "blk.0.ffn_norm.weight": _NORM,
    "blk.0.ffn_gate.weight": (64, 32),
    "blk.0.ffn_up.weight": (64, 32),
    "blk.0.ffn_down.weight": (32, 64),
}


def stored_tensors():
    """What the file holds, before it is quantised."""
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape, np.float32) for name, shape in SHAPES.items()}


PIECES = ["<unk>", "<s>", "</s>", "▁", "h", "e", "l", "o", "he", "llo", "lo"]
"""A SentencePiece vocabulary, as long as the embedding."""


def sentencepiece(pieces=PIECES):
    """Options of `write_gguf` for a tokenizer of these pieces."""
    special = {"bos": 1, "eos": 2, "unknown": 0, "padding": 2}
    return {
        "texts": {"tokenizer.ggml.model": "llama"},
        "lists": {
            "tokens": pieces,
            "scores": [-float(number) for number in range(len(pieces))],
            "token_type": [2, 3, 3] + [1] * (len(pieces) - 3),
        },
        "ids": {f"tokenizer.ggml.{name}_token_id": number for name, number in special.items()},
    }


TOKENS = {"tokens": [f"token{number}" for number in range(11)], "token_type": [1] * 11}


def write_gguf(
    path,
    *,
    packing="Q8_0",
    family="llama",
    tensors=None,
    numbers=(),
    texts=(),
    ids=(),
    lists=TOKENS,
    packed=(),
):
    """Writes the file; norms and `rope_freqs.weight` stay float32.

    `numbers` and `texts` are further entries of the metadata, for all keys of `numbers` after
    `llama.`, as `ids` and `lists` are of the tokenizer; `packed` has the name of the packing and
    the blocks of tensors that are packed already.
    """
    gguf = pytest.importorskip("gguf", reason="needs the package gguf")
    writer = gguf.GGUFWriter(path, family)
    for key, value in {**SIZES, **FLOATS, **dict(numbers)}.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{family}.{key}", value)
    for key, value in dict(texts).items():
        writer.add_string(key, value)
    for key, number in dict(ids).items():
        writer.add_uint32(key, number)
    for key, values in lists.items():
        writer.add_array(f"tokenizer.ggml.{key}", values)
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    kind = gguf.GGMLQuantizationType[packing]
    for name, tensor in (stored_tensors() if tensors is None else tensors).items():
        if name in dict(packed):
            own, blocks = dict(packed)[name]
            rows = blocks.reshape(len(blocks), -1)
            writer.add_tensor(name, rows, raw_dtype=gguf.GGMLQuantizationType[own])
        elif tensor.ndim == 1 or packing == "F32":
            writer.add_tensor(name, tensor)
        elif packing == "F16":
            writer.add_tensor(name, tensor.astype(np.float16))
        else:
            writer.add_tensor(name, gguf.quants.quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
