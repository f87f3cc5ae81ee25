"""Tiny decoders with random weights, for this library and for torch.

The tensors are normal draws of standard deviation 0.4 from `numpy.random.default_rng(seed)`, in the
alphabetical order of their names: wide enough that every activation and every softmax is felt.
"""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from loren_jax.models.families import FAMILIES, abstract_params, apply_function, bind
from loren_jax.models.weights import flatten_params, unflatten_params

RAW = {
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": 13,
        "n_embd": 8,
        "n_layer": 2,
        "n_head": 2,
        "n_positions": 9,
        "pad_token_id": 1,
    },
    "opt": {
        "model_type": "opt",
        "vocab_size": 13,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 12,
        "max_position_embeddings": 9,
        "pad_token_id": 1,
    },
    "llama": {
        "model_type": "llama",
        "vocab_size": 13,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 12,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "pad_token_id": 1,
    },
}
TORCH_CLASSES = {
    ("gpt2", "classification"): "GPT2ForSequenceClassification",
    ("gpt2", "language_model"): "GPT2LMHeadModel",
    ("opt", "classification"): "OPTForSequenceClassification",
    ("opt", "language_model"): "OPTForCausalLM",
    ("llama", "classification"): "LlamaForSequenceClassification",
    ("llama", "language_model"): "LlamaForCausalLM",
}
CHOICES = (5, 2)


class TensorTable(dict):
    """Named arrays as a checkpoint."""

    name = "the test's tensors"

    def names(self):
        return list(self)

    def shape(self, name):
        return self[name].shape

    def dtype(self, name):
        return "F32"

    def read(self, name):
        return self[name]


class TinyDecoder:
    """A decoder of which a test chooses family, head and options."""

    def __init__(self, model_type, head="classification", *, seed=0, **changes):
        self.raw = {**RAW[model_type], **changes}
        self.family = FAMILIES[model_type]
        self.config = self.family.config.from_hugging_face(self.raw, num_labels=3, head=head)
        rows = self.family.weight_table(self.config).tensor_rows(abstract_params(self.config))
        rng = np.random.default_rng(seed)
        self.tensors = TensorTable(
            (name, (0.4 * rng.standard_normal(shape)).astype(np.float32))
            for name, (_, shape) in sorted(rows.items())
        )

    def params(self, dtype=jnp.float32):
        """What `read_params` gives, without the programs that it compiles for every shape."""
        abstract = flatten_params(abstract_params(self.config))
        flat = {}
        for row in self.family.weight_table(self.config).rows:
            tensors = [self.tensors[name] for name in row.tensor_names(abstract[row.path].shape)]
            tensors = [tensor.T if row.transposed else tensor for tensor in tensors]
            flat[row.path] = jnp.asarray(np.stack(tensors) if row.stacked else tensors[0], dtype)
        return unflatten_params(flat)

    def run(self, ids, mask, dtype=jnp.float32):
        """Logits of the head, and for a language model those of `CHOICES`."""
        params = self.params(dtype)
        if self.config.head == "classification":
            return np.asarray(compiled(self.config)(params, ids, mask))
        return [np.asarray(part) for part in compiled(self.config)(params, ids, mask)]

    def torch(self, ids, mask):
        """Logits of stock transformers for the same weights."""
        torch = pytest.importorskip("torch")
        import transformers

        cls = getattr(transformers, TORCH_CLASSES[self.raw["model_type"], self.config.head])
        model = cls(cls.config_class(**self.raw, num_labels=3)).eval()
        state = {name: torch.tensor(tensor) for name, tensor in self.tensors.items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert not unexpected
        assert set(missing) <= {"lm_head.weight"}  # tied
        with torch.no_grad():
            found = model(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask))
        return found.logits.numpy()

    def write(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(self.raw))
        save_file(dict(self.tensors), directory / "model.safetensors", metadata={"format": "pt"})
        return directory


@functools.cache
def compiled(config):
    if config.head == "classification":
        return jax.jit(apply_function(config))

    def both(params, ids, mask):
        network = bind(config, params)
        return network(ids, mask), network.choices(ids, mask, None, np.array(CHOICES))

    return jax.jit(both)


def batch():
    """Full, padded right, padded left, one token, and a text that ends in the padding's token."""
    ids = np.random.default_rng(1).integers(2, 13, (5, 7)).astype(np.int32)
    mask = np.ones((5, 7), np.int32)
    mask[1, 4:] = 0
    mask[2, :3] = 0
    mask[3, 1:] = 0
    ids[mask == 0] = 1
    ids[4, 6] = 1
    return ids, mask


def read_only(logits, mask):
    """Token logits with those of padding, which mean nothing, set to zero."""
    return logits * mask[:, :, None] if logits.ndim == 3 else logits


def check_golden(golden, decoder):
    """Both heads against golden logits; a language model's choices are columns of its logits."""
    ids, mask = batch()
    found = decoder.run(ids, mask)
    if decoder.config.head == "language_model":
        found, choices = found
        last = found.shape[1] - 1 - np.argmax(mask[:, ::-1], axis=1)
        wanted = found[np.arange(len(ids)), last][:, list(CHOICES)]
        np.testing.assert_allclose(choices, wanted, atol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(read_only(found, mask), golden, atol=1e-5)


def check_narrow(decoder, tolerance):
    """In bfloat16 the logits are float32 and near those of the same weights in float32."""
    ids, mask = batch()
    narrow, wide = decoder.run(ids, mask, jnp.bfloat16), decoder.run(ids, mask)
    for found, wanted in zip(jax.tree.leaves(narrow), jax.tree.leaves(wide), strict=True):
        assert found.dtype == np.float32
        found, wanted = read_only(found, mask), read_only(wanted, mask)
        assert not np.array_equal(found, wanted)
        np.testing.assert_allclose(found, wanted, atol=tolerance)
    hidden = jax.eval_shape(
        lambda params: bind(decoder.config, params).encode(ids, mask), decoder.params(jnp.bfloat16)
    )
    assert hidden.dtype == jnp.bfloat16
