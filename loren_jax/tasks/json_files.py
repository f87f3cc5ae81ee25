"""Rows of JSON: lines, a list, or any of the layouts in which programs write a table."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loren_jax.tasks.tables import Table


def json_table(path: Path, text: str, *, lines: bool) -> Table:
    """Take JSON lines, one list of objects, or one object of objects such as `{"0": {...}}`.

    A ValueError says what of the file is wrong, and on which line.
    """
    unit, entries = "entry", None if lines else _whole_document(path, text)
    if entries is None:
        unit, entries = "line", list(_json_lines(path, text))
    if not entries:
        raise ValueError(f"{path} holds no rows")
    for number, entry in entries:
        if not isinstance(entry, dict):
            raise ValueError(f"{path}, {unit} {number}: expected a JSON object with columns")
    return Table(str(path), unit, tuple(entries[0][1]), dict(entries))


def _whole_document(path: Path, text: str) -> list[tuple[int, Any]] | None:
    """Number the entries of one JSON document; `None` for JSON lines in a `.json` file."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # a second document follows the first
            return None
        raise ValueError(f"{path}, line {error.lineno}: not valid JSON: {error.msg}") from error
    document = _rows_of(path, document)
    return list(enumerate(document if isinstance(document, list) else [document], start=1))


def _rows_of(path: Path, document: Any) -> Any:
    """The rows of a document, in any of the layouts that programs write.

    A list of rows, alone or under one name; rows by number; columns by name, as lists or by number;
    `columns` and `data`.
    """
    if not isinstance(document, dict) or not document:
        return document
    values = list(document.values())
    if {"columns", "data"} <= set(document):
        return [dict(zip(document["columns"], row, strict=True)) for row in document["data"]]
    lists = [name for name, value in document.items() if isinstance(value, list)]
    of_rows = [name for name in lists if all(isinstance(row, dict) for row in document[name])]
    if len(of_rows) > 1:
        raise ValueError(
            f"{path} holds {len(of_rows)} lists of rows ({', '.join(of_rows)}): write each to a "
            "file of its own"
        )
    if of_rows and document[of_rows[0]]:
        return document[of_rows[0]]
    if len(lists) == len(values) and len({len(value) for value in values}) == 1:
        return [dict(zip(document, row, strict=True)) for row in zip(*values, strict=True)]
    if not all(isinstance(value, dict) for value in values):
        return document
    keys = {tuple(value) for value in values}
    by_number = len(keys) == 1 and all(str(key).isdecimal() for key in keys.copy().pop())
    if by_number and not any(str(name).isdecimal() for name in document):
        return [{name: document[name][key] for name in document} for key in values[0]]
    return values


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not valid JSON: {error.msg}") from error
