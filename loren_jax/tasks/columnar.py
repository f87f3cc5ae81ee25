"""Rows of what other programs keep in columns: data frames, `datasets`, parquet and Excel files."""

import importlib.util
from pathlib import Path
from typing import Any

from loren_jax.tasks.tables import Table


def columnar_table(path: Path) -> Table:
    """Read a `.parquet` or `.xlsx` file; a ValueError says that it is none, or has no rows."""
    return _excel(path) if path.suffix.lower() == ".xlsx" else _parquet(path)


def dataset_table(data: Any, origin: str) -> Table:
    """The rows of a `datasets.Dataset`, a class's number replaced by its name.

    The Hub marks hidden labels by -1, which stay as they are.
    """
    declared = {
        column: tuple(feature.names)
        for column, feature in data.features.items()
        if getattr(feature, "names", None)
    }

    def name_classes(row: dict[str, Any]) -> dict[str, Any]:
        classes = {c: names[row[c]] for c, names in declared.items() if (row[c] or 0) >= 0}
        return {**row, **{c: name for c, name in classes.items() if row[c] is not None}}

    rows = {number: name_classes(row) for number, row in enumerate(data)}
    return _require_rows(Table(origin, "row", tuple(data.column_names), rows, declared))


def frame_table(frame: Any, origin: str, first: int = 0) -> Table:
    """The rows of a pandas data frame; `first` is the number of the first."""
    columns = tuple(map(str, frame.columns))
    if len(set(columns)) < len(columns):
        raise ValueError(f"{origin}: a column name occurs twice among {', '.join(columns)}")
    values = frame.itertuples(index=False, name=None)
    rows = {
        number: dict(zip(columns, map(_plain, row), strict=True))
        for number, row in enumerate(values, start=first)
    }
    return _require_rows(Table(origin, "row", columns, rows))


def _plain(value: Any) -> Any:
    """A cell as JSON would have it; of a whole number pandas makes a float beside an empty cell."""
    import pandas

    if not pandas.api.types.is_scalar(value):
        return value
    if pandas.isna(value):
        return None
    value = value.item() if hasattr(value, "item") else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _require_rows(table: Table) -> Table:
    if not table.rows:
        raise ValueError(f"{table.origin} holds no rows")
    return table


def _excel(path: Path) -> Table:
    for package in ("pandas", "openpyxl"):
        if importlib.util.find_spec(package) is None:
            raise ImportError(f"{path} is an Excel file: pip install {package}, or save it as .csv")
    import pandas

    try:
        # As it stands: an empty cell is empty, and the text "N/A" a text.
        frame = pandas.read_excel(path, dtype=object, keep_default_na=False, na_values=[""])
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"{path}: not a valid Excel file: {error}") from error
    return frame_table(frame, str(path), first=2)


def _parquet(path: Path) -> Table:
    if importlib.util.find_spec("datasets") is None:
        raise ImportError(f"{path} is a parquet file; that needs `pip install 'loren-jax[train]'`")
    import datasets
    import pyarrow
    import pyarrow.parquet

    try:
        # Where `datasets` wrote the file, its schema names the classes.
        data = datasets.Dataset(datasets.table.InMemoryTable(pyarrow.parquet.read_table(path)))
    except pyarrow.ArrowException as error:
        raise ValueError(f"{path}: not a valid parquet file: {error}") from error
    return dataset_table(data, str(path))
