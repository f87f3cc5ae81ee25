"""Hugging Face models in and out: the only door to checkpoints.

`load_classifier`, `load_language_model` and `load_prompted` read what `locate` finds;
`export_classifier` and `export_language_model` write what stock transformers reads. Nothing
here needs torch.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from loren_jax.checkpoints import (
    CONFIG,
    checkpoint_config,
    open_checkpoint,
    tokenizer_files,
    write_directory,
)
from loren_jax.checkpoints.special_tokens import (
    mask_token_id,
    padding_token,
    with_padding_token,
    with_tokenizer_class,
)
from loren_jax.checkpoints.tokenizers import companion_files, tokenizer_directory
from loren_jax.models.decoder import DecoderConfig
from loren_jax.models.families import (
    Classifier,
    LanguageModel,
    abstract_params,
    apply_function,
    choice_function,
    default_label_names,
    family_described,
    family_of,
    model_type_of,
)
from loren_jax.models.gemma3 import text_part
from loren_jax.models.heads import (
    announces_a_classifier,
    heads_of_other_tasks,
    label_count,
    new_layer,
)
from loren_jax.models.low_bit import Storage
from loren_jax.models.network import Family, NetworkConfig
from loren_jax.models.sentence_encoder import declared_pooling
from loren_jax.models.weights import ShardingOf, read_params, tensors_of
from loren_jax.quantised import as_dense


def load_classifier(
    directory: str | Path,
    *,
    num_labels: int | None = None,
    pooling: str | None = None,
    key: int | jax.Array = 0,
    dtype: DTypeLike = jnp.float32,
    sharding: ShardingOf | None = None,
    storage: Storage | None = None,
) -> Classifier:
    """Reads a classifier, or a model of any other kind and gives it a new classification head.

    Args:
      directory: A Hugging Face directory, or a file that is a whole model.
      num_labels: Number of classes C. It may be left out if the checkpoint has a head.
      pooling: `cls`, `mean` or `last`, as far as the family knows it. By default what an
        export of ours says; else, without a head, what a sentence encoder's directory declares;
        else the family's own.
      key: Seed or key of a new head: N(0, 0.02^2), with zero bias.
      dtype: Element type of the parameters.
      sharding: `(path, shape) -> NamedSharding` of each parameter, for a model that no single
        device or host could hold; one device if left out.
      storage: How matrices are kept that are not to be trained as floats: as a quantised file
        has them, for example. By default all are floats.

    Returns:
      The classifier.

    Raises:
      FileNotFoundError: If the directory or one of its files is absent.
      ValueError: If a file is damaged, the family or one of its options is not supported, the
        tensors are not exactly the model's, or the head has another number of labels.
    """
    directory = Path(directory)
    raw = text_part(checkpoint_config(directory))
    family = family_described(raw)
    source = open_checkpoint(directory)
    raw = _with_padding(raw, directory, family)
    pooling = pooling or _default_pooling(directory, raw, family)
    draft = family.config.from_hugging_face(raw, num_labels=1, pooling=pooling)
    foreign = heads_of_other_tasks(raw)
    table = family.weight_table(draft)._replace(foreign=foreign)
    num_labels = label_count(source, table, raw, num_labels)
    config = family.config.from_hugging_face(raw, num_labels=num_labels, pooling=pooling)
    names = default_label_names(config) if foreign else _label_names(raw, config)
    params = read_params(
        source,
        family.weight_table(config)._replace(foreign=foreign),
        abstract_params(config),
        dtype=dtype,
        head_key=key,
        sharding=sharding,
        storage=storage,
    )
    return Classifier(config, apply_function(config), params, names, new_layer(source, table))


def _default_pooling(directory: Path, raw: Mapping[str, Any], family: Family) -> str:
    own = family.config.own_pooling(raw)
    if "pooling" in raw:
        return raw["pooling"]
    if announces_a_classifier(raw):
        return own
    return declared_pooling(directory, family.config.POOLINGS) or own


def _label_names(raw: Mapping[str, Any], config: NetworkConfig) -> tuple[str, ...]:
    told = raw.get("id2label") or {}
    told = dict(enumerate(told)) if isinstance(told, list) else told
    try:
        names = {int(label): str(name) for label, name in told.items()}
    except (AttributeError, ValueError):
        raise ValueError(
            f"{CONFIG}: id2label={raw['id2label']!r} must be an object whose keys are the numbers "
            'of the classes, such as {"0": "negative", "1": "positive"}'
        ) from None
    if sorted(names) != list(range(config.num_labels)):
        return default_label_names(config)
    return tuple(names[label] for label in range(config.num_labels))


def load_language_model(
    directory: str | Path,
    *,
    dtype: DTypeLike = jnp.float32,
    sharding: ShardingOf | None = None,
    storage: Storage | None = None,
) -> LanguageModel:
    """Reads a causal or masked language model.

    Args:
      directory: A Hugging Face directory, or a file that is a whole model.
      dtype: Element type of the parameters.
      sharding: See `load_classifier`.
      storage: See `load_classifier`.

    Returns:
      The language model.

    Raises:
      FileNotFoundError: If the directory or one of its files is absent.
      ValueError: If a file is damaged, the family or one of its options is not supported, or the
        tensors are not exactly the model's; a missing output layer is never drawn anew.
    """
    config, params = _read_language_model(Path(directory), 2, dtype, sharding, storage)
    return LanguageModel(config, apply_function(config), params)


def load_prompted(
    directory: str | Path,
    token_ids: Sequence[int],
    *,
    label_names: Sequence[str] | None = None,
    dtype: DTypeLike = jnp.float32,
    sharding: ShardingOf | None = None,
    storage: Storage | None = None,
) -> Classifier:
    """Reads a language model as a classifier that answers a prompt with one of a few tokens.

    Args:
      directory: A Hugging Face directory, or a file that is a whole model.
      token_ids: The token that stands for each of the C classes.
      label_names: Names of the classes; `LABEL_0` and so on, if left out.
      dtype: Element type of the parameters.
      sharding: See `load_classifier`.
      storage: See `load_classifier`.

    Returns:
      A classifier whose logits are the language model's logits of those tokens: of a causal model
      after the last token of the text, of a masked one at its first mask token.

    Raises:
      FileNotFoundError: See `load_language_model`.
      ValueError: See `load_language_model`; also if the tokens are not different numbers of the
        vocabulary, or the labels not as many different names.
    """
    num_labels = len(token_ids)
    config, params = _read_language_model(Path(directory), num_labels, dtype, sharding, storage)
    names = tuple(default_label_names(config) if label_names is None else label_names)
    _check_label_names(names, config)
    return Classifier(config, choice_function(config, token_ids), params, names)


def _read_language_model(
    directory: Path,
    num_labels: int,
    dtype: DTypeLike,
    sharding: ShardingOf | None,
    storage: Storage | None,
) -> tuple[Any, dict[str, Any]]:
    raw = text_part(checkpoint_config(directory))
    family = family_described(raw)
    source = open_checkpoint(directory)
    # The configuration file does not tell it, the tokenizer does.
    raw = {"mask_token_id": mask_token_id(directory), **_with_padding(raw, directory, family)}
    config = family.config.from_hugging_face(raw, num_labels=num_labels, head="language_model")
    table = family.weight_table(config)
    where = {"sharding": sharding, "storage": storage}
    return config, read_params(source, table, abstract_params(config), dtype=dtype, **where)


def _with_padding(raw: Mapping[str, Any], directory: Path, family: Family) -> Mapping[str, Any]:
    """A decoder's configuration with the padding that its tokenizer gives, whatever it said."""
    if not issubclass(family.config, DecoderConfig):
        return raw
    padding = padding_token(directory)
    number = padding.number if padding else raw.get("pad_token_id")
    folder = tokenizer_directory(directory)
    if number is None and not (folder and (folder / CONFIG).is_file()):  # a GGUF tells all itself
        number = raw.get("eos_token_id")
    # Some say -1 where they have none.
    limit = raw.get("vocab_size")
    inside = isinstance(number, int) and isinstance(limit, int) and 0 <= number < limit
    return {**raw, "pad_token_id": number if inside else None}


