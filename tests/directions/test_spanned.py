"""Directions along given fan-in vectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import noise
from loren_jax.directions import isotropic, spanned
from loren_jax.types import Coefficients

PARAMS = {"bias": jnp.zeros(3), "kernel": jnp.zeros((2, 5, 3))}
FACTOR = np.cos(np.arange(20.0)).reshape(2, 5, 2).astype(np.float32)


def drawn(number=1):
    directions = spanned({"kernel": FACTOR})
    state = directions.init(PARAMS, noise.run_key(0))
    draw = jax.jit(lambda key: directions.draw(state, PARAMS, key))
    return [draw(key) for key in noise.fold_all(noise.run_key(1), (number,))]


def test_covariance_of_a_fan_in_vector():
    """Its expectation is A A^T for each layer, within five standard errors."""
    samples = np.stack([d["kernel"].to_dense() for d in drawn(number=600)])
    products = np.einsum("klim,kljm->klij", samples, samples) / 3
    expected = np.einsum("liq,ljq->lij", FACTOR, FACTOR)
    errors = products.std(0) / np.sqrt(len(samples)) + 1e-7
    assert (np.abs(products.mean(0) - expected) < 5 * errors).all()


def test_nothing_leaves_the_span():
    outside = np.eye(5) - np.stack([a @ np.linalg.pinv(a) for a in FACTOR])
    for direction in drawn(number=3):
        dense = np.asarray(direction["kernel"].to_dense())
        assert np.abs(outside @ dense).max() < 1e-5 < np.abs(dense).max()


def test_other_leaves_have_the_noise_they_always_have():
    (direction,) = drawn()
    plain = isotropic().draw((), PARAMS, noise.fold_all(noise.run_key(1), (1,))[0])
    np.testing.assert_array_equal(direction["bias"].array, plain["bias"].array)


def test_absorb_is_the_sum_of_the_dense_directions():
    directions = spanned({"kernel": FACTOR})
    state = directions.init(PARAMS, noise.run_key(0))
    some = drawn(number=4)
    # As a step draws them: the factor that all queries share has no axis K.
    stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *some)
    kernel = type(stacked["kernel"])(
        stacked["kernel"].left, some[0]["kernel"].right, some[0]["kernel"].view
    )
    slope = jnp.asarray([1.0, -2.0, 0.5, 3.0])
    total, after = directions.absorb(
        state, PARAMS, {**stacked, "kernel": kernel}, Coefficients(slope, slope)
    )
    for name in PARAMS:
        expected = sum(c * np.asarray(d[name].to_dense()) for c, d in zip(slope, some, strict=True))
        np.testing.assert_allclose(total[name], expected, rtol=1e-5, atol=1e-5)
    assert jax.tree.structure(after) == jax.tree.structure(state)


@pytest.mark.parametrize("factor", [np.ones((5, 2)), np.ones((2, 4, 2)), np.ones(5)])
def test_factors_of_a_wrong_shape(factor):
    with pytest.raises(ValueError, match="factors of 'kernel' have the shape"):
        spanned({"kernel": factor}).init(PARAMS, noise.run_key(0))


def test_factors_of_no_leaf_are_refused():
    """A wrong path would train with isotropic directions and say nothing."""
    directions = spanned({"kernel": FACTOR, "head/kernel": FACTOR})
    directions.init(PARAMS, noise.run_key(0))
    with pytest.raises(ValueError, match=r"'body/kernel', none of which is trained.*'kernel'"):
        spanned({"body/kernel": FACTOR}).init(PARAMS, noise.run_key(0))
