"""Rows of delimited text: CSV, and TSV with and without quotes.

GLUE writes its TSV files without any quoting, and a reader that honours quotes loses rows there
without a word; spreadsheets and pandas quote. Which of the two a file is, it shows itself.
"""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from loren_jax.tasks.tables import Table

_DELIMITERS = ",;\t|^~\x1f\x01"
_Lines = list[tuple[int, list[str]]]


def delimited_table(
    path: Path, text: str, columns: Sequence[str] | None, *, tabs: bool, quoted: bool | None = None
) -> Table:
    """The rows of a file, whose first line names the columns unless `columns` does.

    With `tabs` it is TSV, `quoted` or not; None finds out. Otherwise it is CSV with the delimiter
    that its first line shows. A ValueError says what of the file is wrong, and on which line.
    """
    lines = _tsv_lines(text, quoted) if tabs else _csv_lines(path, text)
    return _name_fields(path, iter(lines), columns)


def _tsv_lines(text: str, quoted: bool | None) -> _Lines:
    plain = list(_unquoted_lines(text))
    if quoted is False or '"' not in text:
        return plain
    try:
        read = list(_quoted_lines(text, "\t"))
    except csv.Error:  # a quote that is part of a text
        return plain
    if quoted or (_is_even(read) and (not _is_even(plain) or _shows_quoting(plain))):
        return read
    return plain


def _is_even(lines: _Lines) -> bool:
    """Whether all lines have as many fields."""
    return len({len(fields) for _, fields in lines}) == 1


def _shows_quoting(plain: _Lines) -> bool:
    """Whether whole fields are quoted as only a writer of quotes does: the header, or inner ones.

    A sentence in quotes is no sign of it.

    >>> _shows_quoting([(1, ["text", "label"]), (2, ['"fine"', "1"])])
    False
    >>> _shows_quoting([(1, ["text", "label"]), (2, ['"a ""fine"" film"', "1"])])
    True
    """
    inside = lambda field: field[1:-1] if len(field) > 1 and field[0] == field[-1] == '"' else None
    header, *rows = ([inside(field) for field in fields] for _, fields in plain)
    doubled = lambda text: '""' in text and '"' not in text.replace('""', "")
    return None not in header or any(
        text is not None and doubled(text) for row in rows for text in row
    )


def _unquoted_lines(text: str) -> Iterator[tuple[int, list[str]]]:
    # Not splitlines(): that also breaks at form feeds and Unicode separators inside a sentence.
    if "\n" not in text:  # of an old Macintosh
        text = text.replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.removesuffix("\r")
        if content:
            yield number, content.split("\t")


def _csv_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    try:
        yield from _quoted_lines(text, _delimiter(text))
    except csv.Error as error:
        message, line = error.args
        raise ValueError(f"{path}, line {line}: not valid CSV: {message}") from error


def _quoted_lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Fields by their line, as RFC 4180 has them; a csv.Error carries the line too."""
    # Python's own limit of a field is 128 KiB, which a text may have.
    before = csv.field_size_limit(len(text) + 1)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise csv.Error(str(error), reader.line_num) from error
    finally:
        csv.field_size_limit(before)


def _delimiter(text: str) -> str:
    """A comma, unless the first line has none and another usual one instead.

    >>> _delimiter("text;label"), _delimiter("text,label;x")
    (';', ',')
    """
    first = text.split("\n", 1)[0]
    return next((mark for mark in _DELIMITERS if mark in first), ",")


def _name_fields(
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
