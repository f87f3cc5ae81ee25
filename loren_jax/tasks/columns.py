"""Which columns of a table hold the texts and the label, and what their values mean.

Labels come as strings, numbers or booleans, depending on who wrote the file; here they all become
names, and names become numbers through one list that training and held-out data share.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from loren_jax.tasks.tables import Table

# Pairs come first: where a row has both a question and a sentence, the task is about the two.
_TEXT_COLUMNS = (
    ("premise", "hypothesis"),
    ("question", "sentence"),
    ("question", "passage"),
    ("question1", "question2"),
    ("sentence1", "sentence2"),
    ("text_a", "text_b"),
    ("sentence",),
    ("text",),
)

_HEADER_HINT = "a TSV or CSV file without header needs `columns`"


def choose_text_columns(table: Table, text_columns: Sequence[str] | None) -> tuple[str, ...]:
    """Return the text columns: those asked for, else the first usual ones found.

    Example:
        >>> choose_text_columns(Table("a.tsv", "line", ("question", "sentence", "label"), {}), None)
        ('question', 'sentence')
    """
    if text_columns is None:
        for usual in _TEXT_COLUMNS:
            if set(usual) <= set(table.columns):
                return usual
        raise ValueError(
            f"{table.origin}: none of the usual text columns is among "
            f"{', '.join(table.columns)}; name it with text_columns ({_HEADER_HINT})"
        )
    if isinstance(text_columns, str) or not text_columns:
        raise ValueError(f"text_columns is {text_columns!r}; give a tuple of one or two names")
    for column in text_columns:
        _require_column(table, column)
    return tuple(text_columns)


def read_texts(table: Table, text_columns: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the texts of every row, one tuple per row; a ValueError where one is no text."""
    return tuple(tuple(_text(table, row, column) for column in text_columns) for row in table.rows)


def read_labels(table: Table, label_column: str) -> tuple[str, ...]:
    """Return the label of every row as a name; a ValueError where there is none."""
    _require_column(table, label_column)
    return tuple(_label(table, row, label_column) for row in table.rows)


def sort_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the different labels in order; numbers by value, so that 10 follows 9.

    Example:
        >>> sort_names(["10", "9", "10"]), sort_names(["pos", "neg"])
        (('9', '10'), ('neg', 'pos'))
    """
    names = set(labels)
    if all(name.removeprefix("-").isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def encode(
    table: Table, labels: Sequence[str], label_names: Sequence[str], *, numbered: bool = False
) -> Int32[np.ndarray, "rows"]:
    """Number the labels of a table, one per row, by their place in `label_names`.

    With `numbered` a label may also be the number of its class, or a name in another case. The
    ValueError of an unknown one says where it stands.
    """
    spell = str.lower if numbered else str
    numbers = {spell(name): number for number, name in enumerate(label_names)}
    known = ", ".join(label_names)
    if numbered:
        numbers |= {str(number): number for number in range(len(label_names))}
        known += f", or 0 to {len(label_names) - 1}"
    for row, label in zip(table.rows, labels, strict=True):
        if spell(label) not in numbers:
            raise ValueError(
                f"{table.place(row)}: unknown label {label!r}; the known labels are {known}"
            )
    return np.array([numbers[spell(label)] for label in labels], np.int32)


def _require_column(table: Table, column: str) -> None:
    if column not in table.columns:
        raise ValueError(
            f"{table.origin}: no column {column!r}; the columns are {', '.join(table.columns)} "
            f"({_HEADER_HINT})"
        )


def _value(table: Table, row: int, column: str) -> Any:
    if column not in table.rows[row]:
        raise ValueError(f"{table.place(row)}: no value for column {column!r}")
    return table.rows[row][column]


def _text(table: Table, row: int, column: str) -> str:
    value = _value(table, row, column)
    if not isinstance(value, str):
        raise ValueError(f"{table.place(row)}: column {column!r} holds {value!r}, not a text")
    return value


def _label(table: Table, row: int, column: str) -> str:
    value = _value(table, row, column)
    if isinstance(value, bool):
        return str(value).lower()  # as JSON spells it
    if not isinstance(value, str | int):
        raise ValueError(f"{table.place(row)}: label {value!r} is neither a string nor an integer")
    return str(value)
