"""Data sets of the Hugging Face Hub, as the same tables that local files give."""

import importlib.util
import re
from collections.abc import Mapping
from typing import Any

from loren_jax.tasks.tables import Table

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
