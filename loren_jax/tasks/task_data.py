"""Named tasks as examples: rows from a local folder or from the Hub, in the task's own inputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from loren_jax.tasks.columns import choose_text_columns, read_label_value, read_texts
from loren_jax.tasks.glue import GLUE
from loren_jax.tasks.hub import read_hub
from loren_jax.tasks.prompts import Prompt
from loren_jax.tasks.superglue import SUPERGLUE
from loren_jax.tasks.tables import Row, Table, read_table
from loren_jax.tasks.task import DataFile, Task
from loren_jax.tasks.text_classification import Examples

TASKS: Mapping[str, Task] = {**GLUE, **SUPERGLUE}
"""Every named task."""

_LABEL = "label"


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
    labels: list[int] = []
    for table in tables:
        choose_text_columns(table, fields)
        values = read_texts(table, fields)
        texts += values if prompt else [_inputs(task, fields, row) for row in values]
        labels += [_label(task, table, row) for row in table.rows]
    return Examples(tuple(texts), np.array(labels, np.int32), task.label_names)


def _inputs(task: Task, fields: tuple[str, ...], values: tuple[str, ...]) -> tuple[str, ...]:
    named = dict(zip(fields, values, strict=True))
    return tuple(text.format_map(named) for text in task.inputs)


def _label(task: Task, table: Table, row: Row) -> int:
    """The number of a row's class, which may be spelled as number, name or truth value."""
    names = task.label_names
    value = read_label_value(table, row, _LABEL)
    numbers: dict[Any, int] = {name.lower(): number for number, name in enumerate(names)}
    numbers |= {str(number): number for number in range(len(names))}
    number = numbers.get(value.lower())
    if number is None:
        raise ValueError(
            f"{table.place(row)}: {task.title} has no label {value!r}; it has {', '.join(names)}, "
            f"or 0 to {len(names) - 1}"
        )
    return number


def _hub_table(task: Task, split: str) -> Table:
    name = split if split == "train" else task.hub_validation
    try:
        return read_hub(task.hub, name, _LABEL)[0]
    except ConnectionError as error:
        raise ConnectionError(
            f"{error}; or give the folder that holds {task.name}/ with --data-dir"
        ) from error


def _tables(task: Task, split: str, data_dir: Path) -> list[Table]:
    folder = data_dir / task.name
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data_dir: there is no folder {folder}; data_dir must hold a folder for each task, "
            f"{task.name}/ with {_listed(task, split)}"
        )
    alternatives = task.train_files if split == "train" else task.validation_files
    for files in alternatives:
        if all((folder / file.name).is_file() for file in files):
            return [_read(folder, file) for file in files]
    raise FileNotFoundError(
        f"data_dir: {folder} does not hold the {split} data of {task.title}: {_listed(task, split)}"
    )


def _listed(task: Task, split: str) -> str:
    alternatives = task.train_files if split == "train" else task.validation_files
    return ", or ".join(" and ".join(file.name for file in files) for files in alternatives)


def _read(folder: Path, file: DataFile) -> Table:
    table = read_table(folder / file.name, file.columns)
    names = dict(file.renamed)
    if not names:
        return table
    rename = lambda column: names.get(column, column)
    rows = tuple(
        Row(row.number, {rename(column): value for column, value in row.values.items()})
        for row in table.rows
    )
    return Table(table.origin, table.unit, tuple(map(rename, table.columns)), rows)
