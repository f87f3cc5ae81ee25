"""Markdown tables of rows, and the statistics that they need; nothing here runs a model."""

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

# Two-sided 5 % points of Student's t, by degrees of freedom.
_STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


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


def passes_to(row: dict[str, Any], target: float, curve: str = "dev loss") -> float | None:
    """Forward passes at the first evaluation whose loss is at most the target; None if none is."""
    for passes, loss in zip(row["passes"], row[curve], strict=True):
        if loss is not None and loss <= target:
            return passes
    return None


def common_target(curves: Sequence[Sequence[float]], share: float = 2 / 3) -> float:
    """The lowest loss, in hundredths, that this share of the methods reaches on average.

    Args:
      curves: of each method, the mean over seeds of its loss at each evaluation.
      share: of the methods, rounded up to whole ones.

    Returns:
      The target.
    """
    best = sorted(float(np.nanmin(np.asarray(curve, float))) for curve in curves)
    return math.ceil(best[math.ceil(share * len(best)) - 1] * 100) / 100


def mean_curve(rows: Sequence[dict[str, Any]], curve: str = "dev loss") -> np.ndarray:
    """Mean over the seeds of a curve, `(E,)`; not a number where one of them has none."""
    return np.mean([np.array(row[curve], float) for row in rows], 0)
