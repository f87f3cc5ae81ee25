"""Metrics of classification, from counts of what was answered where what was right.

All of them are functions of one matrix of counts, so an evaluation that runs batch by batch adds
matrices and is exact. Where a formula has no value, it is defined here, and tested.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

Counts = Sequence[Sequence[int]] | Shaped[np.ndarray, "classes classes"]


def accuracy(counts: Counts) -> float:
    """Return the share of right answers, between 0 and 1.

    >>> accuracy([[3, 1], [0, 4]])
    0.875
    """
    matrix = _matrix(counts)
    return float(np.trace(matrix) / matrix.sum())


def matthews(counts: Counts) -> float:
    """Return Matthews' correlation of answers and truth, between -1 and 1, for two classes or more.

    With `s` examples, `c` right answers, and `t` and `p` the vectors of true and of answered
    classes, it is `(c s - t.p) / sqrt((s^2 - p.p) (s^2 - t.t))`. It is 0, as without any relation,
    where all answers or all truths are one class and the formula would divide 0 by 0.

    >>> matthews([[2, 0], [0, 3]]), matthews([[0, 2], [0, 3]])
    (1.0, 0.0)
    """
    matrix = _matrix(counts)
    total, truths, answers = matrix.sum(), matrix.sum(axis=1), matrix.sum(axis=0)
    spread = (total**2 - answers @ answers) * (total**2 - truths @ truths)
    if spread == 0:
        return 0.0
    return float((np.trace(matrix) * total - truths @ answers) / np.sqrt(spread))


def macro_f1(counts: Counts) -> float:
    """Return the plain mean over classes of F1, `2 TP / (2 TP + FP + FN)`, between 0 and 1.

    A class that neither is nor is answered anywhere has an F1 of 0.

    >>> macro_f1([[1, 1], [0, 2]])  # (2/3 + 4/5) / 2
    0.7333333333333334
    """
    matrix = _matrix(counts)
    mentions = matrix.sum(axis=0) + matrix.sum(axis=1)
    scores = 2 * np.diag(matrix) / np.where(mentions > 0, mentions, 1)
    return float(scores.mean())


METRICS: Mapping[str, Callable[[Any], float]] = {
    "accuracy": accuracy,
    "matthews": matthews,
    "f1": macro_f1,
}
"""The metrics by the names that summaries use."""


def _matrix(counts: Counts) -> Float64[np.ndarray, "classes classes"]:
    matrix = np.asarray(counts, np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"counts has the shape {matrix.shape}; it must be square, class by class")
    if matrix.sum() <= 0:
        raise ValueError("counts is empty: there are no examples to have a metric")
    return matrix
