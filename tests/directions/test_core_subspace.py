"""SubZero's directions: kept bases on both sides, a fresh core, unit mean squares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import noise
from loren_jax.directions import core_subspace
from loren_jax.types import Coefficients

PARAMS = {"bias": jnp.zeros(4), "head": jnp.zeros((6, 2)), "kernel": jnp.zeros((2, 3, 4))}


def test_bases_are_orthonormal_clamped_and_renewed_every_second_step():
    directions = core_subspace(rank=3, every=2)
    state = directions.init(PARAMS, noise.run_key(0))
    refresh = jax.jit(lambda state, key: directions.refresh(state, PARAMS, key))
    states = []
    for t in range(3):
        state = refresh(state, noise.fold(noise.run_key(1), t))
        states.append(state)
    for side, shapes in ("left", [(2, 2), (2, 4, 3)]), ("right", [(6, 2), (2, 3, 3)]):
        first, second, third = (getattr(state, side) for state in states)
        assert [leaf.shape for leaf in jax.tree.leaves(first)] == shapes
        for name in ("head", "kernel"):
            np.testing.assert_array_equal(first[name], second[name])
            assert not np.allclose(second[name], third[name])
            q = np.asarray(first[name])
            excess = q.swapaxes(-1, -2) @ q - np.eye(q.shape[-1])
            assert np.abs(excess).max() < 1e-6
    floats = sum(x.size for x in jax.tree.leaves(state) if x.dtype == jnp.float32)
    assert floats == (2 + 6) * 2 + 2 * (4 + 3) * 3


def test_unbiased_over_renewals():
    """Over 8,000 draws of bases and core each entry's mean square is 1, and the estimate on a
    linear loss is the gradient, each within five standard errors."""
    directions = core_subspace(rank=2)
    params = {"kernel": jnp.zeros((3, 4))}
    gradient = jnp.sin(jnp.arange(12.0)).reshape(3, 4)
    start = directions.init(params, noise.run_key(0))

    def one(key):
        state = directions.refresh(start, params, noise.fold(key, 0))
        drawn = jax.vmap(lambda k: directions.draw(state, params, k))(noise.fold_all(key, (1,)))
        direction = jax.tree.map(lambda x: x[0], drawn)["kernel"].to_dense()
        slope = Coefficients(jnp.sum(direction * gradient)[None], jnp.ones(1))
        return direction, directions.absorb(state, params, drawn, slope)[0]["kernel"]

    drawn, estimates = jax.jit(jax.vmap(one))(noise.fold_all(noise.run_key(1), (8000,)))
    squares = np.asarray(drawn, np.float64) ** 2
    for values, target in (
        (squares, 1.0),
        (np.asarray(estimates, np.float64), np.asarray(gradient, np.float64)),
    ):
        error = values.std(0) / np.sqrt(8000)
        assert np.abs((values.mean(0) - target) / error).max() < 5


def test_absorb_sums_what_was_drawn():
    directions = core_subspace(rank=2)
    state = directions.init(PARAMS, noise.run_key(0))
    state = directions.refresh(state, PARAMS, noise.run_key(1))
    slope = jnp.asarray([1.0, -2.0, 0.5])
    ones = jax.tree.map(jnp.ones_like, PARAMS)

    @jax.jit
    def absorb(state):
        keys = noise.fold_all(noise.run_key(2), (3,))
        drawn = jax.vmap(lambda key: directions.draw(state, PARAMS, key))(keys)
        coefficients = Coefficients(slope, slope)
        dense = jax.vmap(lambda d: jax.tree.map(lambda _, x: x.to_dense(), PARAMS, d))(drawn)
        into = (None, ones)
        return dense, *(directions.absorb(state, PARAMS, drawn, coefficients, x)[0] for x in into)

    dense, estimate, added = absorb(state)
    for name in PARAMS:
        expected = np.tensordot(np.asarray(slope), np.asarray(dense[name]), 1)
        np.testing.assert_allclose(estimate[name], expected, atol=1e-5)
        np.testing.assert_allclose(added[name], expected + 1, atol=1e-5)
    assert np.asarray(estimate["head"]).any()


@pytest.mark.parametrize("name", ["rank", "every"])
def test_bad_knobs_are_named(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        core_subspace(**{name: 0})
