"""What comes out at the perturbed parameters of a step is that of the queries, in their places."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from methods import METHODS, OF_EACH_KIND, PARAMS, loss

import loren_jax
from loren_jax.transformation import form
from loren_jax.transforms.programs import probe


@OF_EACH_KIND
def test_each_query_stands_where_its_loss_does(name):
    if name == "mezo_svrg":
        pytest.skip("its second estimate asks the loss of all data")
    method = METHODS[name]
    optimizer = method.make(0.1, **method.knobs)
    both = lambda params: {"loss": loss(params), "half": loss(params) / 2}

    @jax.jit
    def run():
        state = optimizer.init(PARAMS)
        seen = loren_jax.observe(both, optimizer, PARAMS, state)
        return seen, probe(optimizer, PARAMS, state, value_fn=loss)

    seen, losses = run()
    assert seen["loss"].shape == losses.shape
    np.testing.assert_allclose(seen["loss"], losses, rtol=1e-6)
    np.testing.assert_allclose(seen["half"], losses / 2, rtol=1e-6)


def test_any_pytree_of_any_type():
    optimizer = loren_jax.mezo(0.1, num_directions=3)
    state = optimizer.init(PARAMS)
    answer = lambda params: (jnp.argmax(params["embeddings"]["embedding"], -1), jnp.int8(3))
    tokens, constant = loren_jax.observe(answer, optimizer, PARAMS, state)
    assert tokens.shape == (3, 2, 6)
    assert tokens.dtype == jnp.int32
    assert constant.shape == (3, 2)
    for k in range(3):
        for s in range(2):
            at = form(optimizer, "ask")(PARAMS, state, k, s)
            np.testing.assert_array_equal(tokens[k, s], answer(at)[0])


def test_losses_from_outside_are_the_step_of_the_loss():
    optimizer = loren_jax.loren(0.1)
    state = jax.jit(optimizer.init)(PARAMS)
    step = jax.jit(functools.partial(optimizer.update, None, value_fn=loss))
    wanted, _ = step(state, PARAMS)
    losses = jax.jit(lambda: loren_jax.observe(loss, optimizer, PARAMS, state))()
    absorb = jax.jit(functools.partial(optimizer.update, None))
    updates, after = absorb(state, PARAMS, losses=losses)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), updates, wanted
    )
    assert int(optax.tree.get(after, "count")) == 1


def test_an_optimizer_without_an_estimate():
    with pytest.raises(TypeError, match="no zeroth-order estimate"):
        loren_jax.observe(loss, optax.sgd(0.1), PARAMS, optax.sgd(0.1).init(PARAMS))
