"""A tree's draw: streams, layers and leaves have numbers of their own."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from loren_jax import noise
from loren_jax.directions import isotropic, rank_one
from loren_jax.directions.sampling import sample
from loren_jax.directions.structured import Dense, LowRank, Seeded

PARAMS = {
    "kernel": jnp.zeros((2, 50, 200)),
    "twin": jnp.zeros((2, 50, 200)),
    "bias": jnp.zeros((2, 300)),
    "tiny": jnp.zeros((3, 2)),
}


def test_kinds():
    kinds = jax.tree.map(lambda _, d: type(d), PARAMS, sample(noise.run_key(0), PARAMS, rank=1))
    assert kinds == {"kernel": LowRank, "twin": LowRank, "bias": Dense, "tiny": LowRank}
    kinds = jax.tree.map(lambda _, d: type(d), PARAMS, sample(noise.run_key(0), PARAMS, rank=2))
    assert kinds["tiny"] is Dense, "factors as large as the matrix gain nothing"
    kinds = jax.tree.map(lambda _, d: type(d), PARAMS, sample(noise.run_key(0), PARAMS))
    assert kinds == {"kernel": Seeded, "twin": Seeded, "bias": Dense, "tiny": Dense}


def test_factors_layers_and_leaves_are_uncorrelated():
    drawn = sample(noise.run_key(0), PARAMS, rank=1)
    rows = [
        getattr(drawn[name], side)[layer, :50, 0]
        for name in ("kernel", "twin")
        for side in ("left", "right")
        for layer in (0, 1)
    ]
    correlation = np.corrcoef(np.stack(rows)) - np.eye(len(rows))
    assert np.abs(correlation).max() < 4 / np.sqrt(50)


def test_rows_of_a_long_vector_are_uncorrelated():
    numbers = np.asarray(sample(noise.run_key(0), PARAMS)["bias"].array[0][: 2 * noise.ROW])
    rows = numbers.reshape(2, noise.ROW)
    assert abs(np.corrcoef(rows)[0, 1]) < 4 / np.sqrt(noise.ROW)


@pytest.mark.parametrize("rank", [None, 1])
def test_jit_draws_the_same_bits(rank):
    draw = lambda key: sample(key, PARAMS, rank=rank)
    eager, compiled = draw(noise.run_key(0)), jax.jit(draw)(noise.run_key(0))
    numbers = optax.tree.unwrap_random_key_data
    jax.tree.map(np.testing.assert_array_equal, numbers(eager), numbers(compiled))


def test_rank_auto_is_rank_1_where_both_sides_are_wide():
    """Under `auto` a leaf has the very noise of rank 1, or of full directions."""
    shapes = {"wide": (64, 64), "head": (384, 2), "narrow": (512, 63), "stack": (3, 70, 64)}
    params = {name: jnp.zeros(shape) for name, shape in shapes.items()} | {"bias": jnp.zeros(99)}
    drawn = {rank: sample(noise.run_key(0), params, rank=rank) for rank in ("auto", 1, None)}
    dense = lambda rank, name: drawn[rank][name].to_dense()
    for name in params:
        same = 1 if name in ("wide", "stack") else None
        np.testing.assert_array_equal(dense("auto", name), dense(same, name))
        assert name == "bias" or (dense(1, name) != dense(None, name)).any()


@pytest.mark.parametrize("make", [isotropic, rank_one])
def test_a_rank_of_another_word_or_below_one_is_refused(make):
    make = inspect.unwrap(make)
    with pytest.raises(TypeError, match="rank must be a Python int, None or 'auto'"):
        make(rank="full")
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        make(rank=0)
