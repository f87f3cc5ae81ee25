"""The metadata of a GGUF file, as `config.json` would say it."""

import math
from typing import Any

import numpy as np

from loren_jax.checkpoints.gguf.architectures import architecture_of
from loren_jax.checkpoints.gguf.header import GGUFHeader

ROPE_FACTORS = "rope_freqs.weight"
"""No parameter: the divisors of the rotary frequencies."""

_SPECIAL = {
    "bos_token_id": "tokenizer.ggml.bos_token_id",
    "eos_token_id": "tokenizer.ggml.eos_token_id",
    "pad_token_id": "tokenizer.ggml.padding_token_id",
}
# What every Llama-3 model was published with; the file keeps only the factors that follow.
_LOW_FREQUENCY, _HIGH_FREQUENCY = 1.0, 4.0
_ORIGINAL_LENGTHS = (8192, *(2**exponent for exponent in range(4, 21)))


def head_counts(header: GGUFHeader) -> tuple[int, int]:
    """Number of query heads and of key heads; they must not differ between layers."""
    family = header.require("general.architecture")
    queries = header.require(f"{family}.attention.head_count")
    keys = header.get(f"{family}.attention.head_count_kv", queries)
    if not isinstance(queries, int) or not isinstance(keys, int) or min(queries, keys) < 1:
        raise ValueError(f"{header.path}: the number of heads differs between layers or is zero")
    return queries, keys


