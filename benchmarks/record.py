"""Where a benchmark's numbers go: a table on the screen, and a JSON file that can be repeated.

The file holds the command, the versions, the machine and the rows; `benchmarks/results/` keeps the
latest of each.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loren_jax.runs.environment import environment

RESULTS = Path(__file__).parent / "results"


def save(name: str, rows: Sequence[dict[str, Any]], **facts: Any) -> Path:
    """Writes `results/<name>.json`, a line for each row.

    Args:
      name: of the file, without its suffix.
      rows: the measurements, JSON values.
      facts: what else is needed to understand them: seed, sizes.

    Returns:
      The file.
    """
    record = {
        "command": command(),
        "date": time.strftime("%Y-%m-%d"),
        "environment": environment(),
        **facts,
        "rows": list(rows),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    head = json.dumps(record | {"rows": []}, indent=2).removesuffix("[]\n}")
    lines = ",\n".join("    " + json.dumps(row) for row in record["rows"])
    path.write_text(f"{head}[\n{lines}\n  ]\n}}\n")
    return path


def command() -> str:
    """The command that runs, its folders of data and files by their names alone."""
    words = ["python", sys.argv[0]]  # `-m benchmarks NAME`, as the runner has it
    for before, word in zip(["", *sys.argv[1:]], sys.argv[1:], strict=False):
        names = {"--data-dir": "DIR", "--cache": "FILE"}
        names |= dict.fromkeys(("--against", "--mezo", "--loren"), "CHECKOUT")
        words.append(names.get(before, Path(word).name if Path(word).is_absolute() else word))
        if before == "--model-file":
            words[-1] = Path(word).name
    return " ".join(words)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as aligned text; numbers get four significant digits.

    >>> print(table([{"name": "a", "value": 1.23456}]))
    name  value
    a     1.235
    """
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
