"""What a run keeps of its model: a directory that `loren-jax evaluate` and transformers read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.models import (
    Classifier,
    export_classifier,
    export_language_model,
    load_classifier,
)
from loren_jax.objectives.config import ClassificationConfig
from loren_jax.objectives.reader import Reader
from loren_jax.reports.files import JOURNAL, MODEL, read_json, write_json
from loren_jax.tasks import Prompt
from loren_jax.tasks.prompts import prompt_from_json, prompt_json

PROMPT = "prompt.json"


class Origin(NamedTuple):
    """What a model was made from, which its directory must tell too.

    Attributes:
        source: Where the model came from.
        config: Its configuration.
        label_names: The classes, in the order of its answers.
        prompt: What surrounds the texts; None for a model with a head.
        max_length: Longest input in tokens.
    """

    source: Path
    config: Any
    label_names: tuple[str, ...]
    prompt: Prompt | None
    max_length: int


def save_model(
    directory: Path, origin: Origin, params: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Writes a model; a prompted one as a language model, with its prompt beside it."""
    source, config, names, prompt, max_length = origin
    if prompt is None:
        export_classifier(directory, source, config, params, names, overwrite=overwrite)
        return
    export_language_model(directory, source, config, params, overwrite=overwrite)
    write_json(directory / PROMPT, prompt_json(prompt, label_names=names, max_length=max_length))


def model_directory(model: str) -> str:
    """The model of a run, where a run's directory is named; else what was named."""
    inside = Path(model) / MODEL
    return str(inside) if (Path(model) / JOURNAL).is_file() and inside.is_dir() else model


def model_of(
    config: ClassificationConfig,
    source: Path,
    reader: Reader,
    label_names: tuple[str, ...],
    sharding: Any = None,
) -> Classifier:
    """The classifier that a training begins with, with a new head if it has none for these classes.

    `sharding` says `(path, shape) -> NamedSharding` of its parameters; None for one device.
    """
    if config.prompt:
        return reader.prompted_model(label_names, dtype=config.dtype, sharding=sharding)
    return load_classifier(
        source,
        num_labels=len(label_names),
        pooling=config.pooling,
        key=config.seed,
        dtype=config.dtype,
        sharding=sharding,
    )


def read_prompt(directory: Path) -> tuple[Prompt, tuple[str, ...], int] | None:
    """The prompt that a model was trained with, the classes in the order of its answers, the limit.

    The limit is of the input, in tokens. None for a model with a head.
    """
    path = directory / PROMPT
    if not path.is_file():
        return None
    try:
        values = read_json(path)
        return prompt_from_json(values), tuple(values["label_names"]), int(values["max_length"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}; export the model again") from error
