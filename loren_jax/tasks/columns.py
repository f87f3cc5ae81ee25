"""Which columns of a table hold the texts and the label, and what their values mean.

Labels come as strings, numbers or booleans, depending on who wrote the file; here they all become
names, and names become numbers through one list that training and held-out data share.
"""

import sys
from collections import Counter
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
    *(
        (name,)
        for name in (
            *("sentence", "text", "message", "review", "content", "body", "comment", "document"),
            *("tweet", "query", "question", "utterance", "description", "title"),
        )
    ),
)
_LABEL_COLUMNS = ("label", "labels", "target", "sentiment", "category", "class", "intent", "topic")
LABEL = _LABEL_COLUMNS[0]
_MISSING = ("", "nan", "n/a", "na", "null")
"""What stands where there is no label, in any case; as pandas reads it."""

_HEADER_HINT = "a file without header needs --columns"


def choose_text_columns(
    table: Table, text_columns: Sequence[str] | None, label_column: str = LABEL
) -> tuple[str, ...]:
    """Return the text columns: those asked for, else the first usual ones, else the only one left.

    Of two columns without a usual name, the one whose values do not repeat is taken.

    >>> choose_text_columns(Table("a.tsv", "line", ("question", "sentence", "label"), {}), None)
    ('question', 'sentence')
    """
    if text_columns is None:
        spelled = {column.strip().lower(): column for column in table.columns}
        for usual in _TEXT_COLUMNS:
            if set(usual) <= set(spelled):
                return tuple(spelled[name] for name in usual)
        left = [c for c in table.columns if c != label_column and _holds_texts(table, c)]
        if len(table.columns) == len(left) == 2:  # one of them as `choose_label_column` would
            left = [c for c in left if not _repeats(table, c)]
        if len(left) == 1:
            return (left[0],)
        raise ValueError(
            f"{table.origin}: none of the usual text columns is among {', '.join(table.columns)}; "
            f"name the text's with --text-columns ({_HEADER_HINT})"
        )
    if isinstance(text_columns, str) or not text_columns:
        raise ValueError(f"text_columns is {text_columns!r}; give a tuple of one or two names")
    for column in text_columns:
        _require_column(table, column, "--text-columns")
    return tuple(text_columns)


def choose_label_column(table: Table, label_column: str) -> str:
    """Return the label's column: the one asked for, or by default the only usual one.

    Of two columns without a usual name, the one whose values repeat is taken, and that is said.

    >>> choose_label_column(Table("a.tsv", "line", ("text", "Sentiment"), {}), "label")
    'Sentiment'
    """
    if label_column in table.columns:
        return label_column
    usual = [c for c in table.columns if c.strip().lower() in _LABEL_COLUMNS]
    if label_column == LABEL and len(usual) == 1:
        return usual[0]
    repeating = [c for c in table.columns if _repeats(table, c)]
    if label_column == LABEL and not usual and len(table.columns) == 2 and len(repeating) == 1:
        print(
            f"{table.origin}: {repeating[0]!r} is taken for the label, as its values repeat; "
            "--label-column names another",
            file=sys.stderr,
        )
        return repeating[0]
    _require_column(table, label_column, "--label-column")
    return label_column


def complete_rows(table: Table, label_column: str, text_columns: Sequence[str]) -> Table:
    """Return the rows that have a label and texts; how many have not is said."""
    empty: dict[str, list[int]] = {}
    for number, row in table.rows.items():
        # A column that a row lacks altogether is a fault of the file, told where it is read.
        for column in (label_column, *text_columns):
            if column in row and _is_missing(row[column], label=column == label_column):
                empty.setdefault(column, []).append(number)
                break
    for column, numbers in empty.items():
        rows = "1 row has nothing" if len(numbers) == 1 else f"{len(numbers)} rows have nothing"
        left = "is" if len(numbers) == 1 else "are"
        print(
            f"{table.origin}: {rows} in {column!r} and {left} left out, the first {table.unit} "
            f"{numbers[0]}",
            file=sys.stderr,
        )
    gone = {number for numbers in empty.values() for number in numbers}
    kept = {number: row for number, row in table.rows.items() if number not in gone}
    if not kept:
        columns = ", ".join((label_column, *text_columns))
        raise ValueError(f"{table.origin}: no row has something in each of {columns}")
    return table._replace(rows=kept)


def require_classes(table: Table, labels: Sequence[str], label_column: str) -> None:
    """Raise a ValueError where labels are no classes; say so where they hardly can be."""
    counts = Counter(labels)
    other = f"is {label_column!r} the label's column? --label-column names another"
    if len(counts) == 1:
        raise ValueError(
            f"{table.origin}: all {len(labels)} rows have the label {labels[0]!r}, so that nothing "
            f"can be learned; {other}"
        )
    if len(counts) == len(labels) and len(labels) > 2:
        raise ValueError(
            f"{table.origin}: each of {len(labels)} rows has a label of its own; {other}"
        )
    if len(counts) > 50:
        print(f"{table.origin}: {len(counts)} different labels; {other}", file=sys.stderr)


def _repeats(table: Table, column: str) -> bool:
    """Whether its values are those of classes: few, and each in ten rows or so."""
    values = [str(row.get(column)) for row in table.rows.values()]
    return 2 <= len(set(values)) <= min(50, len(values) // 10)


def _is_missing(value: Any, *, label: bool) -> bool:
    if isinstance(value, float):
        return value != value
    # The text of a row may well be "N/A".
    missing = _MISSING if label else ("",)
    return value is None or (isinstance(value, str) and value.strip().lower() in missing)


def _holds_texts(table: Table, column: str) -> bool:
    """Whether a column is one of words: a space in half of its cells."""
    cells = [row.get(column) for row in table.rows.values()]
    return (
        2 * sum(isinstance(cell, str) and " " in cell.strip() for cell in cells) >= len(cells) > 0
    )


def read_texts(table: Table, text_columns: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the texts of every row, one tuple per row; a ValueError where one is no text."""
    return tuple(tuple(_text(table, row, column) for column in text_columns) for row in table.rows)


def read_labels(table: Table, label_column: str) -> tuple[str, ...]:
    """Return the label of every row as a name; a ValueError where there is none."""
    _require_column(table, label_column, "--label-column")
    return tuple(_label(table, row, label_column) for row in table.rows)


def sort_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the different labels in order; numbers by value, so that 10 follows 9.

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
        numbers = {str(number): number for number in range(len(label_names))} | numbers
        known += f", or 0 to {len(label_names) - 1}"
    for row, label in zip(table.rows, labels, strict=True):
        if spell(label) not in numbers:
            raise ValueError(
                f"{table.place(row)}: unknown label {label!r}; the known labels are {known}"
            )
    return np.array([numbers[spell(label)] for label in labels], np.int32)


def _require_column(table: Table, column: str, option: str) -> None:
    if column not in table.columns:
        raise ValueError(
            f"{table.origin}: no column {column!r}; the columns are {', '.join(table.columns)}: "
            f"name one with {option} ({_HEADER_HINT})"
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
    if column in table.class_names and isinstance(value, int):
        raise ValueError(f"{table.place(row)}: the label is hidden ({value}); choose another split")
    if isinstance(value, bool):
        return str(value).lower()  # as JSON spells it
    if not isinstance(value, str | int):
        raise ValueError(f"{table.place(row)}: label {value!r} is neither a string nor an integer")
    return str(value)
