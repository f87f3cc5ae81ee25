"""Configurations that the network does not compute are refused by name."""

import pytest

from loren_jax.models import BertConfig

RAW = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
}


def test_fields_are_read_and_the_rest_is_left():
    raw = {**RAW, "layer_norm_eps": 1e-5, "hidden_act": "relu", "hidden_dropout_prob": 0.1}
    config = BertConfig.from_hugging_face(raw, num_labels=5, pooling="mean")
    assert (config.layer_norm_eps, config.hidden_act) == (1e-5, "relu")
    assert (config.num_labels, config.pooling, config.max_position_embeddings) == (5, "mean", 512)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "mish"}, "hidden_act='mish'.*gelu"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key'"),
        ({"is_decoder": True}, "is_decoder"),
        ({"num_attention_heads": 3}, "multiple of num_attention_heads=3"),
        ({"num_hidden_layers": 0}, "num_hidden_layers=0"),
    ],
)
def test_unsupported_options_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        BertConfig.from_hugging_face({**RAW, **change}, num_labels=2)


def test_missing_sizes_are_named():
    raw = {name: size for name, size in RAW.items() if name != "hidden_size"}
    with pytest.raises(ValueError, match=r"lacks.*hidden_size"):
        BertConfig.from_hugging_face(raw, num_labels=2)


def test_no_labels_are_refused():
    with pytest.raises(ValueError, match="num_labels=0"):
        BertConfig.from_hugging_face(RAW, num_labels=0)
