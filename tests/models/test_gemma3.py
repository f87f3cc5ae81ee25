"""Gemma 3: the text part of a model that sees pictures too, and its numbers in bfloat16."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.tiny_checkpoints import TinyDecoder, export, load

from loren_jax.models import apply_function, bind, init_params
from loren_jax.models.gemma3 import text_part

PREFIXES = {
    "as it was published": ("language_model.model.", "language_model.", ""),
    "as transformers 5 holds it": ("model.language_model.", "", "model."),
}
SEEING = {
    "vision_tower.patch.weight": (2, 2),
    "multi_modal_projector.mm_soft_emb_norm.weight": (2,),
}


def seeing(directory, case, **changes):
    """A model with pictures, its text part the tiny Gemma."""
    tiny = TinyDecoder("gemma3_text", "language_model", **changes)
    inner, head, other = PREFIXES[case]
    rename = lambda name: inner + name[6:] if name.startswith("model.") else head + name
    tiny.tensors = {rename(name): tensor for name, tensor in tiny.tensors.items()}
    tiny.tensors |= {other + name: np.ones(shape, np.float32) for name, shape in SEEING.items()}
    tiny.raw = {
        **{"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]},
        **{"text_config": tiny.raw, "vision_config": {}, "mm_tokens_per_image": 4},
    }
    tiny.write(directory)
    return tiny


@pytest.mark.parametrize("case", PREFIXES)
@pytest.mark.parametrize("tied", [True, False])
def test_text_part_of_a_model_with_pictures_is_read(case, tied, tmp_path):
    plain = TinyDecoder("gemma3_text", "language_model", tie_word_embeddings=tied)
    seeing(tmp_path / "seeing", case, tie_word_embeddings=tied)
    model = load(tmp_path / "seeing", "language_model")
    jax.tree.map(np.testing.assert_array_equal, model.params, plain.params())
    assert model.config.kinds == plain.config.kinds
    out = export(tmp_path / "out", tmp_path / "seeing", model)
    raw = json.loads((out / "config.json").read_text())
    assert raw["model_type"] == "gemma3_text"
    assert raw["architectures"] == ["Gemma3ForCausalLM"]
    assert not {"text_config", "vision_config", "mm_tokens_per_image"} & set(raw)
    assert load(out, "language_model").config == model.config


def test_text_part_has_the_sizes_that_its_file_leaves_out():
    """As the published configuration of 4 billion parameters does."""
    said = {"hidden_size": 2560, "num_hidden_layers": 34, "sliding_window": 1024}
    raw = text_part({"model_type": "gemma3", "text_config": said, "eos_token_id": [1, 106]})
    assert {name: raw[name] for name in said} == said
    assert (raw["vocab_size"], raw["num_attention_heads"]) == (262208, 8)
    assert (raw["model_type"], raw["eos_token_id"]) == ("gemma3_text", [1, 106])
    other = {"model_type": "llama", "text_config": said}
    assert text_part(other) is other


def test_fresh_model_has_norms_that_scale_by_one():
    config = TinyDecoder("gemma3_text", "language_model").config
    params, ids = init_params(config), np.ones((1, 3), np.int32)
    assert not np.any(params["norm"]["scale"])
    hidden = jax.tree.map(jnp.zeros_like, params)
    assert np.any(apply_function(config)(params, ids, ids))
    assert not np.any(apply_function(config)(hidden, ids, ids))


@pytest.mark.oracle
def test_bfloat16_embedding_is_that_of_transformers_bit_for_bit():
    """It is scaled by the square root of the width, rounded to the type: 5.6562, not 5.6569."""
    torch = pytest.importorskip("torch")
    from transformers.models.gemma3.modeling_gemma3 import Gemma3TextScaledWordEmbedding

    tiny = TinyDecoder("gemma3_text", "language_model")
    params, ids = tiny.params(jnp.bfloat16), np.arange(13)[None]
    table = torch.tensor(tiny.tensors["model.embed_tokens.weight"]).to(torch.bfloat16)
    theirs = Gemma3TextScaledWordEmbedding(*table.shape, None, embed_scale=32**0.5)
    theirs = theirs.to(torch.bfloat16)
    theirs.weight.data.copy_(table)
    wanted = theirs(torch.tensor(ids)).float().detach().numpy()
    found = bind(tiny.config, params).embed(jnp.asarray(ids))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(found, np.float32), wanted)
