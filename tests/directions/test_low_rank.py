"""LOZO's directions: kept V, fresh U, three scales, momentum in the factor."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import noise
from loren_jax.directions import LowRank, low_rank
from loren_jax.types import Coefficients

PARAMS = {"bias": jnp.zeros(4), "kernel": jnp.zeros((2, 3, 4))}
ONE = Coefficients(jnp.ones(1), jnp.ones(1))


def refreshed(directions, steps, params=PARAMS):
    """States of the steps; the same keys whatever the directions are."""
    state = directions.init(params, noise.run_key(0))
    refresh = jax.jit(lambda state, key: directions.refresh(state, params, key))
    states = []
    for t in range(steps):
        state = refresh(state, noise.fold(noise.run_key(1), t))
        states.append(state)
    return states


def test_v_is_renewed_every_third_step():
    bases = [np.asarray(state.right["kernel"]) for state in refreshed(low_rank(2, 3), 7)]
    renewed = [not np.array_equal(a, b) for a, b in itertools.pairwise(bases)]
    assert bases[0].all()
    assert renewed == [False, False, True, False, False, True]
    assert not np.allclose(bases[0][0], bases[0][1])


def test_u_is_fresh_and_v_is_shared():
    directions = low_rank(2)
    state = refreshed(directions, 1)[0]
    first, second = (directions.draw(state, PARAMS, noise.run_key(k))["kernel"] for k in (2, 3))
    assert isinstance(first, LowRank)
    assert first.left.shape == (2, 4, 2)
    np.testing.assert_array_equal(first.right, second.right)
    assert not np.isclose(first.left, second.left).any()


@pytest.mark.parametrize(
    ("factor_scale", "variance", "mean"),
    [("unit", 2.0, 2.0), ("rank", 2.0, 1.0), ("sqrt_rank", 1.0, 1.0)],
)
def test_moments(factor_scale, variance, mean):
    """Over 8,000 pairs of U and V each entry's mean square is `variance`, and the estimate on a
    linear loss is `mean` times the gradient, each within five standard errors."""
    directions = low_rank(2, factor_scale=factor_scale)
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
    expected = mean * np.asarray(gradient, np.float64)
    squares = np.asarray(drawn, np.float64) ** 2
    for values, target in ((squares, variance), (np.asarray(estimates, np.float64), expected)):
        error = values.std(0) / np.sqrt(8000)
        assert np.abs((values.mean(0) - target) / error).max() < 5


def test_into_adds_in_the_leafs_dtype():
    directions = low_rank(2, factor_scale="rank")
    state = refreshed(directions, 1)[0]
    into = jax.tree.map(lambda x: jnp.full(x.shape, 2.0, jnp.bfloat16), PARAMS)

    @jax.jit
    def both(state):
        keys = noise.fold_all(noise.run_key(2), (3,))
        drawn = jax.vmap(lambda key: directions.draw(state, PARAMS, key))(keys)
        coefficients = Coefficients(jnp.arange(3.0), jnp.ones(3))
        plain = directions.absorb(state, PARAMS, drawn, coefficients)[0]
        return plain, directions.absorb(state, PARAMS, drawn, coefficients, into)[0]

    plain, added = both(state)
    for name in PARAMS:
        assert plain[name].dtype == jnp.float32
        assert added[name].dtype == jnp.bfloat16
        expected = np.asarray(plain[name]) + 2
        np.testing.assert_allclose(np.float32(added[name]), expected, rtol=2**-8, atol=1e-2)


def test_momentum_moves_into_the_new_row_space():
    """`M V_old^T V_new / n` at a renewal only, and near `M V_old^T` itself where n is large."""
    directions = low_rank(2, 2, momentum=0.9)
    params = {"kernel": jnp.zeros((5, 3))}
    first, second, third = refreshed(directions, 3, params)
    assert not np.asarray(first.trace["kernel"]).any()
    momentum = jnp.cos(jnp.arange(6.0)).reshape(3, 2)
    refresh = lambda state, t: directions.refresh(
        state._replace(trace={"kernel": momentum}), params, noise.fold(noise.run_key(1), t)
    )
    np.testing.assert_array_equal(refresh(first, 1).trace["kernel"], momentum)
    moved = np.asarray(refresh(second, 2).trace["kernel"], np.float64)
    old, new = (np.asarray(s.right["kernel"], np.float64) for s in (second, third))
    np.testing.assert_allclose(moved, np.asarray(momentum) @ old.T @ new / 5, rtol=1e-5)


def test_state_in_closed_form():
    """n r floats; with momentum (m + n) r and one for each entry of a vector."""
    floats = lambda state: sum(x.size for x in jax.tree.leaves(state) if x.dtype == jnp.float32)
    key = noise.run_key(0)
    assert floats(low_rank(2).init(PARAMS, key)) == 2 * 3 * 2
    assert floats(low_rank(2, momentum=0.9).init(PARAMS, key)) == 2 * (3 + 4) * 2 + 4


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rank": 0}, "rank must be at least 1"),
        ({"every": -1}, "every must be at least 1"),
        ({"factor_scale": ""}, "factor_scale must be one of"),
        ({"momentum": 1.0}, "momentum must be at least 0 and below 1"),
    ],
)
def test_bad_knobs_are_named(kwargs, message, without_checked_annotations):
    with pytest.raises(ValueError, match=message):
        low_rank(**kwargs)