def export_classifier(
    directory: str | Path,
    source_directory: str | Path,
    config: NetworkConfig,
    params: Mapping[str, Any],
    label_names: Sequence[str],
    *,
    overwrite: bool = False,
) -> Path:
    """Writes a classifier that `load_classifier` and stock transformers read, all or nothing.

    A mean-pooled BERT is no class of transformers; its directory carries one, for
    `from_pretrained(directory, trust_remote_code=True)`.

    Args:
      directory: The directory to create.
      source_directory: Where the model came from: its tokenizer files are copied, and what its
        `config.json` says beyond `config` (dropout, for example) is kept.
      config: The model's configuration.
      params: Its parameters, a nested dictionary.
      label_names: Names of the C classes.
      overwrite: Whether an existing directory may be replaced.

    Returns:
      The directory.

    Raises:
      FileExistsError: If the directory is in use and `overwrite` is false.
      FileNotFoundError: If the source has no `config.json`.
      ValueError: If the model is no classifier, the labels do not match the head, or the
        parameters the configuration.
    """
    if config.head != "classification":
        raise ValueError(f"config.head={config.head!r}: use export_language_model")
    _check_label_names(label_names, config)
    settings = {
        "id2label": {str(label): name for label, name in enumerate(label_names)},
        "label2id": {name: label for label, name in enumerate(label_names)},
        "pooling": config.pooling,
    }
    return _export(Path(directory), Path(source_directory), config, params, settings, overwrite)


