"""A tiny BERT checkpoint, made from a seed with numpy alone.

The tensors are normal draws of standard deviation 0.3 from `numpy.random.default_rng(seed)`, in the
alphabetical order of their names: wide enough that every activation and every softmax is felt.
"""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from loren_jax.models import FAMILIES, BertConfig
from loren_jax.models.families import abstract_params

RAW = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 10,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "pad_token_id": 0,
    "id2label": {"0": "bad", "1": "fair", "2": "good"},
    "label2id": {"bad": 0, "fair": 1, "good": 2},
}


class TinyCheckpoint:
    """A checkpoint whose tensors and configuration a test may change before it is written."""

    def __init__(self, pooling="cls", *, seed=0, **changes):
        self.raw = {**RAW, "pooling": pooling, **changes}
        self.config = BertConfig.from_hugging_face(self.raw, num_labels=3, pooling=pooling)
        table = FAMILIES["bert"].weight_table(self.config)
        rng = np.random.default_rng(seed)
        self.tensors = {
            name: (0.3 * rng.standard_normal(shape)).astype(np.float32)
            for name, (_, shape) in sorted(table.tensor_rows(abstract_params(self.config)).items())
        }

    def without_head(self):
        self.raw["architectures"] = ["BertModel"]
        self.tensors = {
            name.removeprefix("bert."): tensor
            for name, tensor in self.tensors.items()
            if not name.startswith("classifier.")
        }
        return self

    def write(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(self.raw))
        save_file(self.tensors, directory / "model.safetensors", metadata={"format": "pt"})
        return directory


@pytest.fixture
def tiny_checkpoint():
    """The class, so that a test can choose the pooling, the activation and so on."""
    return TinyCheckpoint


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
