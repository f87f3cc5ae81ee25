"""Tiny checkpoints of any family, made from a seed with numpy alone, and the oracle for them.

The tensors are normal draws from `numpy.random.default_rng(seed)`, in the alphabetical order of
their names: wide enough that every activation and every softmax is felt.
"""

import functools
import json
from copy import deepcopy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from loren_jax.models import (
    FAMILIES,
    apply_function,
    bind,
    export_classifier,
    export_language_model,
    load_classifier,
    load_language_model,
)
from loren_jax.models.families import abstract_params
from loren_jax.models.weights import flatten_params, unflatten_params

LABELS = {"id2label": {"0": "bad", "1": "fair", "2": "good"}}
LABELS["label2id"] = {"bad": 0, "fair": 1, "good": 2}
SIZES = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
}
"""Of an encoder."""
DTYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8"}


class Tensors(dict):
    """Named arrays in memory, as a checkpoint."""

    name = "memory"

    def names(self):
        return list(self)

    def shape(self, name):
        return self[name].shape

    def dtype(self, name):
        return DTYPES[self[name].dtype.name]

    def read(self, name):
        return self[name]


class TinyCheckpoint:
    """A checkpoint whose tensors and configuration a test may change before it is written.

    Args:
        raw: The parsed `config.json`.
        head: `classification` or `language_model`.
        pooling: As in the configuration; by default the family's own.
        seed: Of the tensors.
        changes: Further entries of `config.json`.
    """

    DEVIATION = 0.3

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
        self.tensors = Tensors(
            (name, (self.DEVIATION * rng.standard_normal(shape)).astype(np.float32))
            for name, (_, shape) in sorted(shapes.items())
        )

    def without_head(self):
        """What the checkpoint of the encoder or decoder alone holds: its names, unprefixed."""
        prefix = self.table.prefix
        self.tensors = Tensors(
            (name.removeprefix(prefix), tensor)
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        )
        del self.raw["architectures"]
        return self

    def write(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(self.raw))
        save_file(dict(self.tensors), directory / "model.safetensors", metadata={"format": "pt"})
        return directory


def checkpoint_of(family, **options):
    """One of any family."""
    if family in DECODERS:
        return TinyDecoder(family, **options)
    return TinyCheckpoint(ENCODERS[family], **options)


def load(directory, head, **options):
    loader = load_classifier if head == "classification" else load_language_model
    return loader(directory, **options)


def export(directory, source, model):
    if model.config.head == "language_model":
        return export_language_model(directory, source, model.config, model.params)
    return export_classifier(directory, source, model.config, model.params, model.label_names)


def shapes_of(config):
    """Path -> shape of every parameter."""
    return {path: leaf.shape for path, leaf in flatten_params(abstract_params(config)).items()}


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


MASK = np.array([[1] * 7, [1] * 4 + [0] * 3, [0] * 3 + [1] * 4, [1] + [0] * 6], np.int32)
"""Four rows: full, padded on the right, padded on the left, one token."""
SEGMENTS = (np.arange(7)[None, :] >= np.array([3, 2, 5, 1])[:, None]).astype(np.int32)


def padded_batch(pad_token_id):
    """Ids, mask and segments; the padding's token is also inside of the first row's text."""
    ids = np.random.default_rng(1).integers(3, 30, (4, 7)).astype(np.int32)
    ids = np.where(MASK == 1, ids, pad_token_id).astype(np.int32)
    ids[0, 2] = pad_token_id
    return jnp.asarray(ids), jnp.asarray(MASK), jnp.asarray(SEGMENTS)


