"""Families of Llama's kind: published sizes, and what their config.json says of the layers."""

import jax
import numpy as np
import pytest
from models.tiny_checkpoints import TinyDecoder

from loren_jax.models import FAMILIES, apply_function
from loren_jax.models.families import abstract_params
from loren_jax.models.layer_kinds import LayerKind
from loren_jax.models.rotary import Rotary


def raw(model_type, vocabulary, width, layers, heads, shared, hidden, **more):
    return {
        **{"model_type": model_type, "vocab_size": vocabulary, "hidden_size": width},
        **{"num_hidden_layers": layers, "num_attention_heads": heads},
        **{"num_key_value_heads": shared, "intermediate_size": hidden, **more},
    }


TIED = {"tie_word_embeddings": True}
PUBLISHED = {
    "Qwen2.5-0.5B": (
        raw("qwen2", 151936, 896, 24, 14, 2, 4864, sliding_window=32768, **TIED),
        494_032_768,
    ),
    "Qwen3-0.6B": (
        raw("qwen3", 151936, 1024, 28, 16, 8, 3072, head_dim=128, **TIED),
        596_049_920,
    ),
    "Mistral-7B-v0.1": (
        raw("mistral", 32000, 4096, 32, 32, 8, 14336, sliding_window=4096),
        7_241_732_096,
    ),
    "gemma-2-2b": (raw("gemma2", 256000, 2304, 26, 8, 4, 9216, head_dim=256), 2_614_341_888),
    "gemma-3-1b": (
        raw("gemma3_text", 262144, 1152, 26, 4, 1, 6912, head_dim=256, sliding_window=512),
        999_885_952,
    ),
    "SmolLM3-3B": (raw("smollm3", 128256, 2048, 36, 16, 4, 11008), 3_075_098_624),
}


def config_of(name):
    described = PUBLISHED[name][0]
    family = FAMILIES[described["model_type"]]
    return family.config.from_hugging_face(described, head="language_model")


@pytest.mark.parametrize("name", PUBLISHED)
def test_numbers_of_parameters_are_those_that_were_published(name):
    leaves = jax.tree.leaves(abstract_params(config_of(name)))
    assert sum(leaf.size for leaf in leaves) == PUBLISHED[name][1]


PLAIN, SLOW = Rotary(), Rotary(theta=1e6)
KINDS = {
    "Qwen2.5-0.5B": [LayerKind(PLAIN)],
    "Mistral-7B-v0.1": [LayerKind(PLAIN, 4096)],
    "gemma-2-2b": [LayerKind(PLAIN, 4096), LayerKind(PLAIN)],
    "gemma-3-1b": [LayerKind(PLAIN, 512)] * 5 + [LayerKind(SLOW)],
    "SmolLM3-3B": [LayerKind(Rotary(theta=2e6))] * 3 + [LayerKind(None)],
}


@pytest.mark.parametrize("name", KINDS)
def test_layers_are_of_the_kinds_that_the_file_says(name):
    layers, period = PUBLISHED[name][0]["num_hidden_layers"], KINDS[name]
    assert list(config_of(name).kinds) == [period[n % len(period)] for n in range(layers)]


def test_a_window_that_is_not_in_use_is_none():
    assert config_of("Qwen2.5-0.5B").sliding_window is None


def test_layers_of_one_kind_share_what_they_see():
    """A Llama's program has no stack of angles; that of two kinds has one, and picks from it."""
    ids = np.ones((1, 7), np.int32)
    for family, stacked in (("llama", False), ("mistral", False), ("qwen2", True)):
        config = TinyDecoder(family).config
        program = str(jax.make_jaxpr(apply_function(config))(abstract_params(config), ids, ids))
        assert ("f32[2,7,4]" in program) == stacked
