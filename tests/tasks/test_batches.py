"""Batches: pure, fair, and of one shape; permutations: frozen numbers, independent streams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren_jax.tasks.batches import Tokens, batch_indices, evaluation_batches, permutation


def make(num_examples, length=8):
    grid = np.arange(num_examples * length, dtype=np.int32).reshape(num_examples, length)
    return Tokens(grid, np.ones_like(grid), np.zeros_like(grid), grid[:, 0])


@settings(max_examples=30, deadline=None)
@given(num_examples=st.integers(1, 40), data=st.data(), seed=st.integers(0, 2**70))
def test_every_example_once_per_epoch(num_examples, data, seed):
    batch_size = data.draw(st.integers(1, num_examples))
    # As many steps as give whole epochs.
    walked = [batch_indices(seed, step, num_examples, batch_size) for step in range(num_examples)]
    epochs = np.concatenate(walked).reshape(batch_size, num_examples)
    assert np.array_equal(
        np.sort(epochs, axis=1), np.tile(np.arange(num_examples), (batch_size, 1))
    )


def test_pure_function_of_seed_and_step():
    forward = [batch_indices(7, step, 10, 4).tolist() for step in range(20)]
    backward = [batch_indices(7, step, 10, 4).tolist() for step in reversed(range(20))]
    assert forward == backward[::-1]
    assert forward != [batch_indices(8, step, 10, 4).tolist() for step in range(20)]


def test_epochs_differ():
    epochs = {tuple(batch_indices(0, step, 12, 12).tolist()) for step in range(5)}
    assert len(epochs) == 5


@pytest.mark.parametrize(
    ("step", "batch_size", "message"),
    [(-1, 2, "step is -1"), (0, 0, "between 1"), (0, 6, "batch_size is 6.* the 5 examples")],
)
def test_impossible_batches(step, batch_size, message):
    with pytest.raises(ValueError, match=message):
        batch_indices(0, step, 5, batch_size)


def test_rows():
    rows = make(4).rows(np.array([2, 0]))
    assert rows.labels.tolist() == [16, 0]
    assert rows.input_ids.shape == (2, 8)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 9])
def test_weighted_evaluation_counts_every_example_once(batch_size):
    tokens = make(7)
    batches = list(evaluation_batches(tokens, batch_size))
    labels = np.concatenate([rows.labels for rows, _ in batches])
    weights = np.concatenate([weights for _, weights in batches])
    assert weights.dtype == np.float32
    assert weights.sum() == 7
    assert np.array_equal(labels[weights > 0], tokens.labels)
    # Rows that fill up keep some token to attend to.
    assert all(rows.attention_mask.any(axis=1).all() for rows, _ in batches)


def test_one_compilation_serves_all_batches():
    compilations = []

    @jax.jit
    def total(tokens, weights):
        compilations.append(1)
        return jnp.sum(tokens.labels * weights)

    tokens = make(7)
    for batch in evaluation_batches(tokens, 3):
        total(*batch)
    for step in range(6):
        total(tokens.rows(batch_indices(0, step, 7, 3)), np.ones(3, np.float32))
    assert len(compilations) == 1


def test_nothing_to_evaluate():
    with pytest.raises(ValueError, match="no examples"):
        next(evaluation_batches(make(0), 2))
    with pytest.raises(ValueError, match="batch_size is 0"):
        next(evaluation_batches(make(2), 0))


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
