"""Newton-Schulz and the power iteration against the singular value decomposition."""

import jax.numpy as jnp
import numpy as np
import oracles_low_rank as oracles
import pytest

from loren_jax.directions.orthogonal import newton_schulz, power_iteration


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (2, 4, 4)])
def test_equals_the_polynomial_of_the_singular_values(shape):
    g = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    actual = np.asarray(newton_schulz(jnp.asarray(g)))
    layers = g.reshape(-1, *shape[-2:])
    expected = np.stack([oracles.msign(layer.astype(np.float64)) for layer in layers])
    np.testing.assert_allclose(actual.reshape(expected.shape), expected, atol=2e-5)


def test_singular_values_end_near_one():
    """Of a matrix with singular values from 1 to 0.03, all end within [0.6, 1.3]."""
    rng = np.random.default_rng(1)
    u, v = (np.linalg.qr(rng.normal(size=(n, 6)))[0] for n in (8, 10))
    g = u @ np.diag(np.geomspace(1, 0.03, 6)) @ v.T
    values = np.linalg.svd(np.asarray(newton_schulz(jnp.asarray(g, jnp.float32))))[1]
    assert values[:6].min() > 0.6
    assert values[:6].max() < 1.3


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e30])
def test_the_scale_does_not_matter(scale):
    g = jnp.asarray(np.random.default_rng(2).normal(size=(3, 5)), jnp.float32)
    np.testing.assert_allclose(newton_schulz(scale * g), newton_schulz(g), atol=1e-5)


def test_zeros_stay_zeros():
    """Also beside another matrix of the stack."""
    g = jnp.stack([jnp.zeros((2, 3)), jnp.ones((2, 3))])
    both = np.asarray(newton_schulz(g))
    assert not both[0].any()
    assert np.isfinite(both).all()


def some(*shape, seed=3):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize(("shape", "k"), [((3, 7), 2), ((7, 3), 1), ((2, 4, 5), 4)])
def test_a_power_iteration_is_that_of_the_formula(shape, k):
    """In float32 whatever G is; of a stack each matrix has its own V."""
    g = some(*shape).astype(jnp.bfloat16)
    v = np.linalg.qr(some(*shape[:-2], shape[-1], k, seed=4))[0]
    left, right = power_iteration(jnp.asarray(g), jnp.asarray(v, jnp.float32))
    assert left.dtype == right.dtype == jnp.float32
    layers = [np.float64(x).reshape(-1, *x.shape[-2:]) for x in (g, v)]
    pairs = [oracles.power(*layer) for layer in zip(*layers, strict=True)]
    expected = np.stack([u @ v.T for u, v in pairs]).reshape(shape)
    np.testing.assert_allclose(left @ jnp.matrix_transpose(right), expected, atol=2e-5)


@pytest.mark.parametrize("k", [2, 4])
def test_power_iterations_on_one_matrix_end_in_the_sign_of_its_leading_directions(k):
    """With k = 4, all there are, in the matrix sign itself."""
    u, v = (np.linalg.qr(some(n, 4, seed=n))[0] for n in (4, 6))
    g = u @ np.diag([1.0, 0.6, 0.3, 0.1]) @ v.T
    right = jnp.asarray(np.linalg.qr(some(6, k))[0], jnp.float32)
    first, _ = power_iteration(jnp.asarray(g, jnp.float32), right)
    for _ in range(40):
        left, right = power_iteration(jnp.asarray(g, jnp.float32), right)
    np.testing.assert_allclose(left @ right.T, oracles.leading(g, k), atol=1e-5)
    assert not np.allclose(first, left, atol=0.1)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_does_not_matter_to_power_iterations(scale):
    g, v = jnp.asarray(some(3, 5), jnp.float32), jnp.asarray(np.linalg.qr(some(5, 2))[0])
    for one, other in zip(power_iteration(scale * g, v), power_iteration(g, v), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_is_not_there_is_no_direction():
    """Zeros keep V, also beside another matrix; of rank one, one column of two is not zero."""
    v = jnp.asarray(np.linalg.qr(some(4, 2))[0], jnp.float32)
    one = jnp.outer(jnp.asarray([1.0, -2.0, 0.5]), jnp.asarray([0.3, 1.0, -1.0, 2.0]))
    left, right = power_iteration(jnp.stack([jnp.zeros((3, 4)), one]), jnp.stack([v, v]))
    assert not left[0].any()
    np.testing.assert_array_equal(right[0], v)
    np.testing.assert_allclose(left[1] @ right[1].T, oracles.leading(np.asarray(one), 1), atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(left[1], axis=0), [1.0, 0.0], atol=1e-6)
