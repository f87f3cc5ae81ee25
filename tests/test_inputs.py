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


@pytest.mark.parametrize(("number", "batches"), [(64, 16), (64, 4), (1024, 1), (100, 10)])
def test_all_places_of_a_text_are_looked_at(number, batches):
    """A stride over the vectors of many texts would take the first of each alone."""
    x = jnp.zeros((number, 16, 8)).at[:, 0].set(1.0)
    noise = jax.random.normal(jax.random.key(0), (batches, number, 15, 2))
    loss = lambda params, batch: jnp.sum(x.at[:, 1:, 1:3].set(batch) @ params["w"])
    found = input_factors(loss, {"w": jnp.ones((8, 5))}, count=2, batches=list(noise))["w"]
    # Where a text begins is one vector, a sixteenth of all, and varies against the others.
    np.testing.assert_allclose(jnp.linalg.norm(found[1:3], axis=0), 1, atol=0.1)


def test_of_many_inputs_those_that_count_are_taken():
    counts = np.zeros((200, 40))
    counts[:, 3] = 1
    x = np.random.default_rng(0).normal(size=(200, 40, 6)) * [1, 5, 0.1, 0.1, 0.1, 0.1]
    x = np.where(counts[..., None] == 0, 100 * x[..., ::-1], x).astype(np.float32)
    loss = lambda params: jnp.sum(jnp.asarray(x) @ params["w"])
    found = input_factors(loss, {"w": jnp.ones((6, 5))}, count=1, weights=counts)["w"]
    assert abs(found[1, 0]) > 0.99


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_inputs_that_do_not_vary_tell_no_directions(power):
    x = jnp.ones((20, 4)) / 3
    loss = lambda params: jnp.sum(x @ params["w"]) + jnp.sum(x @ params["counted"])
    params = {"w": jnp.ones((4, 5)), "counted": jnp.ones((4, 5))}
    assert input_factors(loss, params, power=power) == {}
    assert input_factors(loss, params, power=power, weights=jnp.zeros(20)) == {}
