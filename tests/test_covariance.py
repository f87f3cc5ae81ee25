"""The damped rank-one Gaussian against dense float64 and finite differences of log p."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from loren_jax.covariance import DampedRankOne

DAMPINGS = [0.05, 0.1, 1.0, 7.0]


def vectors(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def gaussian(a, damping):
    return DampedRankOne(jnp.asarray(a, jnp.float32), jnp.asarray(damping, jnp.float32))


@pytest.mark.each_value
@pytest.mark.parametrize("damping", DAMPINGS)
@pytest.mark.parametrize("size", [1, 2, 9])
def test_dense_twins(damping, size):
    a, x = vectors(0, size), vectors(1, 5, size)
    sigma = oracles.covariance(a, damping)
    structured = gaussian(a, damping)
    np.testing.assert_allclose(structured.to_dense(), sigma, atol=2e-6)
    np.testing.assert_allclose(structured.apply(jnp.asarray(x), -1), x @ sigma, atol=2e-5)
    root = oracles.principal_root(a, damping)
    np.testing.assert_allclose(structured.apply_sqrt(jnp.asarray(x), -1), x @ root, atol=2e-5)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_any_fan_in_axis(axis):
    x = vectors(2, 3, 4, 5)
    a = vectors(3, x.shape[axis])
    root = oracles.principal_root(a, 0.1)
    expected = np.moveaxis(np.moveaxis(x, axis, -1) @ root, -1, axis)
    np.testing.assert_allclose(
        gaussian(a, 0.1).apply_sqrt(jnp.asarray(x), axis), expected, atol=1e-5
    )


def test_fan_in_over_several_axes():
    x, a = vectors(4, 3, 7, 2), vectors(5, 6)
    flat = np.moveaxis(x, 1, 0).reshape(7, 6) @ oracles.principal_root(a, 0.1)
    expected = np.moveaxis(flat.reshape(7, 3, 2), 0, 1)
    actual = gaussian(a, 0.1).apply_sqrt(jnp.asarray(x), (0, 2))
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_stack_of_matrices():
    a, x = vectors(6, 4, 3), vectors(7, 4, 5, 3)
    stacked = gaussian(a, 0.2)
    for i in range(4):
        one = gaussian(a[i], 0.2)
        for name in ("apply_sqrt", "apply", "score"):
            whole = getattr(stacked, name)(jnp.asarray(x), -1)
            np.testing.assert_allclose(
                whole[i], getattr(one, name)(jnp.asarray(x[i]), -1), rtol=1e-5
            )
        np.testing.assert_allclose(stacked.to_dense()[i], one.to_dense(), rtol=1e-6)


def test_root_is_the_identity_and_finite_at_zero():
    x = jnp.asarray(vectors(8, 5, 3), jnp.float32)
    zero = gaussian(np.zeros(3), 0.1)
    np.testing.assert_array_equal(zero.apply_sqrt(x, -1), x)
    assert np.isfinite(zero.score(x, -1)).all()
    slope = jax.grad(lambda a: jnp.sum(gaussian(a, 0.1).apply_sqrt(x, -1)))(jnp.zeros(3))
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("damping", DAMPINGS)
def test_score_is_the_gradient_of_the_log_density(damping):
    a, samples = vectors(9, 6), vectors(10, 4, 6)
    expected = oracles.finite_difference(lambda a: oracles.log_density(a, samples, damping), a)
    actual = gaussian(a, damping).score(jnp.asarray(samples), -1)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("damping", DAMPINGS)
def test_both_roots_give_the_same_distribution_and_score(damping):
    """The paper's root is another root of the same covariance, so the samples have the same law."""
    a, u = vectors(11, 6), vectors(12, 6)
    paper, principal = oracles.paper_root(a, damping), oracles.principal_root(a, damping)
    sigma = oracles.covariance(a, damping)
    np.testing.assert_allclose(paper @ paper.T, sigma, atol=1e-12)
    np.testing.assert_allclose(principal @ principal.T, sigma, atol=1e-12)
    assert np.linalg.eigvalsh(paper).min() < 0 < np.linalg.eigvalsh(principal).min()
    y = paper @ u
    density = lambda a: oracles.log_density(a, y[None], damping)
    score = oracles.finite_difference(density, a)
    np.testing.assert_allclose(oracles.paper_score(a, u, damping), score, rtol=1e-6, atol=1e-6)
    actual = gaussian(a, damping).score(jnp.asarray(y[None]), -1)
    np.testing.assert_allclose(actual, score, rtol=1e-4, atol=1e-4)


def test_samples_have_the_covariance():
    """Each entry of the sample covariance lies within five standard errors."""
    a, number = vectors(13, 4), 40_000
    u = jax.random.normal(jax.random.key(0), (number, 4))
    samples = np.asarray(gaussian(a, 0.3).apply_sqrt(u, -1), np.float64)
    sigma = oracles.covariance(a, 0.3)
    variances = np.outer(np.diag(sigma), np.diag(sigma)) + sigma**2
    error = samples.T @ samples / number - sigma
    assert np.abs(error / np.sqrt(variances / number)).max() < 5
