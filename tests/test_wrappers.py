"""Optax's and Flax's wrappers around an optimiser, each with a mask and without.

A row builds a run of some steps through the wrapper; whatever it is, the parameters move as by the
plain optimiser, a leaf that is not trained stays as it is to the bit, and the losses of the step
are in the state.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import loren_jax
from loren_jax.parts import completed

PARAMS = {
    "kernel": jnp.cos(jnp.arange(6.0)).reshape(3, 2),
    "bias": jnp.ones(2),
    "codes": jnp.asarray([16777217, 3]),  # the first is no float32
}
X = jnp.sin(jnp.arange(24.0)).reshape(8, 3)
STEPS, RATE = 3, 0.05
MASKS = {
    "path": lambda path: path == "kernel",
    "tree": {"kernel": True, "bias": False, "codes": False},
    "floats": lambda path: path != "codes",
}


def loss(params):
    out = X @ params["kernel"] * (params["codes"] % 4)[None].astype(jnp.float32)
    return jnp.mean((out + params["bias"][None]) ** 2)


def method(mask, learning_rate=RATE):
    return loren_jax.trained(loren_jax.loren(learning_rate, momentum=None), mask)


def by_updates(optimizer, params=PARAMS):
    """Steps as Optax's users write them."""

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(None, state, params, value_fn=loss)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(STEPS):
        params, state = step(params, state)
    return params, state


def through_chain(mask):
    return by_updates(optax.chain(method(mask), optax.identity()))


def through_named_chain(mask):
    return by_updates(optax.named_chain(("method", method(mask)), ("scale", optax.scale(1.0))))


def through_inject_hyperparams(mask):
    # Outside, `trained` also keeps what is no float from being made a hyper-parameter's update.
    make = optax.inject_hyperparams(lambda rate: method(None, rate))
    return by_updates(loren_jax.trained(make(rate=RATE), mask))


def through_partition(mask):
    """With a branch that takes gradients, of a parameter that is not the optimiser's."""
    params = PARAMS | {"offset": jnp.ones(())}
    mask = mask | {"offset": False} if isinstance(mask, dict) else mask
    branches = {"forward": method(mask), "backward": optax.sgd(0.1)}
    labels = dict.fromkeys(PARAMS, "forward") | {"offset": "backward"}
    tx = optax.partition(branches, labels)
    whole = lambda params: loss(params) + (params["offset"] - 2) ** 2

    @jax.jit
    def step(params, state):
        slope = jax.grad(lambda offset: whole(params | {"offset": offset}))(params["offset"])
        zeros = {name: np.zeros(np.shape(leaf)) for name, leaf in PARAMS.items()}
        given = {"value_fn": completed(whole, params)}
        updates, state = tx.update(zeros | {"offset": slope}, state, params, **given)
        return optax.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(STEPS):
        params, state = step(params, state)
    assert params.pop("offset") > 1
    return params, state


def through_nnx_optimizer(mask):
    class Model(nnx.Module):
        def __init__(self):
            for name, leaf in PARAMS.items():
                setattr(self, name, nnx.Param(jnp.copy(leaf)))

    model = Model()
    if isinstance(mask, dict):  # as a function of the module's own tree
        flags = [mask[name] for name in sorted(mask)]
        mask = lambda tree: jax.tree.structure(tree).unflatten(flags)
    optimizer = nnx.Optimizer(model, method(mask), wrt=nnx.Param)
    value_fn = lambda state: loss({name: state[name][...] for name in PARAMS})

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, None, value_fn=value_fn)

    for _ in range(STEPS):
        step(model, optimizer)
    return {name: getattr(model, name)[...] for name in PARAMS}, nnx.state(optimizer)


def through_train_state(mask):
    """`apply_gradients` has no way to hand `value_fn` on, so its two lines are the user's."""
    state = TrainState.create(apply_fn=None, params=PARAMS, tx=method(mask))

    @jax.jit
    def step(state):
        updates, after = state.tx.update(None, state.opt_state, state.params, value_fn=loss)
        params = optax.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, opt_state=after)

    for _ in range(STEPS):
        state = step(state)
    assert int(state.step) == STEPS
    return state.params, state.opt_state


ROWS: dict[str, Callable[[Any], Any]] = {
    "chain": through_chain,
    "named_chain": through_named_chain,
    "inject_hyperparams": through_inject_hyperparams,
    "partition": through_partition,
    "nnx.Optimizer": through_nnx_optimizer,
    "TrainState": through_train_state,
}


@pytest.mark.each_value
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_wrapper_changes_nothing(row, mask):
    params, state = row(mask)
    expected, plain = by_updates(method(mask))
    trained = {"kernel", "bias"} if mask is MASKS["floats"] else {"kernel"}
    for name, leaf in PARAMS.items():
        assert params[name].dtype == leaf.dtype
        if name in trained:
            assert np.array_equal(params[name], leaf) is False
            np.testing.assert_allclose(params[name], expected[name], rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(params[name], leaf)
    if row is through_nnx_optimizer:  # whose state is a module of its own
        return
    found, own = (optax.tree.get(s, "losses") for s in (state, plain))
    # A branch of another optimiser adds a constant to the loss.
    np.testing.assert_allclose(found - found.mean(), own - own.mean(), rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_schedule_free_averages_the_masked_optimiser(mask):
    """Two steps by hand: z takes the steps, x averages them, y is where the losses are taken."""
    free = optax.contrib.schedule_free(method(None), RATE, b1=0.9)
    tx = loren_jax.trained(free, mask)
    params, state = by_updates(tx)
    trained = {"kernel", "bias"} if mask is MASKS["floats"] else {"kernel"}
    for name, leaf in PARAMS.items():
        assert np.array_equal(params[name], leaf) == (name not in trained)
    assert float(loss(params)) < float(loss(PARAMS))
    plain = method(mask)
    y, inner = PARAMS, plain.init(PARAMS)
    x = z = {name: np.asarray(PARAMS[name], np.float64) for name in trained}
    for step in range(1, STEPS + 1):
        updates, inner = plain.update(None, inner, y, value_fn=loss)
        z = {name: z[name] + np.asarray(updates[name], np.float64) for name in trained}
        x = {name: (1 - 1 / step) * x[name] + z[name] / step for name in trained}
        y = PARAMS | {n: jnp.asarray(0.9 * x[n] + 0.1 * z[n], jnp.float32) for n in trained}
    for name in trained:
        np.testing.assert_allclose(params[name], y[name], rtol=1e-4, atol=1e-5)
    assert optax.tree.get(state, "losses").shape == (6, 1)
