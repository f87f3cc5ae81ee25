"""What is RoBERTa's own: its positions, its segments and its configuration."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.models import RobertaConfig, init_classifier
from loren_jax.models.families import bind

RAW = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 10,
    "type_vocab_size": 1,
}


def test_positions_are_counted_behind_the_paddings_own():
    config = RobertaConfig(**RAW, pad_token_id=1)
    network = bind(config, init_classifier(config).params)
    ids = jnp.array([[1, 1, 5, 6], [5, 6, 1, 1], [5, 1, 6, 7]])
    positions = network.positions(ids)
    assert positions.tolist() == [[1, 1, 2, 3], [2, 3, 1, 1], [2, 1, 3, 4]]


def test_the_longest_text_gets_the_last_position():
    config = RobertaConfig(**RAW, pad_token_id=1)
    network = bind(config, init_classifier(config).params)
    ids = jnp.full((1, config.max_length), 5)
    assert (config.max_length, int(network.positions(ids).max())) == (8, 9)


def test_segments_are_looked_at_only_where_there_are_several():
    ids = jnp.full((1, 4), 5)
    types = jnp.array([[0, 0, 1, 1]])
    for kinds in (1, 2):
        config = dataclasses.replace(RobertaConfig(**RAW), type_vocab_size=kinds)
        network = bind(config, init_classifier(config).params)
        embedded = network.embeddings(ids, network.positions(ids), types)
        plain = network.embeddings(ids, network.positions(ids), None)
        assert np.allclose(embedded, plain) == (kinds == 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "mish"}, "hidden_act='mish' is not supported"),
        ({"position_embedding_type": "relative_key_query"}, "position_embedding_type='relative"),
        ({"is_decoder": True}, "is_decoder=True"),
        ({"pad_token_id": None}, "pad_token_id=None"),
        ({"max_position_embeddings": 2}, "max_position_embeddings=2 leaves no position"),
    ],
)
def test_unsupported_options_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        RobertaConfig.from_hugging_face({**RAW, **change})


def test_mean_is_no_pooling_of_roberta():
    with pytest.raises(ValueError, match=r"pooling='mean' must be one of \('cls',\)"):
        RobertaConfig.from_hugging_face(RAW, pooling="mean")
