"""Metrics, against sums by hand and formulas in float64."""

import math

import numpy as np
import pytest

from loren_jax.tasks.metrics import METRICS, accuracy, macro_f1, matthews

# Truth in rows. TP = 6, FN = 2, FP = 1, TN = 3 with class 0 as the positive one.
BINARY = [[6, 2], [1, 3]]
THREE = [[3, 1, 0], [2, 2, 1], [0, 1, 5]]


def test_by_hand():
    assert accuracy(BINARY) == 9 / 12
    assert matthews(BINARY) == pytest.approx((6 * 3 - 1 * 2) / math.sqrt(7 * 8 * 4 * 5))
    assert macro_f1(BINARY) == pytest.approx((12 / 15 + 6 / 9) / 2)
    assert macro_f1(THREE) == pytest.approx((6 / 9 + 4 / 9 + 10 / 12) / 3)


def test_matthews_is_the_correlation_of_indicators():
    """For two classes it is Pearson's correlation; swapping truth and answer changes nothing."""
    rng = np.random.default_rng(0)
    for counts in rng.integers(1, 60, (20, 2, 2)):
        pairs = np.repeat([[0, 0], [0, 1], [1, 0], [1, 1]], counts.ravel(), axis=0)
        expected = np.corrcoef(pairs[:, 0], pairs[:, 1])[0, 1]
        assert matthews(counts) == pytest.approx(expected, abs=1e-12)
        assert matthews(counts.T) == pytest.approx(expected, abs=1e-12)
        assert matthews(counts[::-1]) == pytest.approx(-expected, abs=1e-12)


def test_matthews_of_three_classes():
    """Covariance of one-hot truths and answers over the root of their variances."""
    rows, columns = np.nonzero(THREE)
    times = np.array(THREE)[rows, columns]
    truth, answer = (np.repeat(np.eye(3)[index], times, axis=0) for index in (rows, columns))
    truth, answer = truth - truth.mean(axis=0), answer - answer.mean(axis=0)
    expected = np.sum(truth * answer) / math.sqrt(np.sum(truth**2) * np.sum(answer**2))
    assert matthews(THREE) == pytest.approx(expected, abs=1e-12)


def test_large_counts_do_not_overflow():
    counts = np.array([[60_000, 10_000], [20_000, 50_000]], np.int32)
    assert matthews(counts) == pytest.approx(matthews(counts / 1000))


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[5, 0], [3, 0]], (5 / 8, 0.0, (10 / 13) / 2)),  # one answer only
        ([[5, 3], [0, 0]], (5 / 8, 0.0, (10 / 13) / 2)),  # one truth only
        ([[4, 0], [0, 0]], (1.0, 0.0, 0.5)),  # a class that nowhere occurs
    ],
)
def test_degenerate_cases(counts, expected):
    assert tuple(metric(counts) for metric in METRICS.values()) == pytest.approx(expected)


@pytest.mark.parametrize("name", METRICS)
def test_refusals(name):
    with pytest.raises(ValueError, match="must be square"):
        METRICS[name]([[1, 2]])
    with pytest.raises(ValueError, match="counts is empty"):
        METRICS[name]([[0, 0], [0, 0]])
