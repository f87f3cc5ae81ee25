"""A named benchmark task: what it is, and its rows from a local folder or from the Hub.

One instance per task; `glue.py` holds them. The fields are the columns of the Hugging Face Hub, and
the label names are in its order, so that a number means the same everywhere.
"""

import string
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Int32

from loren_jax.tasks.columns import choose_text_columns, encode, read_labels, read_texts
from loren_jax.tasks.examples import Examples
from loren_jax.tasks.files import read_table
from loren_jax.tasks.hub import read_hub
from loren_jax.tasks.metrics import METRICS
from loren_jax.tasks.prompts import Prompt
from loren_jax.tasks.tables import Table

_LABEL = "label"


@dataclass(frozen=True)
class Task:
    """A benchmark task.

    Attributes:
      name: as the command line and local folders spell it.
      title: as papers spell it.
      hub: data set on the Hub, with its configuration after a colon.
      label_names: the classes, in the order of their numbers.
      inputs: without a prompt, the text or the pair of texts, from the fields in braces.
      prompt: with a prompt, its template and answers.
      metrics: names in `METRICS`; the first one selects.
      train_files: local files of the training split; alternatives, the first complete one counts.
      validation_files: local files of the validation split, likewise.
      columns: column names of the local files, where they have no header.
      renamed: pairs of a column that some local files have, and the field that it is.
      hub_validation: name of the validation split on the Hub.
    """

    name: str
    title: str
    hub: str
    label_names: tuple[str, ...]
    inputs: tuple[str, ...]
    prompt: Prompt
    metrics: tuple[str, ...] = ("accuracy",)
    train_files: tuple[tuple[str, ...], ...] = (("train.jsonl",),)
    validation_files: tuple[tuple[str, ...], ...] = (("val.jsonl",),)
    columns: tuple[str, ...] | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    hub_validation: str = "validation"

    def __post_init__(self) -> None:
        if len(self.prompt.words) != len(self.label_names):
            raise ValueError(
                f"{self.name}: {len(self.prompt.words)} answers for {len(self.label_names)} classes"
            )
        if unknown := set(self.metrics) - set(METRICS):
            raise ValueError(f"{self.name}: unknown metrics {sorted(unknown)}")
        if set(self.prompt.fields) != set(self.fields):
            raise ValueError(f"{self.name}: inputs and prompt have different fields")

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns that the inputs need, in their order."""
        return tuple(
            name
            for text in self.inputs
            for _, name, _, _ in string.Formatter().parse(text)
            if name is not None
        )


def read_task(
    task: Task,
    split: Literal["train", "validation"],
    *,
    data_dir: str | Path | None = None,
    prompt: Prompt | None = None,
) -> Examples:
    """Read one split of a task, in stored order.

    Args:
      task: which task.
      split: which of its splits with public labels.
      data_dir: folder that holds a folder of the task's name with its files; `None` for the Hub.
      prompt: the texts are then the fields of this prompt, else the task's own inputs.

    Returns:
      The examples, with the task's label names.

    Raises:
      FileNotFoundError: if the local folder or its files do not exist.
      ConnectionError: if the Hub cannot be reached.
      ValueError: if a column is missing, or a row or label is malformed.
    """
    tables = [_hub_table(task, split)] if data_dir is None else _tables(task, split, Path(data_dir))
    fields = task.fields if prompt is None else prompt.fields
    texts: list[tuple[str, ...]] = []
    labels: list[Int32[np.ndarray, "rows"]] = []
    for table in tables:
        values = read_texts(table, choose_text_columns(table, fields))
        texts += values if prompt else [_inputs(task, fields, row) for row in values]
        found = read_labels(table, _LABEL)
        labels.append(encode(table, found, task.label_names, numbered=True))
    return Examples(tuple(texts), np.concatenate(labels), task.label_names)


def _inputs(task: Task, fields: tuple[str, ...], values: tuple[str, ...]) -> tuple[str, ...]:
    named = dict(zip(fields, values, strict=True))
    return tuple(text.format_map(named) for text in task.inputs)


def _hub_table(task: Task, split: str) -> Table:
    name = split if split == "train" else task.hub_validation
    try:
        return read_hub(task.hub, name)
    except ConnectionError as error:
        raise ConnectionError(
            f"{error}; or give the folder that holds {task.name}/ with --data-dir"
        ) from error


def _tables(task: Task, split: str, data_dir: Path) -> list[Table]:
    folder = data_dir / task.name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data_dir: there is no folder {folder}; data_dir must hold a folder for each task, "
            f"{task.name}/ with {_words(task, split)}"
        )
    for files in _files(task, split):
        if all((folder / name).is_file() for name in files):
            return [_read(task, folder / name) for name in files]
    raise FileNotFoundError(
        f"data_dir: {folder} does not hold the {split} data of {task.title}: {_words(task, split)}"
    )


def _files(task: Task, split: str) -> tuple[tuple[str, ...], ...]:
    return task.train_files if split == "train" else task.validation_files


def _words(task: Task, split: str) -> str:
    return ", or ".join(" and ".join(files) for files in _files(task, split))


def _read(task: Task, path: Path) -> Table:
    table, names = read_table(path, task.columns, quoted=False), dict(task.renamed)
    if not names.keys() & set(table.columns):
        return table
    rename = lambda column: names.get(column, column)
    rows = {
        number: {rename(column): value for column, value in values.items()}
        for number, values in table.rows.items()
    }
    return table._replace(columns=tuple(map(rename, table.columns)), rows=rows)