# Every field differs from the family's default, so that one that is not read is noticed.
_TOKENS = {"vocab_size": 30, "pad_token_id": 2, "mask_token_id": 5}
_SHAPE = {
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 10,
}
ENCODERS = {
    "bert": {
        **{**_TOKENS, **_SHAPE, "model_type": "bert", "layer_norm_eps": 0.01},
        **{"max_position_embeddings": 9, "type_vocab_size": 3, "hidden_act": "relu"},
    },
    "roberta": {
        **{**_TOKENS, **_SHAPE, "model_type": "roberta", "layer_norm_eps": 0.01},
        **{"max_position_embeddings": 10, "type_vocab_size": 1, "hidden_act": "silu"},
    },
    "distilbert": {
        **{**_TOKENS, "model_type": "distilbert", "dim": 12, "n_layers": 3, "n_heads": 3},
        **{"hidden_dim": 10, "max_position_embeddings": 9, "activation": "relu"},
    },
    "modernbert": {
        **{**_TOKENS, **_SHAPE, "model_type": "modernbert", "norm_eps": 0.01},
        **{"max_position_embeddings": 9, "hidden_activation": "relu", "local_attention": 4},
        **{"global_attn_every_n_layers": 2, "classifier_activation": "silu"},
        **{"global_rope_theta": 50.0, "local_rope_theta": 10.0},
    },
}
_SIZES = {"vocab_size": 13, "num_hidden_layers": 2, "pad_token_id": 1}
_GATED = {
    **_SIZES,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
}
_GEMMA = {
    **{"head_dim": 6, "query_pre_attn_scalar": 5, "sliding_window": 3},
    **{"hidden_activation": "gelu_pytorch_tanh", "final_logit_softcapping": 3.0},
}
DECODERS = {
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
        **_SIZES,
        "hidden_size": 8,
        "num_attention_heads": 2,
        "ffn_dim": 12,
        "max_position_embeddings": 9,
    },
    "llama": {"model_type": "llama", **_GATED},
    "mistral": {"model_type": "mistral", **_GATED, "sliding_window": 3},
    "qwen2": {
        **{"model_type": "qwen2", **_GATED},
        **{"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1},
    },
    "qwen3": {"model_type": "qwen3", **_GATED, "head_dim": 6},
    "gemma2": {"model_type": "gemma2", **_GATED, **_GEMMA, "attn_logit_softcapping": 2.0},
    "gemma3_text": {
        **{"model_type": "gemma3_text", **_GATED, **_GEMMA, "sliding_window_pattern": 2},
        **{"rope_theta": 1000.0, "rope_local_base_freq": 100.0},
    },
    "smollm3": {"model_type": "smollm3", **_GATED, "no_rope_layer_interval": 2},
}
TORCH_CLASSES = {
    ("gpt2", "classification"): "GPT2ForSequenceClassification",
    ("gpt2", "language_model"): "GPT2LMHeadModel",
    ("opt", "classification"): "OPTForSequenceClassification",
    ("opt", "language_model"): "OPTForCausalLM",
    ("llama", "classification"): "LlamaForSequenceClassification",
    ("llama", "language_model"): "LlamaForCausalLM",
    ("mistral", "classification"): "MistralForSequenceClassification",
    ("mistral", "language_model"): "MistralForCausalLM",
    ("gemma2", "classification"): "Gemma2ForSequenceClassification",
    ("gemma2", "language_model"): "Gemma2ForCausalLM",
    ("gemma3_text", "classification"): "Gemma3TextForSequenceClassification",
    ("gemma3_text", "language_model"): "Gemma3ForCausalLM",
    ("smollm3", "classification"): "SmolLM3ForSequenceClassification",
    ("smollm3", "language_model"): "SmolLM3ForCausalLM",
    ("qwen2", "classification"): "Qwen2ForSequenceClassification",
    ("qwen2", "language_model"): "Qwen2ForCausalLM",
    ("qwen3", "classification"): "Qwen3ForSequenceClassification",
    ("qwen3", "language_model"): "Qwen3ForCausalLM",
}
CHOICES = (5, 2)


class TinyDecoder(TinyCheckpoint):
    """A decoder of which a test chooses family, head and options."""

    DEVIATION = 0.4

    def __init__(self, family, head="classification", **options):
        super().__init__(DECODERS[family], head=head, **options)

    def params(self, dtype=jnp.float32):
        """What `read_params` gives, without the programs that it compiles for every shape."""
        shapes, flat = shapes_of(self.config), {}
        for row in self.table.rows:
            tensors = [self.tensors[name] for name in row.tensor_names(shapes[row.path])]
            tensors = [tensor.T if row.transposed else tensor for tensor in tensors]
            flat[row.path] = jnp.asarray(np.stack(tensors) if row.stacked else tensors[0], dtype)
        return unflatten_params(flat)

    def run(self, ids, mask, dtype=jnp.float32):
        """Logits of the head, and for a language model those of `CHOICES`."""
        return jax.tree.map(np.asarray, compiled(self.config)(self.params(dtype), ids, mask))

    def torch(self, ids, mask):
        """Logits of stock transformers for the same weights."""
        return torch_logits(self.torch_model(), ids, mask)

    def torch_model(self):
        """The model of stock transformers with the same weights."""
        torch = pytest.importorskip("torch")
        import transformers

        cls = getattr(transformers, TORCH_CLASSES[self.raw["model_type"], self.config.head])
        # A copy, as transformers completes what it is given.
        raw = {name: deepcopy(entry) for name, entry in self.raw.items() if name not in LABELS}
        model = cls(cls.config_class(**raw, num_labels=3)).eval()
        state = {name: torch.tensor(tensor) for name, tensor in self.tensors.items()}
        missing, unexpected = model.load_state_dict(state, strict=False)
        assert not unexpected
        assert set(missing) <= {"lm_head.weight"}  # tied
        return model


@functools.cache
def compiled(config):
    if config.head == "classification":
        return jax.jit(apply_function(config))

    def both(params, ids, mask):
        network = bind(config, params)
        return network(ids, mask), network.choices(ids, mask, None, np.array(CHOICES))

    return jax.jit(both)


def decoder_batch():
    """The four rows, and a text that ends in the padding's token."""
    ids = np.random.default_rng(1).integers(2, 13, (5, 7)).astype(np.int32)
    mask = np.concatenate([MASK, np.ones((1, 7), np.int32)])
    ids[mask == 0] = 1
    ids[4, 6] = 1
    return ids, mask


def read_only(logits, mask):
    """Token logits with those of padding, which mean nothing, set to zero."""
    return logits * mask[:, :, None] if logits.ndim == 3 else logits
