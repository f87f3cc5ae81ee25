"""Newton-Schulz against the singular value decomposition."""

import jax.numpy as jnp
import numpy as np
import oracles_low_rank as oracles
import pytest

from loren_jax.directions.orthogonal import newton_schulz


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
