"""The inputs of matrices, seen while the loss runs forwards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.inputs import input_factors

X = np.random.default_rng(0).normal(size=(6, 4, 5)).astype(np.float32) * np.arange(1, 6) + 3
LAYERS = np.random.default_rng(1).normal(size=(3, 5, 5)).astype(np.float32)
WORDS = np.ones((7, 5), np.float32)


def leading(inputs, count):
    centred = inputs - inputs.mean(0)
    return np.linalg.svd(centred, full_matrices=False)[2][:count].T


def same_span(a, b):
    projection = lambda x: np.asarray(x, np.float64) @ np.asarray(x).T
    np.testing.assert_allclose(projection(a), projection(b), atol=1e-4)


def test_layers_of_a_scan():
    """Every layer has the directions of its own inputs, whatever the loop."""

    def loss(params):
        body = lambda x, w: (jnp.tanh(x @ w), None)
        return jnp.sum(jax.lax.scan(body, jnp.asarray(X), params["kernel"])[0])

    factors = input_factors(loss, {"kernel": jnp.asarray(LAYERS)}, count=2)
    assert factors["kernel"].shape == (3, 5, 2)
    x = X.astype(np.float64)
    for layer in range(3):
        same_span(factors["kernel"][layer], leading(x.reshape(-1, 5), 2))
        x = np.tanh(x @ LAYERS[layer])


def test_power_scales_by_the_variance_of_the_inputs():
    loss = lambda params: jnp.sum(jnp.asarray(X) @ params["kernel"])
    inputs = X.reshape(-1, 5).astype(np.float64)
    found = input_factors(loss, {"kernel": jnp.asarray(LAYERS[0])}, count=5, power=1.0)["kernel"]
    covariance = np.cov(inputs.T)
    expected = covariance / np.linalg.eigvalsh(covariance)[-1]
    np.testing.assert_allclose(np.asarray(found) @ np.asarray(found).T, expected, atol=1e-4)


def test_inputs_that_do_not_count():
    """Those where the weights are zero are left out, however large they are."""
    mask = np.ones((6, 4), np.int32)
    mask[:, 2:] = 0
    x = np.where(mask[..., None] == 1, X, 1e3 * np.sin(X)).astype(np.float32)
    loss = lambda params: jnp.sum(jnp.asarray(x) @ params["kernel"])
    params = {"kernel": jnp.asarray(LAYERS[0])}
    factors = input_factors(loss, params, count=2, weights=mask)
    same_span(factors["kernel"], leading(X[:, :2].reshape(-1, 5).astype(np.float64), 2))


def test_leaves_that_are_no_matrices_of_activations():
    """A bias, and a table that is gathered from, are not there; the transposed product is."""
    params = {"words": {"embedding": WORDS}, "bias": jnp.zeros(5), "head": {"kernel": LAYERS[0]}}

    def loss(params):
        x = params["words"]["embedding"][jnp.asarray([0, 3])] + params["bias"][None] + X[0, :2]
        return jnp.sum((params["head"]["kernel"].T @ x.T) ** 2)

    factors = input_factors(loss, jax.tree.map(jnp.asarray, params), count=1)
    assert list(factors) == ["head/kernel"]
    same_span(factors["head/kernel"], leading(X[0, :2].astype(np.float64) + 1, 1))


def test_a_loss_without_matrices():
    with pytest.raises(ValueError, match="multiplies no matrix"):
        input_factors(lambda params: jnp.sum(params["w"] ** 2), {"w": jnp.ones((2, 2))})
