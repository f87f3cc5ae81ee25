"""The metadata of a GGUF file of the Llama family, as ``config.json`` would say it."""

import math
from typing import Any

import numpy as np

from loren_jax.checkpoints.gguf.header import GGUFHeader

_READ = """
vocab_size context_length embedding_length block_count feed_forward_length attention.head_count
attention.head_count_kv attention.key_length attention.value_length
attention.layer_norm_rms_epsilon rope.dimension_count rope.freq_base rope.scale_linear
rope.scaling.type rope.scaling.factor rope.scaling.original_context_length rope.scaling.finetuned
expert_count expert_used_count tensor_data_layout
"""
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


def require_llama(header: GGUFHeader) -> None:
    """Refuses a file of another family, or with an option that would change the computation."""
    family = header.require("general.architecture")
    if family != "llama":
        raise ValueError(f"{header.path} is of the family {family!r}; only 'llama' is read")
    known = {f"llama.{key}" for key in _READ.split()}
    unknown = [key for key in header.metadata if key.startswith("llama.") and key not in known]
    if unknown:
        raise ValueError(f"{header.path}: the option {unknown[0]!r} is not supported")
    if header.get("llama.expert_count", 0):
        raise ValueError(f"{header.path} is a mixture of experts, which is not supported")


def head_counts(header: GGUFHeader) -> tuple[int, int]:
    """Number of query heads and of key heads; they must not differ between layers."""
    queries = header.require("llama.attention.head_count")
    keys = header.get("llama.attention.head_count_kv", queries)
    if not isinstance(queries, int) or not isinstance(keys, int) or min(queries, keys) < 1:
        raise ValueError(f"{header.path}: the number of heads differs between layers or is zero")
    return queries, keys


def gguf_config(header: GGUFHeader) -> dict[str, Any]:
    """What ``config.json`` would say; what is missing or not supported is a ``ValueError``."""
    require_llama(header)
    queries, keys = head_counts(header)
    width = header.require("llama.embedding_length")
    head_dim = header.get("llama.attention.key_length", width // queries)
    for key in ("llama.attention.value_length", "llama.rope.dimension_count"):
        if header.get(key, head_dim) != head_dim:
            raise ValueError(
                f"{header.path}: {key}={header.get(key)} is not supported; it must be the size "
                f"of a head, {head_dim}"
            )
    if "token_embd.weight" not in header.tensors:
        raise ValueError(f"{header.path} has no tensor 'token_embd.weight'; it is no whole model")
    theta = header.get("llama.rope.freq_base", 10000.0)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": header.tensors["token_embd.weight"].shape[0],
        "hidden_size": width,
        "intermediate_size": header.require("llama.feed_forward_length"),
        "num_hidden_layers": header.require("llama.block_count"),
        "num_attention_heads": queries,
        "num_key_value_heads": keys,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": header.require("llama.context_length"),
        "rms_norm_eps": header.require("llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": theta,
        "rope_scaling": _rope_scaling(header, theta, head_dim),
        "attention_bias": any(".attn_q.bias" in name for name in header.tensors),
        "mlp_bias": any(".ffn_up.bias" in name for name in header.tensors),
        "tie_word_embeddings": "output.weight" not in header.tensors,
        **{name: header.get(key) for name, key in _SPECIAL.items()},
    }


def _rope_scaling(header: GGUFHeader, theta: float, head_dim: int) -> dict[str, Any] | None:
    kind = header.get("llama.rope.scaling.type", "none")
    linear = header.get("llama.rope.scale_linear", 1.0)
    if kind == "linear":
        linear = header.require("llama.rope.scaling.factor")
    elif kind != "none":
        raise ValueError(f"{header.path}: llama.rope.scaling.type={kind!r} is not supported")
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

    Example:
        >>> llama3_factors(500000.0, 4, 8.0, 8192).round(2).tolist()
        [1.0, 2.69]
    """
    frequencies = theta ** -(np.arange(0, head_dim, 2) / head_dim)
    turns = length * frequencies / (2 * math.pi)
    mixed = np.clip((turns - _LOW_FREQUENCY) / (_HIGH_FREQUENCY - _LOW_FREQUENCY), 0, 1)
    return 1 / ((1 - mixed) / factor + mixed)
