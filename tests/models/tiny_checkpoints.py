"""Tiny checkpoints of any family, made from a seed with numpy alone, and the oracle for them.

The tensors are normal draws of standard deviation 0.3 from `numpy.random.default_rng(seed)`, in the
alphabetical order of their names: wide enough that every activation and every softmax is felt.
"""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from loren_jax.models import FAMILIES
from loren_jax.models.families import abstract_params

LABELS = {"id2label": {"0": "bad", "1": "fair", "2": "good"}}
LABELS["label2id"] = {"bad": 0, "fair": 1, "good": 2}


class TinyCheckpoint:
    """A checkpoint whose tensors and configuration a test may change before it is written.

    Args:
        raw: The parsed `config.json`.
        head: `classification` or `language_model`.
        pooling: As in the configuration; by default the family's own.
        seed: Of the tensors.
        changes: Further entries of `config.json`.
    """

    def __init__(self, raw, *, head="classification", pooling=None, seed=0, **changes):
        self.raw = {**raw, **changes}
        self.family = FAMILIES[self.raw["model_type"]]
        self.config = self.family.config.from_hugging_face(
            self.raw, num_labels=3, pooling=pooling, head=head
        )
        self.export = self.family.export(self.config)
        self.raw["architectures"] = [self.export.architecture]
        if head == "classification":
            self.raw |= {"pooling": self.config.pooling, **LABELS}
        self.table = self.family.weight_table(self.config)
        shapes = self.table.tensor_rows(abstract_params(self.config))
        rng = np.random.default_rng(seed)
        self.tensors = {
            name: (0.3 * rng.standard_normal(shape)).astype(np.float32)
            for name, (_, shape) in sorted(shapes.items())
        }

    def without_head(self):
        """What the checkpoint of the encoder or decoder alone holds: its names, unprefixed."""
        prefix = self.table.prefix
        self.tensors = {
            name.removeprefix(prefix): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }
        del self.raw["architectures"]
        return self

    def write(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(self.raw))
        save_file(self.tensors, directory / "model.safetensors", metadata={"format": "pt"})
        return directory


def torch_model(directory, architecture):
    """The model that stock transformers reads from a directory, which must be exactly its own."""
    torch = pytest.importorskip("torch")
    import transformers

    model, report = getattr(transformers, architecture).from_pretrained(
        directory, output_loading_info=True, dtype=torch.float32
    )
    assert not any(report.values()), report
    return model.eval()


def torch_logits(model, ids, mask, types=None):
    """Its logits."""
    import torch

    inputs = {"input_ids": ids, "attention_mask": mask}
    inputs |= {} if types is None else {"token_type_ids": types}
    with torch.no_grad():
        return model(**{n: torch.tensor(np.asarray(a)) for n, a in inputs.items()}).logits.numpy()


def padded_batch(pad_token_id, vocab_size=30):
    """Four rows: full, padded on the right, padded on the left, one token; and segments.

    Where the mask is zero stands the padding's token, and the first row has one such token inside.
    """
    ids = np.random.default_rng(1).integers(3, vocab_size, (4, 7)).astype(np.int32)
    mask = np.ones((4, 7), np.int32)
    mask[1, 4:] = 0
    mask[2, :3] = 0
    mask[3, 1:] = 0
    ids = np.where(mask == 1, ids, pad_token_id).astype(np.int32)
    ids[0, 2] = pad_token_id
    types = (np.arange(7)[None, :] >= np.array([3, 2, 5, 1])[:, None]).astype(np.int32)
    return jnp.asarray(ids), jnp.asarray(mask), jnp.asarray(types)
