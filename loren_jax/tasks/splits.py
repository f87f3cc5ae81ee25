"""One word for the data, as a command line gives it, to labelled examples of each split.

The word is the name of a task such as `sst2`, a local file, or the name of a Hub data set.
Whichever it is, all splits use the label names of the training data, and the same seed draws the
same examples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from loren_jax.tasks.examples import Examples, Source, load_examples, permutation, split
from loren_jax.tasks.glue import TASKS
from loren_jax.tasks.prompts import Prompt
from loren_jax.tasks.sources import HELD_OUT, is_file, local_splits
from loren_jax.tasks.task import Task, read_task

DEFAULTS = (512, 500)
"""Training and held-out examples, of a source that has so many."""


class Splits(NamedTuple):
    """Labelled examples: all that a source has, or those of a run.

    Attributes:
      train: what the steps see.
      validation: what the evaluations see, and selection and early stopping with them; of a
        source its own split, `None` if it has none.
      test: what is scored once, with the selected parameters; `None` where `validation` is what
        is reported, and of a source.
    """

    train: Examples
    validation: Examples | None
    test: Examples | None = None


def load_splits(
    data: str,
    *,
    data_dir: str | Path | None = None,
    held_out_data: str | None = None,
    prompt: Prompt | None = None,
    columns: Sequence[str] | None = None,
    text_columns: Sequence[str] | None = None,
    label_column: str = "label",
) -> Splits:
    """Load everything that a source has, in stored order.

    Args:
      data: the name of a task, a file, a folder with a file called train and one called
        validation or test, `Rows`, or a Hub data set such as `nyu-mll/glue:sst2`.
      data_dir: for a task, the folder that holds its folder; `None` for the Hub.
      held_out_data: where held-out examples come from, instead of the source's own validation or
        test split: a file, or the held-out split of a folder or Hub data set.
      prompt: the texts are then the fields of this prompt.
      columns: column names of TSV or CSV files without header.
      text_columns: the column of the text or the two of a pair; by default found by name.
      label_column: the column of the labels.

    Returns:
      The examples.

    Raises:
      FileNotFoundError: if a file does not exist.
      ConnectionError: if a Hub data set cannot be reached.
      ValueError: if data is malformed or a held-out label is unknown.
    """
    if data in TASKS:
        return _task_splits(TASKS[data], data_dir, held_out_data, prompt)
    if data_dir is not None:
        raise ValueError(
            f"data_dir is for the named tasks ({', '.join(TASKS)}), but data is {data!r}; leave it "
            "out, or name a task"
        )
    if prompt is not None:
        text_columns = prompt.fields
    options = {"columns": columns, "text_columns": text_columns, "label_column": label_column}
    train = _load(data, None, **options)
    if held_out_data is None and local_splits(data) == ("train",):
        return Splits(train, None)
    held_out = _load(held_out_data or data, HELD_OUT, label_names=train.label_names, **options)
    return Splits(train, held_out)


def draw(splits: Splits, train: int | None, held_out: int | None, seed: int) -> Splits:
    """Draw training and held-out examples of a source by the seed.

    Args:
      splits: the source; without a validation split both come from the same examples.
      train: number of training examples; `None` for all that are left.
      held_out: number of held-out examples; `None` for all that are left.
      seed: of the draw, not negative.

    Returns:
      The training examples, and as `validation` those held out; disjoint if from one split. One
      split that is smaller than the two default numbers is drawn class by class, four fifths to
      train on. Where the default number of a set is more than there is, it gets what is left.

    Raises:
      ValueError: if there are too few examples, or both numbers are `None` for one split.
    """
    if splits.validation is not None:
        sources, asked = (splits.train, splits.validation), (train, held_out)
        drawn = zip(sources, asked, DEFAULTS, strict=True)
        return Splits(*(_draw(source, n, seed, default) for source, n, default in drawn))
    examples = splits.train
    if train is None and held_out is None:
        raise ValueError(
            "train_examples and held_out_examples are both None, but both sets come from the same "
            "data; give one of them, or held_out_data"
        )
    if (train or 0) + (held_out or 0) > len(examples):  # what nobody chose gives way
        if (train, held_out) == DEFAULTS:
            return Splits(*four_fifths(examples, seed))
        if train == DEFAULTS[0] and (held_out or 0) < len(examples):
            train = None
        elif held_out == DEFAULTS[1] and (train or 0) < len(examples):
            held_out = None
    if train is None:
        train = max(0, len(examples) - (held_out or 0))
    elif held_out is None:
        held_out = max(0, len(examples) - train)
    return Splits(*split(examples, train=train, held_out=held_out or 0, seed=seed))


def four_fifths(examples: Source, seed: int) -> tuple[Source, Source]:
    """A fifth of each group, of each class, held out, one example at least where there are two."""
    order, held_out = permutation(len(examples), seed), np.zeros(len(examples), bool)
    for group in np.unique(examples.groups):
        own = order[examples.groups[order] == group]
        held_out[own[: max(len(own) // 5, int(len(own) > 1))]] = True
    return examples.select(order[~held_out[order]]), examples.select(order[held_out[order]])


def _task_splits(
    task: Task, data_dir: str | Path | None, held_out_data: str | None, prompt: Prompt | None
) -> Splits:
    if held_out_data is not None:
        raise ValueError(
            f"held_out_data is given, but {task.name} has a validation split of its own; leave it "
            "out"
        )
    train = read_task(task, "train", data_dir=data_dir, prompt=prompt)
    return Splits(train, read_task(task, "validation", data_dir=data_dir, prompt=prompt))


def _load(data: str, split: str | None, *, columns: Any, **options: Any) -> Examples:
    """Load a split; a data set of the Hub has no use for column names."""
    return load_examples(data, split=split, columns=columns if is_file(data) else None, **options)


def _draw(examples: Examples, count: int | None, seed: int, default: int) -> Examples:
    """So many; all for None, and where there are fewer than the number that nobody chose."""
    if count is None or (count == default and count > len(examples)):
        count = len(examples)
    return split(examples, train=count, held_out=0, seed=seed)[0]
