"""Isotropic directions: stateless, standard normal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax import noise
from loren_jax.directions import isotropic
from loren_jax.types import Coefficients

PARAMS = {"kernel": jnp.zeros((30, 40)), "bias": jnp.zeros(40)}


@pytest.mark.parametrize("rank", [None, 1, 4])
def test_moments(rank):
    """Mean 0 and variance 1 of each entry, within five standard errors over 4,000 draws."""
    directions = isotropic(rank)
    draw = lambda key: jax.tree.map(
        lambda _, d: d.to_dense(), PARAMS, directions.draw((), PARAMS, key)
    )
    drawn = jax.vmap(draw)(noise.fold_all(noise.run_key(0), (4000,)))
    for leaf in jax.tree.leaves(drawn):
        leaf = np.asarray(leaf, np.float64)
        error = leaf.std(0) / np.sqrt(4000)
        assert np.abs(leaf.mean(0) / error).max() < 5
        squares = leaf**2
        assert np.abs((squares.mean(0) - 1) / (squares.std(0) / np.sqrt(4000))).max() < 5


def test_absorb_sums_and_keeps_nothing():
    directions = isotropic()
    state = directions.init(PARAMS, noise.run_key(0))
    keys = noise.fold_all(noise.run_key(1), (3,))
    drawn = jax.vmap(lambda key: directions.draw(state, PARAMS, key))(keys)
    slope = jnp.asarray([1.0, -2.0, 0.5])
    total, after = directions.absorb(state, PARAMS, drawn, Coefficients(slope, slope))
    assert after == state
    for name in PARAMS:
        one = lambda key: directions.draw(state, PARAMS, key)[name].to_dense()  # noqa: B023
        expected = sum(c * one(key) for c, key in zip(slope, keys, strict=True))
        np.testing.assert_allclose(total[name], expected, atol=1e-5)


def test_rank_below_one_is_refused():
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        isotropic(rank=0)


def test_signs_are_all_that_is_drawn():
    params = {"kernel": jnp.zeros((200, 150)), "small": jnp.zeros((6, 5)), "bias": jnp.zeros(7)}
    directions = isotropic(rank="signs")
    drawn = directions.draw((), params, noise.run_key(1))
    dense = {name: np.asarray(leaf.to_dense()) for name, leaf in drawn.items()}
    assert all(set(np.unique(x)) == {-1.0, 1.0} for x in dense.values())
    assert abs(dense["kernel"].mean()) < 4 / np.sqrt(30_000)


def test_signs_are_refused_where_a_gaussian_is_learned(without_checked_annotations):
    with pytest.raises(ValueError, match="rank='signs' is for methods with isotropic directions"):
        loren_jax.loren(0.1, rank="signs")
