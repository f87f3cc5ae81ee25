"""LOREN's directions: the covariance's state and how it learns."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from loren_jax import noise
from loren_jax.directions import rank_one
from loren_jax.types import Coefficients

PARAMS = {"kernel": jnp.zeros((3, 6, 8)), "bias": jnp.zeros((3, 8)), "embedding": jnp.zeros((9, 5))}


def test_one_vector_for_each_matrix_on_the_fan_in_side():
    state = rank_one().init(PARAMS, noise.run_key(0))
    shapes = jax.tree.map(jnp.shape, state.covariance)
    assert shapes == {"kernel": (3, 6), "bias": (3, 8), "embedding": (5,)}
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state))


def test_starts_standard_normal_and_by_path():
    big = {"a": jnp.zeros((10_000, 2)), "b": jnp.zeros((10_000, 2))}
    a, b = jax.tree.leaves(rank_one().init(big, noise.run_key(0)))
    assert abs(float(a.mean())) < 0.05
    assert abs(float(a.std()) - 1) < 0.05
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.05


@pytest.mark.parametrize("rank", [None, 1])
def test_learning_descends_the_expected_loss(rank):
    """a moves along minus the score-function gradient; at rate zero it stays, to the bit."""
    frozen = rank_one(covariance_learning_rate=0.0, rank=rank)
    learned = rank_one(covariance_learning_rate=0.01, rank=rank)
    state = learned.init(PARAMS, noise.run_key(0))
    keys = noise.fold_all(noise.run_key(1), (4,))
    drawn = jax.vmap(lambda key: learned.draw(state, PARAMS, key))(keys)
    coefficients = Coefficients(jnp.ones(4), jnp.asarray([1.0, -0.5, 0.25, 0.0]))
    _, same = jax.jit(frozen.absorb)(state, PARAMS, drawn, coefficients)
    _, moved = jax.jit(learned.absorb)(state, PARAMS, drawn, coefficients)
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(same), strict=True):
        np.testing.assert_array_equal(before, after)
    bias = np.asarray(state.covariance["bias"], np.float64)
    for layer in range(3):
        samples = np.asarray(drawn["bias"].array, np.float64)[:, layer]
        gradient = sum(
            c
            * oracles.finite_difference(lambda a: oracles.log_density(a, y[None], 0.1), bias[layer])  # noqa: B023
            for c, y in zip([1.0, -0.5, 0.25, 0.0], samples, strict=True)
        )
        expected = bias[layer] - 0.01 * gradient
        np.testing.assert_allclose(moved.covariance["bias"][layer], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"damping": 0.0}, "damping must be positive"),
        ({"damping": float("nan")}, "damping must be positive"),
        ({"covariance_learning_rate": -1.0}, "covariance_learning_rate must be zero or more"),
        ({"rank": 0}, "rank must be at least 1"),
    ],
)
def test_bad_knobs_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        rank_one(**kwargs)
