"""Rows of one source by their numbers, so that every complaint can name the file and the line."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Table(NamedTuple):
    """Rows of one source.

    Attributes:
      origin: file path or data set name, for messages.
      unit: what the numbers of rows count: `line`, `entry` or `row`.
      columns: the column names, in the order of the source.
      rows: the values by column, of at least one row, by its number as a reader counts it.
      class_names: the classes of a column, in order, where the source declares them.
    """

    origin: str
    unit: str
    columns: tuple[str, ...]
    rows: Mapping[int, Mapping[str, Any]]
    class_names: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    def place(self, number: int) -> str:
        """Say where a row stands, for an error message.

        >>> Table("a.tsv", "line", ("text",), {2: {"text": "fine"}}).place(2)
        'a.tsv, line 2'
        """
        return f"{self.origin}, {self.unit} {number}"
