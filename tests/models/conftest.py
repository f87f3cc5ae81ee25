"""A tiny BERT and a batch for it."""

import jax.numpy as jnp
import numpy as np
import pytest
from models.tiny_checkpoints import SIZES, TinyCheckpoint

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
    """Four rows: full, padded on the right, padded on the left, one token; two segments each."""
    ids = np.random.default_rng(1).integers(1, 30, (4, 7)).astype(np.int32)
    mask = np.ones((4, 7), np.int32)
    mask[1, 4:] = 0
    mask[2, :3] = 0
    mask[3, 1:] = 0
    types = (np.arange(7)[None, :] >= np.array([3, 2, 5, 1])[:, None]).astype(np.int32)
    return jnp.asarray(ids), jnp.asarray(mask), jnp.asarray(types)
