"""Markdown tables of rows, and the statistics that they need; nothing here runs a model."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

# Two-sided 5 % points of Student's t, by degrees of freedom.
_STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


Row = dict[str, Any]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as a table.

    >>> print(markdown([{"a": 1, "b": 0.5}]))
    | a | b |
    |---|---|
    | 1 | 0.5 |
    """
    if not rows:
        return "(nothing measured yet)"
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[_cell(value) for value in row.values()] for row in rows]
    text = ["| " + " | ".join(line) + " |" for line in lines]
    text[1] = "|" + "---|" * len(rows[0])
    return "\n".join(text)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)


def spread(values: Iterable[float], digits: int = 3) -> str:
    """Mean and standard error.

    >>> spread([1.0, 2.0, 3.0])
    '2.000 ± 0.577'
    """
    values = list(values)
    if any(v is None or not math.isfinite(v) for v in values):
        return "diverged"
    mean = f"{statistics.fmean(values):.{digits}f}"
    return f"{mean} ± {error(values):.{digits}f}" if len(values) > 1 else mean


def error(values: Sequence[float]) -> float:
    """Standard error of the mean."""
    return statistics.stdev(values) / len(values) ** 0.5


def contrast(first: Sequence[float], second: Sequence[float]) -> tuple[str, str]:
    """Mean of the paired differences with its standard error, and whether they differ from zero.

    The verdict is that of a paired t-test at 5 %; what it does not find may still be there, so the
    standard error stands beside it.

    >>> contrast([1.0, 1.1, 0.9], [2.0, 2.1, 2.0])
    ('-1.0333 ± 0.0333', 'lower')
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    mean, spread_of = statistics.fmean(differences), error(differences)
    text = f"{mean:+.4f} ± {spread_of:.4f}"
    if abs(mean) <= _STUDENT[len(differences) - 1] * spread_of:
        return text, "no difference found"
    return text, "lower" if mean < 0 else "higher"


def passes_to(row: dict[str, Any], curve: str, reached: Callable[[float], bool]) -> float | None:
    """Forward passes at the first evaluation where the curve has reached it; None if nowhere.

    >>> row = {"passes": [0, 6], "dev loss": [1.0, 0.5]}
    >>> passes_to(row, "dev loss", lambda loss: loss <= 0.6)
    6
    """
    for passes, value in zip(row["passes"], row[curve], strict=True):
        if value is not None and reached(value):
            return passes
    return None


def fall_target(row: dict[str, Any], ceiling: dict[str, Any], share: float) -> float:
    """The dev loss after this share of the fall that gradients reach with the same seed.

    Args:
      row: a run.
      ceiling: the run with gradients, of the same seed.
      share: of its fall from the start to its lowest evaluation.

    Returns:
      The loss.
    """
    start = row["dev loss"][0]
    return start - share * (start - min(v for v in ceiling["dev loss"] if v is not None))


def common_level(
    levels: Sequence[float], reaches: Callable[[float], Sequence[bool]], share: float = 0.5
) -> float | None:
    """The last level that at least this share of the methods reach; None if none is.

    Args:
      levels: from easy to hard.
      reaches: of a level, whether each method reaches it.
      share: of the methods.

    Returns:
      The level.
    """
    met = [level for level in levels if np.mean(reaches(level)) >= share]
    return met[-1] if met else None


def mean_curve(rows: Sequence[dict[str, Any]], curve: str = "dev loss") -> np.ndarray:
    """Mean over the seeds of a curve, `(E,)`; not a number where one of them has none."""
    return np.mean([np.array(row[curve], float) for row in rows], 0)


def finite(values: Sequence[float | None]) -> list[float]:
    """The values without those that were not finite."""
    return [value for value in values if value is not None]
