"""TeZO's directions: factors of the whole run, fresh weights, momentum in the weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import noise
from loren_jax.directions import temporal
from loren_jax.types import Coefficients

PARAMS = {"bias": jnp.zeros(4), "head": jnp.zeros((6, 2)), "kernel": jnp.zeros((2, 3, 4))}


def test_factors_are_drawn_once_and_clamped():
    directions = temporal(rank=3, momentum=0.9)
    state = directions.init(PARAMS, noise.run_key(0))
    after = directions.refresh(state, PARAMS, noise.run_key(1))
    assert jax.tree.map(jnp.shape, after.left)["head"] == (2, 2)
    assert jax.tree.map(jnp.shape, after.trace) == {"bias": (4,), "head": (2,), "kernel": (2, 3)}
    for before, now in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(before, now)
    floats = sum(x.size for x in jax.tree.leaves(state))
    assert floats == (2 + 6) * 2 + 2 * (4 + 3) * 3 + (4 + 2 + 2 * 3)
    left = np.asarray(state.left["kernel"])
    assert not np.isclose(left[0], left[1]).any()


def test_moments():
    """Over 4,000 runs each entry's mean square is r = 2, within five standard errors."""
    params = {"kernel": jnp.zeros((3, 4))}
    directions = temporal(rank=2)

    def one(key):
        state = directions.init(params, noise.fold(key, 0))
        return directions.draw(state, params, noise.fold(key, 1))["kernel"].to_dense()

    drawn = jax.jit(jax.vmap(one))(noise.fold_all(noise.run_key(1), (4000,)))
    squares = np.asarray(drawn, np.float64) ** 2
    error = squares.std(0) / np.sqrt(4000)
    assert np.abs((squares.mean(0) - 2) / error).max() < 5


@pytest.mark.parametrize("momentum", [None, 0.75])
def test_absorb_sums_and_averages_what_was_drawn(momentum):
    """Two steps: with momentum beta their sums s give `beta (1 - beta) s_1 + (1 - beta) s_2`."""
    directions = temporal(rank=2, momentum=momentum)
    start = directions.init(PARAMS, noise.run_key(0))
    slope = jnp.asarray([1.0, -2.0, 0.5])
    ones = jax.tree.map(jnp.ones_like, PARAMS)

    @jax.jit
    def absorb(state, key):
        drawn = jax.vmap(lambda k: directions.draw(state, PARAMS, k))(noise.fold_all(key, (3,)))
        coefficients = Coefficients(slope, slope)
        dense = jax.vmap(lambda d: jax.tree.map(lambda _, x: x.to_dense(), PARAMS, d))(drawn)
        estimate, after = directions.absorb(state, PARAMS, drawn, coefficients)
        added, _ = directions.absorb(state, PARAMS, drawn, coefficients, ones)
        return dense, estimate, added, after

    first, _, _, state = absorb(start, noise.run_key(1))
    second, estimate, added, _ = absorb(state, noise.run_key(2))
    for name in PARAMS:
        sums = [np.tensordot(np.asarray(slope), np.asarray(d[name]), 1) for d in (first, second)]
        average = sums[1] if momentum is None else 0.75 * 0.25 * sums[0] + 0.25 * sums[1]
        np.testing.assert_allclose(estimate[name], average, atol=2e-5)
        np.testing.assert_allclose(added[name], average + 1, atol=2e-5)
    assert np.asarray(estimate["head"]).any()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"rank": 0}, "rank must be at least 1"), ({"momentum": 1.5}, "momentum must be at least 0")],
)
def test_bad_knobs_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        temporal(**kwargs)
