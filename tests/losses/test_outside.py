"""A Python function as a loss: the same losses as the function in JAX, in any compiled step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax.losses import outside

PARAMS = {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}


def inside(params, x):
    return jnp.mean((x @ params["w"] + params["b"][None]) ** 2)


def python(params, x):
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves((params, x)))
    return np.mean((x @ params["w"] + params["b"]) ** 2)


def test_losses_are_those_of_the_same_function_in_jax():
    x = np.array([[1.0, 2.0]], np.float32)
    optimizer = loren_jax.loren(0.1, rank=1, num_directions=3)

    @jax.jit
    def losses(x):
        ask = lambda fn: optimizer.update(
            None, optimizer.init(PARAMS), PARAMS, value_fn=lambda params: fn(params, x)
        )[1]
        return [optax.tree.get(ask(fn), "losses") for fn in (inside, outside(python))]

    expected, found = losses(x)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_an_error_of_the_function_is_not_swallowed():
    def broken(params):
        raise RuntimeError("the simulator is on fire")

    step = loren_jax.train_step(outside(broken), loren_jax.mezo(0.1))
    params = jnp.ones(2)
    with pytest.raises(Exception, match="on fire"):
        jax.block_until_ready(step(params, loren_jax.mezo(0.1).init(params)))


def test_a_function_that_returns_nothing_is_named():
    loss = loren_jax.losses.outside(lambda params: None)
    with pytest.raises(Exception, match="the function returned None: return a number"):
        jax.block_until_ready(loss(jnp.ones(2)))
