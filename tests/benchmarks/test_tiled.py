"""One rank-one term for a whole matrix, against its dense covariance."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from benchmarks.evidence.tiled import tiled
from loren_jax import noise
from loren_jax.directions import rank_one
from loren_jax.types import Coefficients

DAMPING, NU, K = 0.2, 0.1, 3
SHAPES = {"kernel": (4, 3), "embedding": (5, 4), "bias": (4,)}
FAN_IN = {"kernel": 0, "embedding": 1, "bias": 0}


def repeated(name, a):
    """b, in the order in which the leaf is flattened."""
    shape = SHAPES[name]
    kept = [size if i == FAN_IN[name] else 1 for i, size in enumerate(shape)]
    return np.broadcast_to(a.reshape(kept), shape).ravel()


@pytest.mark.parametrize("name", SHAPES)
def test_draw_and_absorb_equal_the_dense_formula(name):
    params = {name: jnp.zeros(SHAPES[name])}
    directions = tiled(DAMPING, NU)
    state = directions.init(params, noise.run_key(0))
    a = np.asarray(state.covariance[name], np.float64)
    keys = noise.fold_all(noise.run_key(1), (K,))
    drawn = jax.vmap(lambda key: directions.draw(state, params, key))(keys)
    standard = jax.vmap(
        lambda key: tiled(DAMPING, NU).draw(
            state._replace(covariance={name: 0 * state.covariance[name]}), params, key
        )
    )(keys)
    u = np.asarray(standard[name].array, np.float64).reshape(K, -1)
    expected = u @ oracles.principal_root(repeated(name, a), DAMPING)
    y = np.asarray(drawn[name].array, np.float64).reshape(K, -1)
    np.testing.assert_allclose(y, expected, atol=1e-5)

    slope, score = np.array([1.0, -2.0, 0.5]), np.array([0.3, -0.1, 0.2])
    coefficients = Coefficients(jnp.asarray(slope, jnp.float32), jnp.asarray(score, jnp.float32))
    estimate, learned = directions.absorb(state, params, drawn, coefficients)
    np.testing.assert_allclose(np.ravel(estimate[name]), slope @ y, atol=1e-5)

    def log_densities(a):
        each = [oracles.log_density(repeated(name, a), row[None], DAMPING) for row in y]
        return score @ np.array(each)

    expected = a - NU * oracles.finite_difference(log_densities, a)
    np.testing.assert_allclose(learned.covariance[name], expected, rtol=1e-4, atol=1e-4)


def test_a_vector_has_the_same_block_either_way():
    params = {"bias": jnp.zeros(4)}
    key, states = noise.run_key(2), []
    for directions in (tiled(DAMPING), rank_one(DAMPING)):
        state = directions.init(params, noise.run_key(0))
        states.append(directions.draw(state, params, key)["bias"].to_dense())
    np.testing.assert_allclose(*states, rtol=1e-6)


def test_stacked_layers_have_their_own():
    params = {"kernel": jnp.zeros((3, 4, 2))}
    directions = tiled(DAMPING)
    state = directions.init(params, noise.run_key(0))
    assert state.covariance["kernel"].shape == (3, 4)
    drawn = directions.draw(state, params, noise.run_key(1))["kernel"]
    alone = {"kernel": jnp.zeros((1, 4, 2))}
    first = jax.tree.map(lambda a: a[:1], state)
    expected = directions.draw(first, alone, noise.run_key(1))["kernel"]
    np.testing.assert_allclose(drawn.array[:1], expected.array, rtol=1e-5)
