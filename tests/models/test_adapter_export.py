"""Adapters as PEFT's files: applied by its rules they give the merged model."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.conftest import TinyBert
from models.peft_oracle import applied
from models.tiny_checkpoints import DECODERS, ENCODERS, TinyCheckpoint

from loren_jax import lora
from loren_jax.checkpoints import checkpoint_config, open_checkpoint
from loren_jax.models import family_of, load_classifier, load_language_model
from loren_jax.models.adapter_export import NoPlaceError, export_adapter
from loren_jax.models.kernel_names import kernel_patterns
from loren_jax.models.weights import flatten_params, tensors_of

FAMILIES = {**ENCODERS, **DECODERS}
CASES = {
    "query and value": ("bert", ("query", "value"), ["query", "value"]),
    "two outputs of one name": (
        *("bert", ("attention.output.dense",)),
        ["attention.output.dense"],
    ),
    "one that others end like": (
        *("bert", ("layers/down/kernel",)),
        [f"bert.encoder.layer.{layer}.output.dense" for layer in range(3)],
    ),
    "roberta": ("roberta", ("query", "up"), ["intermediate.dense", "query"]),
    "distilbert": ("distilbert", ("q_lin", "lin1"), ["lin1", "q_lin"]),
    "modernbert": ("modernbert", ("Wqkv", "Wi"), ["Wi", "Wqkv"]),
    "gpt2": ("gpt2", ("c_attn", "c_fc"), ["c_attn", "c_fc"]),
    "gpt2, both projections": ("gpt2", ("c_proj",), ["c_proj"]),
    "opt": ("opt", ("q_proj", "fc2"), ["fc2", "q_proj"]),
    "llama": ("llama", ("q_proj", "down_proj"), ["down_proj", "q_proj"]),
    "qwen2": ("qwen2", ("q_proj", "down_proj"), ["down_proj", "q_proj"]),
    "qwen3": ("qwen3", ("q_proj", "down_proj"), ["down_proj", "q_proj"]),
}


def moved(adapters):
    """Adapters that a training has moved."""
    leaves, structure = jax.tree.flatten(adapters)
    rng = np.random.default_rng(0)
    steps = [jnp.asarray(0.3 * rng.standard_normal(np.shape(leaf)), leaf.dtype) for leaf in leaves]
    return structure.unflatten([leaf + step for leaf, step in zip(leaves, steps, strict=True)])


def written(directory, base, model, targets, full=None, **options):
    """Adapters of a base model, its merged parameters, and both as torch names them."""
    table = family_of(model.config).weight_table(model.config)
    head = (f"{table.head}/*",) if model.config.head == "classification" else ()
    targets = kernel_patterns(model.config, targets, list(flatten_params(model.params)))
    adapters = lora.init(model.params, targets, rank=2, full=head if full is None else full)
    adapters = moved(adapters)
    merged = lora.merge(model.params, adapters, scale=3.0 / 2)
    export_adapter(
        *(directory, model.config, adapters, merged),
        **{"base": open_checkpoint(base), "base_name": "org/base", "rank": 2, "alpha": 3.0},
        **options,
    )
    source = open_checkpoint(base)
    prefixed = any(name.startswith(table.prefix) for name in source.names())
    names = {table.canonical_name(name, prefixed=prefixed): name for name in source.names()}
    return {c: source.read(n) for c, n in names.items()}, tensors_of(merged, table)


def require_same(found, merged):
    for name, tensor in merged.items():
        np.testing.assert_allclose(found[name], tensor, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("family", "targets", "names"), CASES.values(), ids=CASES)
def test_peft_makes_the_merged_model_of_it(family, targets, names, tmp_path):
    base = TinyCheckpoint(FAMILIES[family]).without_head().write(tmp_path / "base")
    model = load_classifier(base, num_labels=3)
    tensors, merged = written(tmp_path / "adapter", base, model, targets)
    require_same(applied(tmp_path / "adapter", tensors), merged)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["task_type"], config["r"], config["lora_alpha"]) == ("SEQ_CLS", 2, 3)
    assert config["base_model_name_or_path"] == "org/base"
    assert config["target_modules"] == names
    assert config["fan_in_fan_out"] == (family == "gpt2")
    heads = {"distilbert": ["classifier", "pre_classifier"], "roberta": ["classifier"]}
    heads["modernbert"] = ["classifier", "head.dense", "head.norm"]
    saved = [m for m in config["modules_to_save"] if "pooler" not in m]
    assert sorted(saved) == heads.get(family, ["classifier" if family == "bert" else "score"])


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_a_prompted_model_has_no_head_to_save(family, tmp_path):
    base = TinyCheckpoint(FAMILIES[family], head="language_model").write(tmp_path / "base")
    model = load_language_model(base)
    target = {"bert": "query", "gpt2": "c_attn", "llama": "q_proj"}[family]
    tensors, merged = written(tmp_path / "adapter", base, model, [target])
    require_same(applied(tmp_path / "adapter", tensors), merged)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["task_type"] == (None if family == "bert" else "CAUSAL_LM")
    assert config["modules_to_save"] is None


def test_norms_in_full_are_saved_as_whole_modules(tmp_path):
    base = TinyBert().without_head().write(tmp_path / "base")
    model = load_classifier(base, num_labels=3)
    full = ("classifier/*", "layers/mlp_norm/scale")
    tensors, merged = written(tmp_path / "adapter", base, model, ["query"], full)
    require_same(applied(tmp_path / "adapter", tensors), merged)


@pytest.mark.parametrize(
    ("targets", "full", "named"),
    [
        (["query"], ("layers/attention/query/bias",), "query.bias"),
        (["embeddings/word/embedding"], (), "embeddings/word/embedding"),
        (["classifier/kernel"], (), "classifier.weight"),
    ],
)
def test_what_peft_cannot_hold_is_named_and_nothing_is_written(targets, full, named, tmp_path):
    base = TinyBert().without_head().write(tmp_path / "base")
    model = load_classifier(base, num_labels=3)
    with pytest.raises(NoPlaceError, match=named):
        written(tmp_path / "adapter", base, model, targets, full)
    assert not (tmp_path / "adapter").exists()


def test_a_directory_of_adapters_is_no_model_and_is_not_replaced_unasked(tmp_path):
    base = TinyBert().without_head().write(tmp_path / "base")
    model = load_classifier(base, num_labels=3)
    written(tmp_path / "adapter", base, model, ["query"])
    with pytest.raises(FileExistsError, match="adapter exists; name a new directory"):
        written(tmp_path / "adapter", base, model, ["query"])
    written(tmp_path / "adapter", base, model, ["value"], overwrite=True)
    with pytest.raises(FileNotFoundError, match="is a PEFT adapter of org/base and no model"):
        checkpoint_config(tmp_path / "adapter")
