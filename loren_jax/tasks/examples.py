"""Labelled texts: what a classification task is once its file has been understood.

One sentence or a pair per example, or the fields of a prompt, and a label out of a fixed list.
Held-out data is always encoded with the label names of the training data, so that a number means
the same class on both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Int, Int32

from loren_jax.tasks.batches import permutation
from loren_jax.tasks.columns import (
    choose_label_column,
    choose_text_columns,
    complete_rows,
    encode,
    read_labels,
    read_texts,
    require_classes,
    sort_names,
)
from loren_jax.tasks.sources import HELD_OUT, local_splits, read_source


@dataclass(frozen=True, eq=False)
class Examples:
    """Texts with their labels.

    Attributes:
      texts: one tuple per example, of one text or of a pair, or of the fields of a prompt.
      labels: int32 array [N], read-only, positions in `label_names`.
      label_names: the classes, in the order of the labels.

    >>> examples = Examples((("good",), ("bad",)), np.array([1, 0], np.int32), ("neg", "pos"))
    >>> len(examples), examples.class_counts()
    (2, {'neg': 1, 'pos': 1})
    """

    texts: tuple[tuple[str, ...], ...]
    labels: Int32[np.ndarray, "examples"]
    label_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.labels):
            raise ValueError(f"{len(self.texts)} texts but {len(self.labels)} labels")
        widths = {len(text) for text in self.texts}
        if len(widths) > 1 or 0 in widths:
            raise ValueError("texts must be all single texts or all pairs, or all of one prompt")
        if len(set(self.label_names)) < len(self.label_names):
            raise ValueError(f"label_names holds a name twice: {', '.join(self.label_names)}")
        if np.any((self.labels < 0) | (self.labels >= len(self.label_names))):
            raise ValueError(f"labels must lie in 0...{len(self.label_names) - 1}")
        labels = self.labels.copy()
        labels.setflags(write=False)
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.texts)

    def select(self, indices: Int[np.ndarray, "chosen"]) -> "Examples":
        """Return the examples at `indices` [chosen], in that order."""
        texts = tuple(self.texts[index] for index in indices)
        return Examples(texts, self.labels[indices], self.label_names)

    def take(self, count: int) -> "Examples":
        """Return the first `count` examples; a ValueError if there are fewer."""
        if not 0 <= count <= len(self):
            raise ValueError(f"count is {count}, but there are {len(self)} examples")
        return self.select(np.arange(count))

    @property
    def groups(self) -> Int32[np.ndarray, "examples"]:
        """The group of each, all of which a small held-out set is to have: its class."""
        return self.labels

    def class_counts(self) -> dict[str, int]:
        """Return the number of examples of every class, the absent ones included."""
        counts = np.bincount(self.labels, minlength=len(self.label_names))
        return dict(zip(self.label_names, counts.tolist(), strict=True))

    def majority_accuracy(self) -> float:
        """Return the accuracy, between 0 and 1, of always answering the most frequent class.

        >>> texts = (("a",), ("b",), ("c",), ("d",))
        >>> Examples(texts, np.array([0, 1, 1, 1], np.int32), ("no", "yes")).majority_accuracy()
        0.75
        """
        if not len(self):
            raise ValueError("there are no examples to have a majority class")
        return max(self.class_counts().values()) / len(self)


def load_examples(
    source: str | Path,
    *,
    split: str | None = None,
    columns: Sequence[str] | None = None,
    text_columns: Sequence[str] | None = None,
    label_column: str = "label",
    label_names: Sequence[str] | None = None,
    numbered: bool = False,
) -> Examples:
    """Read labelled texts.

    Args:
      source: a file (TSV, CSV, JSON, JSON lines, parquet, Excel), a folder of them with one
        called train, `Rows`, or a Hub name such as `nyu-mll/glue:sst2`.
      split: `train` by default; a single file has none.
      columns: column names of a TSV or CSV file without header.
      text_columns: the column of the text, or the two columns of a pair; by default the first
        found of the usual pairs (premise, hypothesis; question, sentence; ...), then
        `sentence`, then `text`.
      label_column: the column of the labels, strings or integers.
      label_names: the classes in order, such as `train.label_names` for held-out data; by
        default the names that a Hub data set declares, else the sorted labels found.
      numbered: whether a label may also be the number of its class, or a name in another case.

    Returns:
      The examples, in the order of the source.

    Raises:
      FileNotFoundError: if the file does not exist.
      ConnectionError: if the Hub cannot be reached.
      ValueError: if a column is missing, a row is malformed or a label unknown; the message
        names the file and the line.
    """
    if split not in (None, HELD_OUT) and local_splits(source) == ("train",):
        raise ValueError(f"split is {split!r}, but {source} is a file; leave split out")
    table = read_source(source, split or "train", columns)
    label_column = choose_label_column(table, label_column)
    declared = table.class_names.get(label_column)
    chosen = choose_text_columns(table, text_columns, label_column)
    table = complete_rows(table, label_column, chosen)
    texts, found = read_texts(table, chosen), read_labels(table, label_column)
    if label_names is None and declared is None:
        require_classes(table, found, label_column)
    names = tuple(label_names or declared or sort_names(found))
    return Examples(texts, encode(table, found, names, numbered=numbered), names)


@runtime_checkable
class Drawable(Protocol):
    """What training and held-out examples are drawn from."""

    def __len__(self) -> int:
        """Return the number of examples."""

    @property
    def groups(self) -> Int[np.ndarray, "examples"]:
        """The group of each, all of which a small held-out set is to have."""

    def select(self, indices: Int[np.ndarray, "chosen"]) -> Any:
        """Return the examples at `indices` [chosen], in that order."""


Source = TypeVar("Source", bound=Drawable)


def split(examples: Source, *, train: int, held_out: int, seed: int) -> tuple[Source, Source]:
    """Draw disjoint training and held-out examples by a fixed permutation.

    Args:
      examples: what to draw from.
      train: number of training examples.
      held_out: number of held-out examples.
      seed: of the permutation; the same seed gives the same examples on every machine.

    Returns:
      The training and the held-out examples.

    Raises:
      ValueError: if there are fewer than `train + held_out` examples.

    >>> texts = tuple((word,) for word in "abcd")
    >>> both = Examples(texts, np.zeros(4, np.int32), ("only",))
    >>> train, held_out = split(both, train=3, held_out=1, seed=0)
    >>> sorted(train.texts + held_out.texts) == sorted(texts)
    True
    """
    if train < 0 or held_out < 0:
        raise ValueError(f"train is {train} and held_out {held_out}; neither may be negative")
    if train + held_out > len(examples):
        raise ValueError(
            f"{train} training and {held_out} held-out examples are asked for, but there are only "
            f"{len(examples)}; ask for fewer"
        )
    order = permutation(len(examples), seed)
    return examples.select(order[:train]), examples.select(order[train : train + held_out])
