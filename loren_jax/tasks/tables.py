"""Rows of local TSV, CSV and JSON files, each with the line it came from.

Every complaint about data should name the file and the line, so a row keeps its number until its
label has been understood. TSV files are split on tabs with no quote handling, as GLUE writes them;
a reader that honours quotes loses rows there without a word.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FILE_SUFFIXES = (".tsv", ".csv", ".json", ".jsonl")


class Table(NamedTuple):
    """Rows of one source.

    Attributes:
        origin: file path or data set name, for messages.
        unit: what the numbers of rows count: `line`, `entry` or `row`.
        columns: the column names, in the order of the source.
        rows: the values by column, of at least one row, by its number as a reader counts it.
    """

    origin: str
    unit: str
    columns: tuple[str, ...]
    rows: Mapping[int, Mapping[str, Any]]

    def place(self, number: int) -> str:
        """Say where a row stands, for an error message.

        Example:
            >>> Table("a.tsv", "line", ("text",), {2: {"text": "fine"}}).place(2)
            'a.tsv, line 2'
        """
        return f"{self.origin}, {self.unit} {number}"


def read_table(path: Path, columns: Sequence[str] | None = None) -> Table:
    """Read a local `.tsv`, `.csv`, `.json` or `.jsonl` file, in UTF-8, by its suffix.

    `columns` are those of a TSV or CSV file without header; by default its first line is the
    header. A ValueError says what of the file is wrong, and on which line.
    """
    text = _read_text(path)
    if path.suffix in (".json", ".jsonl"):
        if columns is not None:
            raise ValueError(f"columns is for TSV and CSV files; {path} names its own columns")
        return _json_table(path, text)
    lines = _tsv_lines(text) if path.suffix == ".tsv" else _csv_lines(path, text)
    return _delimited_table(path, lines, columns)


def _read_text(path: Path) -> str:
    """Read the whole file as UTF-8, without a byte order mark."""
    if path.suffix not in FILE_SUFFIXES:
        raise ValueError(f"cannot tell the format of {path}; use one of {', '.join(FILE_SUFFIXES)}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 text; convert the file first") from error
    if not text.strip():
        raise ValueError(f"{path} is empty")
    return text


def _tsv_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    # Not splitlines(): that also breaks at form feeds and Unicode separators inside a sentence.
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.removesuffix("\r")
        if content:
            yield number, content.split("\t")


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from error


def _delimited_table(
    path: Path, lines: Iterator[tuple[int, list[str]]], columns: Sequence[str] | None
) -> Table:
    """Name the fields of every line; all lines must have as many fields as there are columns."""
    names = tuple(columns) if columns is not None else tuple(next(lines)[1])
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: a column name occurs twice among {', '.join(names)}")
    rows = {}
    for number, fields in lines:
        if len(fields) != len(names):
            raise ValueError(
                f"{path}, line {number}: {len(fields)} fields where {len(names)} are expected "
                f"({', '.join(names)})"
            )
        rows[number] = dict(zip(names, fields, strict=True))
    if not rows:
        raise ValueError(f"{path} has a header but no rows")
    return Table(str(path), "line", names, rows)


def _json_table(path: Path, text: str) -> Table:
    """Take JSON lines, one list of objects, or one object of objects such as `{"0": {...}}`."""
    unit, entries = "entry", _whole_document(path, text) if path.suffix == ".json" else None
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
    if isinstance(document, dict) and all(isinstance(row, dict) for row in document.values()):
        document = list(document.values())
    return list(enumerate(document if isinstance(document, list) else [document], start=1))


def _json_lines(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not valid JSON: {error.msg}") from error
