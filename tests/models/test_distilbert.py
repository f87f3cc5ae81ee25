"""What is DistilBERT's own: the names in its configuration, and that it knows no segments."""

import jax
import jax.numpy as jnp
import pytest

from loren_jax.models import DistilBertConfig, apply_function
from loren_jax.models.families import abstract_params

RAW = {
    "vocab_size": 30,
    "dim": 8,
    "n_layers": 1,
    "n_heads": 2,
    "hidden_dim": 12,
    "activation": "gelu",
    "sinusoidal_pos_embds": True,  # its table is a tensor of the checkpoint all the same
}


def test_fields_are_read_under_their_own_names():
    config = DistilBertConfig.from_hugging_face({**RAW, "activation": "relu"}, num_labels=5)
    assert (config.hidden_size, config.num_hidden_layers, config.head_size) == (8, 1, 4)
    assert (config.intermediate_size, config.hidden_act, config.num_labels) == (12, "relu", 5)
    assert (config.max_length, config.layer_norm_eps, config.pad_token_id) == (512, 1e-12, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "mish"}, "activation='mish' is not supported"),
        ({"n_heads": 3}, "dim=8 must be a multiple of n_heads=3"),
        ({"n_layers": 0}, "n_layers=0 must be at least 1"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
    ],
)
def test_unsupported_options_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        DistilBertConfig.from_hugging_face({**RAW, **change})


def test_missing_sizes_are_named_as_the_file_names_them():
    raw = {name: size for name, size in RAW.items() if name != "dim"}
    with pytest.raises(ValueError, match=r"lacks \['dim'\].*DistilBert"):
        DistilBertConfig.from_hugging_face(raw)


def test_segments_are_not_looked_at():
    config = DistilBertConfig.from_hugging_face(RAW)
    ids = jnp.ones((2, 3), jnp.int32)
    apply = apply_function(config)
    with_segments = jax.make_jaxpr(apply)(abstract_params(config), ids, ids, 5 * ids)
    without = jax.make_jaxpr(apply)(abstract_params(config), ids, ids)
    assert len(with_segments.eqns) == len(without.eqns)
