"""The score of a language model on texts, read as its training read them."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loren_jax import journal
from loren_jax.models import locate
from loren_jax.objectives.saved_model import model_directory
from loren_jax.objectives.saved_text import (
    TextReader,
    bucket_rows,
    causal_model,
    read_text_settings,
)
from loren_jax.objectives.shared_config import length_limit
from loren_jax.objectives.text_scoring import TextScorer
from loren_jax.objectives.text_splits import text_splits
from loren_jax.reports.files import JOURNAL
from loren_jax.tasks import TASKS
from loren_jax.tasks.conversations import Texts, load_texts
from loren_jax.tasks.sources import HELD_OUT, is_file, local_splits
from loren_jax.train.config import EvaluateConfig, TrainTextConfig, config_from_json

_BUCKETS = 4


def writes(model: str) -> bool:
    """Whether a model was trained by `train --objective text`."""
    path = locate(model_directory(model))
    return path.is_dir() and read_text_settings(path) is not None


def evaluate_text(config: EvaluateConfig) -> dict[str, Any]:
    """Scores a model that was trained by `train --objective text`.

    Args:
      config: Which model, on what.

    Returns:
      Its scores by name; see `loren_jax.objectives.text_scoring.TextScorer`.

    Raises:
      ValueError: If the data or the checkpoint is malformed.
      OSError: If a file is absent.
    """
    source = locate(model_directory(config.model))
    settings = read_text_settings(source)
    assert settings is not None
    if config.data in TASKS:
        raise ValueError(
            f"data is the task {config.data}, of texts with a label, but {config.model} writes: "
            "give a file of texts with --data"
        )
    texts, model = _texts(config, settings), causal_model(source)
    reader = TextReader(source, template=settings["template"], loss_on=settings["loss_on"])
    asked = config.max_length or settings["max_length"]
    rows = reader.rows(texts, length_limit(asked, asked, model.config.max_length), model.config)
    (found,) = bucket_rows([rows], _BUCKETS, model.config)
    score = TextScorer(model.apply, found, config.batch_size, title="evaluating")
    return {**score(model.params), "texts_cut": rows.cut}


def _texts(config: EvaluateConfig, settings: Mapping[str, Any]) -> Texts:
    if config.held_out:
        return _held_out_texts(config)
    split = config.split or (None if local_splits(config.data) == ("train",) else HELD_OUT)
    columns = config.columns if is_file(config.data) else None
    return load_texts(config.data, split=split, columns=columns, text_columns=config.text_columns)


def _held_out_texts(config: EvaluateConfig) -> Texts:
    """The texts that the model's run held out and did not select by, by its own numbers."""
    told = config_of_run(config)
    if told is None:
        raise ValueError(
            f"held_out: {config.model} is no run, which would say what it held out; leave it out"
        )
    run = config_from_json(told)
    assert isinstance(run, TrainTextConfig)
    splits = text_splits(dataclasses.replace(run, data=config.data))
    return splits.held_out if splits.test is None else splits.test


def config_of_run(config: EvaluateConfig) -> dict[str, Any] | None:
    """What the model's run was asked to do, which says what it held out; None if it is no run's.

    A ValueError where another size or seed is asked for: rows that the model was trained on would
    be scored as if it had never seen them.
    """
    path = Path(model_directory(config.model)).parent / JOURNAL
    told = journal.read(path).header["run"].get("config") if path.is_file() else None
    if told is None:
        return None
    defaults = {field.name: field.default for field in dataclasses.fields(EvaluateConfig)}
    for name in ("train_examples", "held_out_examples", "seed"):
        if getattr(config, name) not in (defaults[name], told[name]):
            raise ValueError(
                f"{name} is {getattr(config, name)}, but the run of {config.model} says itself "
                f"what it held out, with {told[name]}: leave {name} out"
            )
    return told
