"""ZO-Muon's directions: kept orthonormal P, fresh coordinates, an orthogonalised estimate."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles_low_rank as oracles
import pytest

from loren_jax import noise
from loren_jax.directions import subspace
from loren_jax.types import Coefficients

PARAMS = {"bias": jnp.zeros(4), "head": jnp.zeros((6, 2)), "kernel": jnp.zeros((2, 3, 4))}


def test_p_is_orthonormal_clamped_and_renewed_every_second_step():
    directions = subspace(rank=3, every=2)
    state = directions.init(PARAMS, noise.run_key(0))
    refresh = jax.jit(lambda state, key: directions.refresh(state, PARAMS, key))
    states = []
    for t in range(4):
        state = refresh(state, noise.fold(noise.run_key(1), t))
        states.append(state)
    shapes = jax.tree.map(jnp.shape, state.left)
    assert shapes == {"bias": None, "head": (2, 2), "kernel": (2, 4, 3)}
    bases = [np.asarray(state.left["kernel"]) for state in states]
    for basis in bases:
        grams = basis.swapaxes(-1, -2) @ basis
        np.testing.assert_allclose(grams, np.tile(np.eye(3), (2, 1, 1)), atol=1e-6)
    np.testing.assert_array_equal(bases[0], bases[1])
    np.testing.assert_array_equal(bases[2], bases[3])
    assert not np.allclose(bases[1], bases[2])
    floats = sum(x.size for x in jax.tree.leaves(state) if x.dtype == jnp.float32)
    assert floats == 2 * 2 + 2 * 4 * 3


def test_the_estimate_is_orthogonalised_in_coordinates():
    """P msign(sum c Psi) of each layer, sum c z of a vector; K directions share one P."""
    directions = subspace(rank=2)
    state = directions.init(PARAMS, noise.run_key(0))
    state = directions.refresh(state, PARAMS, noise.run_key(1))
    slope = jnp.asarray([1.0, -2.0, 0.5])

    @jax.jit
    def absorb(state, into):
        keys = noise.fold_all(noise.run_key(2), (3,))
        drawn = jax.vmap(lambda key: directions.draw(state, PARAMS, key))(keys)
        coefficients = Coefficients(slope, slope)
        return drawn, *(directions.absorb(state, PARAMS, drawn, coefficients, x)[0] for x in into)

    ones = jax.tree.map(jnp.ones_like, PARAMS)
    drawn, estimate, added = absorb(state, (None, ones))
    p = np.asarray(state.left["kernel"], np.float64)
    psi = np.asarray(drawn["kernel"].right, np.float64)
    for layer in range(2):
        g = np.einsum("k,knr->rn", slope, psi[:, layer])
        expected = (p[layer] @ oracles.msign(g)).T
        np.testing.assert_allclose(estimate["kernel"][layer], expected, atol=1e-5)
    bias = np.tensordot(slope, np.asarray(drawn["bias"].array), 1)
    np.testing.assert_allclose(estimate["bias"], bias, rtol=1e-5)
    for name in PARAMS:
        np.testing.assert_allclose(added[name], np.asarray(estimate[name]) + 1, atol=1e-6)


def test_moments_of_the_directions():
    """P Psi projects onto r of m dimensions on average: each entry's mean square is r / m, within
    five standard errors over 4,000 draws of both."""
    params = {"kernel": jnp.zeros((3, 4))}
    directions = subspace(rank=2)
    start = directions.init(params, noise.run_key(0))

    def one(key):
        state = directions.refresh(start, params, noise.fold(key, 0))
        return directions.draw(state, params, noise.fold(key, 1))["kernel"].to_dense()

    drawn = jax.jit(jax.vmap(one))(noise.fold_all(noise.run_key(1), (4000,)))
    squares = np.asarray(drawn, np.float64) ** 2
    error = squares.std(0) / np.sqrt(4000)
    assert np.abs((squares.mean(0) - 0.5) / error).max() < 5


def test_power_iterations_keep_what_they_found():
    """V (n x k) of each matrix, orthonormal from the start on; a vector has none."""
    directions = subspace(rank=3, orthogonalise="power", power_rank=2)
    state = directions.init(PARAMS, noise.run_key(0))
    shapes = jax.tree.map(jnp.shape, state.right)
    assert shapes == {"bias": None, "head": (6, 2), "kernel": (2, 3, 2)}
    state = directions.refresh(state, PARAMS, noise.run_key(1))

    @jax.jit
    def absorb(state, slope):
        keys = noise.fold_all(noise.run_key(2), (2,))
        drawn = jax.vmap(lambda key: directions.draw(state, PARAMS, key))(keys)
        return drawn, *directions.absorb(state, PARAMS, drawn, Coefficients(slope, slope))

    slope = jnp.asarray([1.0, -2.0])
    drawn, estimate, after = absorb(state, slope)
    p, v = (np.asarray(x["kernel"], np.float64) for x in (state.left, state.right))
    psi = np.asarray(drawn["kernel"].right, np.float64)
    for layer in range(2):
        np.testing.assert_allclose(v[layer].T @ v[layer], np.eye(2), atol=1e-6)
        left, right = oracles.power(np.einsum("k,knr->rn", slope, psi[:, layer]), v[layer])
        expected = (p[layer] @ left @ right.T).T
        np.testing.assert_allclose(estimate["kernel"][layer], expected, atol=1e-5)
        kept = np.asarray(after.right["kernel"][layer], np.float64)
        np.testing.assert_allclose(kept @ kept.T, right @ right.T, atol=1e-5)
    _, nothing, same = absorb(state, jnp.zeros(2))
    assert not any(x.any() for x in jax.tree.leaves(nothing))
    np.testing.assert_array_equal(same.right["kernel"], state.right["kernel"])


@pytest.mark.parametrize("name", ["rank", "every", "power_rank"])
def test_bad_knobs_are_named(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1"):
        subspace(**{"orthogonalise": "power", name: 0})
