"""Results as lines of JSON: appended as they are measured, so that a run can be cut off and go on.

A line `{"run": ...}` holds command, date, versions and device; the rows after it name it by number.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import command
from loren_jax.runs.environment import environment


class Rows:
    """A file of rows.

    Args:
      path: the file; made when the first row is added.
    """

    def __init__(self, path: Path):
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        parsed = [line for line in map(_parsed, lines) if line is not None]
        self.runs = [line for line in parsed if "command" in line]
        self.rows: list[dict[str, Any]] = [line for line in parsed if "command" not in line]
        self._number: int | None = None

    def has(self, **fields: Any) -> bool:
        """Whether there is a row with these fields."""
        return bool(self.where(**fields))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def where(self, **fields: Any) -> list[dict[str, Any]]:
        """Rows with these fields."""
        return [row for row in self if all(row.get(k) == v for k, v in fields.items())]

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row."""
        if self._number is None:
            self._number = len(self.runs)
            self._end_cut_line()
            self._write(self._begin())
        whole = {"run": self._number, **row}
        self.rows.append(json.loads(json.dumps(whole, default=_plain)))
        self._write(whole)

    def _begin(self) -> dict[str, Any]:
        return {
            "run": self._number,
            "command": command(),
            "date": time.strftime("%Y-%m-%d"),
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
            "environment": environment(),
        }

    def _end_cut_line(self) -> None:
        """What follows a line that was cut off must not become a part of it."""
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            with self.path.open("a") as file:
                file.write("\n")

    def _write(self, line: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(line, default=_plain) + "\n")


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except json.JSONDecodeError:  # cut off
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a row")


def rounded(values: Any, digits: int = 5) -> list[float | None]:
    """Numbers with so many significant digits; None for what is not finite."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in map(float, values)]