def _check_label_names(label_names: Sequence[str], config: NetworkConfig) -> None:
    if len(set(label_names)) != config.num_labels or len(label_names) != config.num_labels:
        raise ValueError(
            f"label_names={list(label_names)} must be {config.num_labels} different names"
        )


def export_language_model(
    directory: str | Path,
    source_directory: str | Path,
    config: NetworkConfig,
    params: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Path:
    """Writes a language model that `load_language_model` and stock transformers read.

    Args:
      directory: The directory to create, all or nothing.
      source_directory: Where the model came from; see `export_classifier`.
      config: The model's configuration; that of a prompted classifier will do.
      params: Its parameters, a nested dictionary.
      overwrite: Whether an existing directory may be replaced.

    Returns:
      The directory.

    Raises:
      FileExistsError: If the directory is in use and `overwrite` is false.
      FileNotFoundError: If the source has no `config.json`.
      ValueError: If the model is no language model, or the parameters do not match it.
    """
    if config.head != "language_model":
        raise ValueError(f"config.head={config.head!r}: use export_classifier")
    return _export(Path(directory), Path(source_directory), config, params, {}, overwrite)


def _export(
    directory: Path,
    source: Path,
    config: NetworkConfig,
    params: Mapping[str, Any],
    settings: Mapping[str, Any],
    overwrite: bool,
) -> Path:
    params = as_dense(params)
    family = family_of(config)
    export = family.export(config)
    stale = {
        *("_name_or_path", "auto_map", "num_labels", "pooling", "torch_dtype"),
        "quantization_config",  # the weights are floats now
        *("problem_type", "function_to_apply"),  # a softmax over the classes is what was trained
    }
    raw = text_part(checkpoint_config(source))
    raw = {name: entry for name, entry in raw.items() if name not in stale}
    raw |= {
        "architectures": [export.architecture],
        "dtype": jax.tree.leaves(params)[0].dtype.name,
        "model_type": model_type_of(config),
        **settings,
        **export.settings,
    }
    files = tokenizer_files(source)
    padding = padding_token(source)
    if isinstance(config, DecoderConfig) and padding and not padding.declared:
        # Training padded with it; without the entry transformers would refuse to pad.
        files = with_padding_token(files, padding.token)
    if config.head == "language_model":
        files |= companion_files(source)
    if export.source:
        code = resources.files("loren_jax.models") / export.source
        files[f"{export.module}.py"] = code.read_bytes()
        classes = {
            "AutoConfig": export.architecture.replace("ForSequenceClassification", "Config"),
            "AutoModelForSequenceClassification": export.architecture,
        }
        raw["auto_map"] = {auto: f"{export.module}.{name}" for auto, name in classes.items()}
        files = with_tokenizer_class(files, "BertTokenizer")
    return write_directory(
        directory,
        tensors=tensors_of(params, family.weight_table(config)),
        config=raw,
        files=files,
        overwrite=overwrite,
    )
