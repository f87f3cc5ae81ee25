"""Data sets of the Hugging Face Hub."""

import importlib.util
import re
from typing import Any

from loren_jax.tasks.columnar import dataset_table
from loren_jax.tasks.tables import Table

_NAME = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(:(?P<configuration>[\w.-]+))?")
# Where the Hub keeps its own Parquet copy of a data set whose first branch is a loading script.
_PARQUET_BRANCH = "refs/convert/parquet"


def parse_name(source: str) -> tuple[str, str | None]:
    """Split `name:configuration`, as the Hub's data sets are called here, into its parts.

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


def read_hub(source: str, split: str) -> Table:
    """Read one split of a Hub data set.

    A ConnectionError says that the Hub cannot be reached or refuses the data set, a ValueError that
    the name, the configuration or the split is unknown.
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
            "and the network (a private or gated data set needs a login), or give a local file "
            "such as a .csv; if it is in the local cache, set HF_HUB_OFFLINE=1"
        ) from error
    except ValueError as error:  # unknown configurations and splits, with the list of known ones
        raise ValueError(f"Hub data set {source!r}, split {split!r}: {error}") from error
    if len(data) == 0:
        raise ValueError(f"Hub data set {source!r}, split {split!r} is empty")
    return dataset_table(data, f"{source} ({split})")


def _load(name: str, configuration: str | None, split: str) -> Any:
    """Load a split; of a data set that still is a script, the Hub's copy of what it gave."""
    import datasets

    try:
        return datasets.load_dataset(name, configuration, split=split)
    except RuntimeError as error:
        if "script" not in str(error):
            raise
        return datasets.load_dataset(name, configuration, split=split, revision=_PARQUET_BRANCH)
