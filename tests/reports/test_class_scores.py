"""Scores of every class, against formulas in float64."""

import itertools
import json
import math

import numpy as np
import pytest

from loren_jax.reports.class_scores import class_scores, class_table, wilson_interval
from loren_jax.tasks.metrics import macro_f1


@pytest.mark.parametrize(("right", "number"), [(0, 1), (1, 1), (0, 40), (40, 40), (383, 500)])
def test_the_interval_holds_the_shares_that_a_test_would_not_reject(right, number):
    """Its ends solve (p - share)^2 = z^2 share (1 - share) / n, which numpy solves otherwise."""
    z, share = 1.959963984540054, right / number
    roots = np.roots([1 + z**2 / number, -(2 * share + z**2 / number), share**2])
    found = wilson_interval(right, number)
    np.testing.assert_allclose(found, sorted(roots.real), atol=1e-12)
    assert 0.0 <= found[0] <= share <= found[1] <= 1.0
    assert found[0] < found[1]


def test_the_level_is_ninety_five_percent():
    """Of many samples of a share, so many intervals hold it."""
    rng, share, number = np.random.default_rng(0), 0.7, 100
    inside = [
        low <= share <= high
        for low, high in (
            wilson_interval(int(k), number) for k in rng.binomial(number, share, 4000)
        )
    ]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
    z = 1.959963984540054
    assert math.erf(z / math.sqrt(2)) == pytest.approx(0.95, abs=1e-12)


def test_every_class_against_its_definition():
    rng = np.random.default_rng(0)
    truths, answers = rng.integers(0, 3, 200), rng.integers(0, 3, 200)
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (truths, answers), 1)
    found = class_scores(confusion.tolist(), ("a", "b", "c"))
    for number, one in enumerate(found["classes"]):
        precision = np.mean(truths[answers == number] == number)
        recall = np.mean(answers[truths == number] == number)
        assert one["precision"] == pytest.approx(precision)
        assert one["recall"] == pytest.approx(recall)
        assert one["f1"] == pytest.approx(2 * precision * recall / (precision + recall))
        assert one["support"] == np.sum(truths == number)
    assert found["macro_f1"] == pytest.approx(macro_f1(confusion))
    assert found["accuracy_interval"] == list(wilson_interval(int(np.sum(truths == answers)), 200))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_would_be_zero_by_zero_is_nothing():
    found = class_scores([[3, 0, 0], [2, 0, 0], [0, 0, 0]], ("a", "b", "c"))
    assert [one["precision"] for one in found["classes"]] == [0.6, None, None]
    assert [one["recall"] for one in found["classes"]] == [1.0, 0.0, None]
    assert [one["f1"] for one in found["classes"]] == [0.75, 0.0, 0.0]
    assert class_table(found)[3].split() == ["2", "b", "-", "0.000", "0.000", "2", "2", "0", "0"]


@pytest.mark.parametrize("count", [2, 5, 6, 10, 11, 60])
@pytest.mark.parametrize("length", [1, 60])
def test_the_table_has_room_on_a_terminal(count, length):
    """At most ten classes are shown; of more the five worst, which is said."""
    confusion = (100 * np.eye(count, dtype=int)).tolist()
    for i, j in itertools.pairwise(range(count)):
        confusion[i][j] = i
    names = [f"{i}".zfill(length) for i in range(count)]
    lines = class_table(class_scores(confusion, names), "held-out")
    assert max(map(len, lines)) <= 80
    assert len(lines) == 2 + (count if count <= 10 else 5)
    assert ("the 5 with the lowest F1" in lines[0]) == (count > 10)
    if count > 10:  # the later, the more wrong answers
        assert lines[2].split()[0] == str(count - 1)
        assert f"{count - 2} as" in lines[2]
