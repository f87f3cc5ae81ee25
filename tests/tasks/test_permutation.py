"""Permutations: frozen numbers, independent streams."""

import numpy as np
import pytest

from loren_jax.tasks.permutation import permutation


def test_numbers_never_change():
    assert permutation(8, 0).tolist() == [0, 3, 7, 5, 1, 2, 6, 4]
    assert permutation(8, 0, 3).tolist() == [7, 4, 2, 3, 6, 5, 1, 0]


def test_streams_and_seeds_differ():
    orders = [permutation(50, 0), permutation(50, 1), permutation(50, 0, 0), permutation(50, 0, 1)]
    assert len({tuple(order.tolist()) for order in orders}) == 4
    for order in orders:
        assert sorted(order.tolist()) == list(range(50))


def test_all_orders_are_equally_likely():
    first = [permutation(4, seed)[0] for seed in range(2000)]
    counts = np.bincount(first, minlength=4)
    # Five standard deviations of a binomial with 2000 trials of probability 1/4.
    assert np.all(np.abs(counts - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75))


def test_cached_result_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        permutation(4, 0)[0] = 1


@pytest.mark.parametrize(("length", "seed"), [(-1, 0), (3, -1)])
def test_negative_arguments(length, seed):
    with pytest.raises(ValueError, match="negative"):
        permutation(length, seed)
