"""A tiny BERT and a batch for it."""

import jax.numpy as jnp
import numpy as np
import pytest
from models.tiny_checkpoints import MASK, SEGMENTS, SIZES, TinyCheckpoint

RAW = {
    **SIZES,
    "model_type": "bert",
    "max_position_embeddings": 10,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
}


class TinyBert(TinyCheckpoint):
    """A BERT, of which a test can choose the pooling, the activation and so on."""

    def __init__(self, pooling="cls", **options):
        super().__init__(RAW, pooling=pooling, **options)


@pytest.fixture
def tiny_checkpoint():
    """The class."""
    return TinyBert


@pytest.fixture
def batch():
    """The four rows, with no padding's token in their texts."""
    ids = np.random.default_rng(1).integers(1, 30, (4, 7)).astype(np.int32)
    return jnp.asarray(ids), jnp.asarray(MASK), jnp.asarray(SEGMENTS)
