"""Rows of local TSV, CSV and JSON files, and of the Hub's data sets, each with where it came from.

Every complaint about data should name the file and the line, so a row keeps its number until its
label has been understood. TSV files are split on tabs with no quote handling, as GLUE writes them;
a reader that honours quotes loses rows there without a word.
"""

import csv
import importlib.util
import io
import json
import re
import sys
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
    if columns is not None and isinstance(columns, str):
        columns = (columns,)
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
    if "\n" not in text:  # of an old Macintosh
        text = text.replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.removesuffix("\r")
        if content:
            yield number, content.split("\t")


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    # Python's own limit of a field is 128 KiB, which a text may have.
    before = csv.field_size_limit(len(text) + 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from error
    finally:
        csv.field_size_limit(before)


def _delimiter(text: str) -> str:
    """A comma, unless the first line has none and another usual one instead.

    Example:
        >>> _delimiter("text;label"), _delimiter("text,label;x")
        (';', ',')
    """
    first = text.split("\n", 1)[0]
    return next((mark for mark in ",;\t|" if mark in first), ",")


def _delimited_table(
    path: Path, lines: Iterator[tuple[int, list[str]]], columns: Sequence[str] | None
) -> Table:
    """Name the fields of every line; all lines must have as many fields as there are columns."""
    header = None if columns is not None else [name.strip() for name in next(lines)[1]]
    names = tuple(columns or ()) if header is None else tuple(header)
    # A column without a name is of no interest, such as those that a spreadsheet fills up with.
    names = tuple(name or f"column {place}" for place, name in enumerate(names, start=1))
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: a column name occurs twice among {', '.join(names)}")
    rows = {}
    for number, fields in lines:
        if len(fields) != len(names):
            raise ValueError(
                f"{path}, line {number}: {len(fields)} fields where {len(names)} are expected "
                f"({', '.join(names)})"
            )
        if columns is not None and not rows and set(filter(None, fields)) <= set(names):
            print(f"{path}: its first line names the columns, and is left out", file=sys.stderr)
            continue
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


_NAME = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(:(?P<configuration>[\w.-]+))?")
# Where the Hub keeps its own Parquet copy of a data set whose first branch is a loading script.
_PARQUET_BRANCH = "refs/convert/parquet"


def parse_name(source: str) -> tuple[str, str | None]:
    """Split `name:configuration`, as the Hub's data sets are called here, into its parts.

    Example:
        >>> parse_name("nyu-mll/glue:sst2"), parse_name("imdb")
        (('nyu-mll/glue', 'sst2'), ('imdb', None))
    """
    match = _NAME.fullmatch(source)
    if match is None:
        raise ValueError(
            f"{source!r} is neither a file with a known suffix nor a Hub data set name such as "
            "'nyu-mll/glue:sst2'"
        )
    return match["name"], match["configuration"]


def read_hub(source: str, split: str, label_column: str) -> tuple[Table, tuple[str, ...] | None]:
    """Read one split of a Hub data set, its numbered labels replaced by their names.

    With the table come the class names that the data set declares for the label's column, or
    `None`. A ConnectionError says that the Hub cannot be reached or refuses the data set, a
    ValueError that the name, the configuration or the split is unknown.
    """
    name, configuration = parse_name(source)
    if importlib.util.find_spec("datasets") is None:
        raise ImportError(
            f"{source!r} is a Hub data set; that needs `pip install 'loren-jax[train]'`"
        )
    try:
        data = _load(name, configuration, split)
    except OSError as error:  # no network, no such data set, or one that asks for a login
        reason = str(error).partition("\n")[0]
        raise ConnectionError(
            f"the data set {name!r} could not be fetched from the Hub ({reason}); check the name "
            "and the network (a private or gated data set needs a login), or give a local .tsv, "
            ".csv, .json or .jsonl file; if it is in the local cache, set HF_HUB_OFFLINE=1"
        ) from error
    except ValueError as error:  # unknown configurations and splits, with the list of known ones
        raise ValueError(f"Hub data set {source!r}, split {split!r}: {error}") from error
    if len(data) == 0:
        raise ValueError(f"Hub data set {source!r}, split {split!r} is empty")
    names = getattr(data.features.get(label_column), "names", None)
    origin = f"{source} ({split})"
    rows = {
        number: _with_label_name(f"{origin}, row {number}", values, label_column, names)
        for number, values in enumerate(data)
    }
    table = Table(origin, "row", tuple(data.column_names), rows)
    return table, None if names is None else tuple(names)


def _load(name: str, configuration: str | None, split: str) -> Any:
    """Load a split; of a data set that still is a script, the Hub's copy of what it gave."""
    import datasets

    try:
        return datasets.load_dataset(name, configuration, split=split)
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        return datasets.load_dataset(name, configuration, split=split, revision=_PARQUET_BRANCH)


def _with_label_name(
    place: str, values: Mapping[str, Any], label_column: str, names: list[str] | None
) -> Mapping[str, Any]:
    """Replace the number of a declared class by its name."""
    if names is None or not isinstance(label := values[label_column], int):
        return values
    if label < 0:  # the Hub's mark for the hidden labels of a test split
        raise ValueError(f"{place}: the label is hidden ({label}); choose another split")
    return {**values, label_column: names[label]}
