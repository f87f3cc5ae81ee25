"""Models of every family that is read, from files whose tensors the package `gguf` names."""

from pathlib import Path

import jax
import numpy as np
import pytest
from checkpoints.gguf_files import write_gguf
from models.tiny_checkpoints import TinyDecoder, decoder_batch

from loren_jax.checkpoints.gguf.architectures import ARCHITECTURES
from loren_jax.checkpoints.gguf.config import gemma_entries
from loren_jax.checkpoints.gguf.header import GGUFHeader
from loren_jax.checkpoints.gguf.tensors import GGUFFile
from loren_jax.models import load_language_model

FAMILY = {
    "llama": ("llama", {}),
    "qwen2": ("qwen2", {"use_sliding_window": False}),
    "qwen3": ("qwen3", {"tie_word_embeddings": True}),
    "gemma2": ("gemma2", {"query_pre_attn_scalar": 6}),
    "gemma3": (
        "gemma3_text",
        {
            **{"query_pre_attn_scalar": 6, "sliding_window_pattern": 6, "num_hidden_layers": 6},
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
    ),
    "smollm3": ("smollm3", {"no_rope_layer_interval": 4, "num_hidden_layers": 4}),
}
SCALARS = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
    "attention.value_length": "head_dim",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "rope.freq_base": "rope_theta",
    "rope.freq_base_swa": "rope_local_base_freq",
}
THETA = {"smollm3": 2e6}


def tiny(name):
    family, changes = FAMILY[name]
    return TinyDecoder(family, "language_model", **changes)


def converted(checkpoint, name):
    """The tensors as converters store them: renamed, pairs interleaved, norms by one larger."""
    gguf = pytest.importorskip("gguf", reason="needs the package gguf")
    arch = next(a for a, told in gguf.MODEL_ARCH_NAMES.items() if told == name)
    names = gguf.get_tensor_name_map(arch, checkpoint.raw["num_hidden_layers"])
    heads = {"q_proj": checkpoint.raw["num_attention_heads"]}
    heads["k_proj"] = checkpoint.raw["num_key_value_heads"]
    for theirs, tensor in checkpoint.tensors.items():
        module = theirs.split(".")[-2]
        if name in ("llama", "smollm3") and module in heads:
            halves = tensor.reshape(heads[module], 2, -1, *tensor.shape[1:])
            tensor = halves.swapaxes(1, 2).reshape(tensor.shape)
        if name.startswith("gemma") and theirs.endswith("norm.weight"):
            tensor = tensor + np.float32(1)
        yield names.get_name(theirs, try_suffixes=(".weight", ".bias")), tensor


def gguf_of(path, name):
    checkpoint = tiny(name)
    raw = {"rope_theta": THETA.get(name, 10000.0), **checkpoint.raw}
    if name == "llama":
        raw["head_dim"] = 8
    numbers = {key: raw[entry] for key, entry in SCALARS.items() if raw.get(entry) is not None}
    if not name.startswith("gemma"):  # whose window is not in use
        numbers.pop("attention.sliding_window", None)
    scaling, texts = raw.get("rope_scaling"), {}
    if scaling:
        numbers["rope.scaling.factor"] = scaling["factor"]
        texts[f"{name}.rope.scaling.type"] = scaling["rope_type"]
    tensors = dict(converted(checkpoint, name))
    tokens = {"tokens": [f"token{n}" for n in range(13)], "token_type": [1] * 13}
    options = {"numbers": numbers, "texts": texts, "tensors": tensors, "lists": tokens}
    return write_gguf(path, packing="F32", family=name, **options), checkpoint


@pytest.mark.parametrize("name", FAMILY)
def test_file_is_the_model_that_it_was_made_of(name, tmp_path):
    path, checkpoint = gguf_of(tmp_path / "model.gguf", name)
    model = load_language_model(path)
    jax.tree.map(
        lambda found, wanted: np.testing.assert_allclose(found, wanted, atol=1e-6),
        model.params,
        checkpoint.params(),
    )
    assert model.config.kinds == checkpoint.config.kinds
    ids, mask = (x[:1] for x in decoder_batch())
    found = jax.jit(model.apply)(model.params, ids, mask)
    np.testing.assert_allclose(found, checkpoint.run(ids, mask)[0], atol=1e-4)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gemma2", "gemma3"])
def test_tensors_are_those_that_transformers_reads(name, tmp_path):
    """Which reads no SmolLM3 from such files."""
    pytest.importorskip("torch")
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    path, checkpoint = gguf_of(tmp_path / "model.gguf", name)
    raw = {entry: value for entry, value in checkpoint.raw.items() if entry != "model_type"}
    config = AutoConfig.for_model(checkpoint.raw["model_type"], **raw)
    model = AutoModelForCausalLM.from_config(config)
    read = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)["tensors"]
    source = GGUFFile(path)
    assert sorted(source.names()) == sorted(read)
    for tensor in source.names():
        np.testing.assert_allclose(source.read(tensor), read[tensor].numpy(), atol=1e-6)


def header_of(name, **metadata):
    return GGUFHeader(Path("model.gguf"), {"general.architecture": name, **metadata}, {})


def test_every_family_is_tested():
    assert sorted(FAMILY) == sorted(ARCHITECTURES)


@pytest.mark.parametrize(
    ("name", "layers", "scalar"),
    [("gemma2", 26, 6), ("gemma2", 46, 8), ("gemma3", 26, 6), ("gemma3", 62, 8)],
)
def test_size_of_a_gemma_says_how_its_products_are_scaled(name, layers, scalar):
    """Of the largest of each by the width over the number of heads, which is no head's size."""
    config = {"hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": layers}
    entries = gemma_entries(header_of(name), {**config, "head_dim": 6})
    assert entries["query_pre_attn_scalar"] == scalar
    assert entries["sliding_window"] is None
    assert entries.get("sliding_window_pattern", 1) == 1
