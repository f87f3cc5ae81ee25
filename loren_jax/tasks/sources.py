"""Where texts come from: a file, a folder of them, rows in memory, or a data set of the Hub."""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loren_jax.tasks.columnar import dataset_table, frame_table
from loren_jax.tasks.files import FORMATS, format_of, read_table
from loren_jax.tasks.hub import read_hub
from loren_jax.tasks.tables import Table

_NAMES = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
"""What files and folders are called that hold a split."""


_KINDS = {
    ("pandas", "DataFrame"),
    ("polars", "DataFrame"),
    ("datasets", "Dataset"),
    ("datasets", "DatasetDict"),
}
HELD_OUT = "held-out"
"""The split to evaluate on, whatever it is called: validation, else test; else all of one file."""


class Rows(str):
    """A data set in memory: it reads as its name wherever a configuration is written or shown.

    Attributes:
      splits: the rows of each split, as data frames or `datasets.Dataset`.

    >>> import pandas
    >>> Rows.of(pandas.DataFrame({"text": ["fine"], "label": [1]}))
    'DataFrame of 1 rows'
    """

    splits: Mapping[str, Any]

    @staticmethod
    def has(value: object) -> bool:
        """Whether a value is a data frame, a `Dataset` or a `DatasetDict`."""
        # By name, as importing the packages would take seconds.
        return any((k.__module__.split(".")[0], k.__name__) in _KINDS for k in type(value).__mro__)

    @classmethod
    def of(cls, value: object) -> "Rows":
        """The rows of a data frame, a `Dataset` or a `DatasetDict`; a TypeError of others."""
        if not cls.has(value):
            raise TypeError(
                f"rows are of a pandas or polars DataFrame, a datasets.Dataset or DatasetDict, but "
                f"this is a {type(value).__name__}: make one of it"
            )
        splits: dict[str, Any] = {"train": value}
        if isinstance(value, Mapping):
            splits = {_NAMES.get(str(n).lower(), str(n)): part for n, part in value.items()}
        first = splits.get("train", next(iter(splits.values()), ()))
        rows = cls(f"{type(value).__name__} of {len(first)} rows")
        rows.splits = splits
        return rows

    @staticmethod
    def is_name(text: str) -> bool:
        """Whether a text that was read from a file was the name of rows."""
        return re.fullmatch(r"\w+ of \d+ rows", text) is not None

    def __deepcopy__(self, memo: object) -> "Rows":
        """Itself: a configuration is copied often, its data never."""
        return self

    def table(self, split: str) -> Table:
        """The rows of a split."""
        if split not in self.splits:
            raise ValueError(f"{self}: no split {split!r} among {', '.join(self.splits)}")
        part, origin = self.splits[split], str(self) + ("" if split == "train" else f" ({split})")
        if hasattr(part, "features"):
            return dataset_table(part, origin)
        return frame_table(part.to_pandas() if hasattr(part, "to_pandas") else part, origin)


def is_file(source: str | Path) -> bool:
    """Tell a file or rows from a Hub name: a `Path`, what exists, or has a suffix that we read.

    >>> is_file("missing.tsv"), is_file("nyu-mll/glue:sst2")
    (True, False)
    """
    path = Path(source)
    known = isinstance(source, Path | Rows) or format_of(path) is not None
    return known or path.exists()


def open_source(source: str | Path) -> str | Path:
    """A source as it is read: a folder that `datasets` wrote by `save_to_disk` as its rows."""
    if isinstance(source, Rows) or not (folder := Path(source)).is_dir():
        return source
    if not any((folder / name).is_file() for name in ("dataset_dict.json", "dataset_info.json")):
        return source
    import datasets

    return Rows.of(datasets.load_from_disk(str(folder)))


def local_splits(source: str | Path) -> tuple[str, ...] | None:
    """The splits of a local source, of which `train` is there always; None for a Hub name."""
    source = open_source(source)
    if isinstance(source, Rows):
        return tuple(source.splits)
    if not is_file(source):
        return None
    path = Path(source)
    return tuple(_files(path)) if path.is_dir() else ("train",)


def read_source(source: str | Path, split: str, columns: Sequence[str] | None = None) -> Table:
    """Read one split, or the one that is `HELD_OUT`; `columns` are those of files without header.

    A ValueError says what of the source is wrong, and on which line; of a local source without
    that split, which there are.
    """
    source, there = open_source(source), local_splits(source)
    if there is None:
        if columns is not None:
            raise ValueError(f"columns is for files without header; {source} names its own columns")
        return _hub_table(str(source), split)
    if split == HELD_OUT:
        split = _held_out_split(source, there)
    if isinstance(source, Rows):
        return source.table(split)
    path = Path(source)
    if not path.is_dir():
        return read_table(path, columns)
    files = _files(path)
    if split not in files:
        raise ValueError(f"{path} holds no split {split!r}; it has {', '.join(files)}")
    return _join(path, [read_table(file, columns) for file in files[split]])


def _files(folder: Path) -> dict[str, list[Path]]:
    """The files of each split, by their names or those of their folders; one file alone is all."""
    inside = (p for p in sorted(folder.rglob("*")) if len(p.relative_to(folder).parts) <= 2)
    files = [p for p in inside if p.is_file() and format_of(p) and not p.name.startswith(".")]
    found: dict[str, list[Path]] = {}
    for file in files:
        for name in (file.name, file.parent.name if file.parent != folder else ""):
            words = re.split(r"[^a-z]+", name.lower())
            if split := next((_NAMES[word] for word in words if word in _NAMES), None):
                found.setdefault(split, []).append(file)
                break
    if "train" not in found and len(files) == 1:
        return {"train": files}
    if "train" not in found:
        names = ", ".join(str(p.relative_to(folder)) for p in files[:10]) or "none that we read"
        raise ValueError(
            f"{folder}: no file is called train, as in train.csv (its files: {names}); name one of "
            f"the files, or rename it ({', '.join(FORMATS)} are read)"
        )
    return found


def _held_out_split(source: str | Path, there: tuple[str, ...]) -> str:
    split = next((name for name in ("validation", "test") if name in there), "train")
    if split == "validation" and "test" in there:
        print(f"{source}: validation is held out; test is not looked at", file=sys.stderr)
    return split


def _hub_table(source: str, split: str) -> Table:
    if split != HELD_OUT:
        return read_hub(source, split)
    try:
        return read_hub(source, "validation")
    except ValueError as error:
        if "nknown split" not in str(error):
            raise
        return read_hub(source, "test")


def _join(folder: Path, tables: list[Table]) -> Table:
    """Several files as one table, whose places stay their own."""
    if len(tables) == 1:
        return tables[0]
    first = tables[0]
    for table in tables[1:]:
        if set(table.columns) != set(first.columns):
            raise ValueError(
                f"{table.origin}: its columns are {', '.join(table.columns)}, but {first.origin} "
                f"has {', '.join(first.columns)}; name one file"
            )
    rows = enumerate((row for table in tables for row in table.rows.values()), start=1)
    return Table(str(folder), "row", first.columns, dict(rows), first.class_names)
