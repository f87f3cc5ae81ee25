"""Local files of texts, by what their names say of the format."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Sequence
from pathlib import Path

from loren_jax.tasks.columnar import columnar_table
from loren_jax.tasks.delimited import delimited_table
from loren_jax.tasks.json_files import json_table
from loren_jax.tasks.tables import Table

_TEXT, _COLUMNAR = (".tsv", ".csv", ".json", ".jsonl"), (".parquet", ".xlsx")
_PACKED = {".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}
FORMATS = (*_TEXT, *_COLUMNAR)


def format_of(path: Path) -> str | None:
    """The suffix that says how a file is read, packed or not; None if we cannot read it.

    >>> format_of(Path("a.CSV")), format_of(Path("a.jsonl.gz")), format_of(Path("a.gz"))
    ('.csv', '.jsonl', None)
    """
    suffix = path.suffix.lower()
    if suffix in _PACKED:
        suffix = path.with_suffix("").suffix.lower()
        return suffix if suffix in _TEXT else None
    return suffix if suffix in FORMATS else None


def read_table(
    path: Path, columns: Sequence[str] | None = None, *, quoted: bool | None = None
) -> Table:
    """Read a local file, by its suffix; text is UTF-8.

    `columns` are those of a TSV or CSV file without header; by default its first line is the
    header. `quoted` says whether fields of a TSV file are; by default the file shows it. A
    ValueError says what of the file is wrong, and on which line.
    """
    kind = format_of(path)
    if kind is None:
        raise ValueError(
            f"cannot tell the format of {path}; use one of {', '.join(FORMATS)}, or one of "
            f"{', '.join(_TEXT)} packed as {', '.join(_PACKED)}"
        )
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if isinstance(columns, str):
        columns = (columns,)
    if columns is not None and kind not in (".tsv", ".csv"):
        raise ValueError(f"columns is for TSV and CSV files; {path} names its own columns")
    if kind in _COLUMNAR:
        return columnar_table(path)
    text = _read_text(path)
    if kind in (".json", ".jsonl"):
        return json_table(path, text, lines=kind == ".jsonl")
    return delimited_table(path, text, columns, tabs=kind == ".tsv", quoted=quoted)


def _read_text(path: Path) -> str:
    """The whole file as UTF-8, without a byte order mark."""
    content, unpack = path.read_bytes(), _PACKED.get(path.suffix.lower())
    try:
        content = content if unpack is None else unpack(content)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{path} is damaged: {error}; pack it again") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 text; convert the file first") from error
    if not text.strip():
        raise ValueError(f"{path} is empty")
    return text