def gguf_config(header: GGUFHeader) -> dict[str, Any]:
    """What `config.json` would say; what is missing or not supported is a `ValueError`."""
    architecture = architecture_of(header)
    family = architecture.name
    queries, keys = head_counts(header)
    width = header.require(f"{family}.embedding_length")
    head_dim = header.get(f"{family}.attention.key_length", width // queries)
    for key in (f"{family}.attention.value_length", f"{family}.rope.dimension_count"):
        if header.get(key, head_dim) != head_dim:
            raise ValueError(
                f"{header.path}: {key}={header.get(key)} is not supported; it must be the size "
                f"of a head, {head_dim}"
            )
    if "token_embd.weight" not in header.tensors:
        raise ValueError(f"{header.path} has no tensor 'token_embd.weight'; it is no whole model")
    theta = header.get(f"{family}.rope.freq_base", 10000.0)
    config = {
        "architectures": [architecture.model_class],
        "model_type": architecture.model_type,
        "vocab_size": header.tensors["token_embd.weight"].shape[0],
        "hidden_size": width,
        "intermediate_size": header.require(f"{family}.feed_forward_length"),
        "num_hidden_layers": header.require(f"{family}.block_count"),
        "num_attention_heads": queries,
        "num_key_value_heads": keys,
        "head_dim": head_dim,
        "max_position_embeddings": header.require(f"{family}.context_length"),
        "rms_norm_eps": header.require(f"{family}.attention.layer_norm_rms_epsilon"),
        "rope_theta": theta,
        "rope_scaling": _rope_scaling(header, theta, head_dim),
        "attention_bias": any(".attn_q.bias" in name for name in header.tensors),
        "mlp_bias": any(".ffn_up.bias" in name for name in header.tensors),
        "tie_word_embeddings": "output.weight" not in header.tensors,
        **{name: header.get(key) for name, key in _SPECIAL.items()},
    }
    gemma = gemma_entries(header, config) if family in _WITHOUT_HEAD_SCALE else {}
    return {**config, **architecture.said, **gemma}


_WITHOUT_HEAD_SCALE = {"gemma2": 46, "gemma3": 62}
"""Layers of the size of each Gemma whose products are not scaled by the size of a head."""


def gemma_entries(header: GGUFHeader, config: dict[str, Any]) -> dict[str, Any]:
    """What `config.json` has of a Gemma besides."""
    family = header.require("general.architecture")
    width, queries = config["hidden_size"], config["num_attention_heads"]
    other = config["num_hidden_layers"] == _WITHOUT_HEAD_SCALE[family]
    window = header.get(f"{family}.attention.sliding_window")
    special = {
        "query_pre_attn_scalar": width // queries if other else config["head_dim"],
        "final_logit_softcapping": header.get(f"{family}.final_logit_softcapping"),
        "sliding_window": window,
    }
    if family == "gemma2":
        cap = header.get("gemma2.attn_logit_softcapping")
        return {**special, "attn_logit_softcapping": cap}
    every = header.get("gemma3.attention.sliding_window_pattern", 6)
    if not isinstance(every, int):
        raise ValueError(f"{header.path}: gemma3.attention.sliding_window_pattern must be a number")
    return {
        **special,
        "sliding_window_pattern": 1 if window is None else every,
        "rope_local_base_freq": header.get("gemma3.rope.freq_base_swa", 10000.0),
    }


def _rope_scaling(header: GGUFHeader, theta: float, head_dim: int) -> dict[str, Any] | None:
    name = f"{header.require('general.architecture')}.rope"
    kind = header.get(f"{name}.scaling.type", "none")
    linear = header.get(f"{name}.scale_linear", 1.0)
    if kind == "yarn":
        return {
            "rope_type": "yarn",
            "factor": header.require(f"{name}.scaling.factor"),
            "original_max_position_embeddings": header.require(
                f"{name}.scaling.original_context_length"
            ),
        }
    if kind == "linear":
        linear = header.require(f"{name}.scaling.factor")
    elif kind != "none":
        raise ValueError(f"{header.path}: {name}.scaling.type={kind!r} is not supported")
    if ROPE_FACTORS in header.tensors:
        if linear != 1:
            raise ValueError(f"{header.path}: two kinds of rope scaling at once")
        return _llama3_scaling(header, _rope_factors(header), theta, head_dim)
    return None if linear == 1 else {"rope_type": "linear", "factor": linear}


def _rope_factors(header: GGUFHeader) -> np.ndarray:
    place = header.tensors[ROPE_FACTORS]
    if place.kind != 0 or len(place.shape) != 1:
        raise ValueError(f"{header.path}: {ROPE_FACTORS} must be a vector of float32")
    with header.path.open("rb") as file:
        file.seek(place.offset)
        factors = np.frombuffer(file.read(4 * place.shape[0]), "<f4")
    if factors.shape != place.shape:
        raise ValueError(f"{header.path} is incomplete; delete it and fetch it again")
    return factors


def _llama3_scaling(
    header: GGUFHeader, factors: np.ndarray, theta: float, head_dim: int
) -> dict[str, Any]:
    """The parameters of Llama 3's scaling that give these factors."""
    if factors.shape != (head_dim // 2,):
        raise ValueError(f"{header.path}: {ROPE_FACTORS} must have {head_dim // 2} elements")
    factor = float(str(np.float32(factors.max())))
    for length in _ORIGINAL_LENGTHS:
        made = llama3_factors(theta, head_dim, factor, length)
        if np.allclose(made, factors, rtol=1e-5, atol=0):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": _LOW_FREQUENCY,
                "high_freq_factor": _HIGH_FREQUENCY,
                "original_max_position_embeddings": length,
            }
    raise ValueError(
        f"{header.path}: the factors in rope_freqs.weight are not those of a Llama-3 scaling with "
        f"low_freq_factor={_LOW_FREQUENCY} and high_freq_factor={_HIGH_FREQUENCY}; take the "
        "Hugging Face directory of this model"
    )


def llama3_factors(theta: float, head_dim: int, factor: float, length: int) -> np.ndarray:
    """By how much Llama 3 slows each rotation.

    Slow rotations, of less than one turn in the original context of that length, are slowed by the
    whole factor; those of more than four turns not at all; between, the speeds are mixed linearly.
    There is one divisor for each pair of features.

    >>> llama3_factors(500000.0, 4, 8.0, 8192).round(2).tolist()
    [1.0, 2.69]
    """
    frequencies = theta ** -(np.arange(0, head_dim, 2) / head_dim)
    turns = length * frequencies / (2 * math.pi)
    mixed = np.clip((turns - _LOW_FREQUENCY) / (_HIGH_FREQUENCY - _LOW_FREQUENCY), 0, 1)
    return 1 / ((1 - mixed) / factor + mixed)
