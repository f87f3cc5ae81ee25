"""Momentum, decay and learning rate: the formula, the mask, the errors."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax.transforms import chain, descend, in_float32

PARAMS = {"a": jnp.asarray([1.0, 2.0]), "b": jnp.asarray([3.0])}
GRADIENT = {"a": jnp.asarray([0.5, -1.0]), "b": jnp.asarray([2.0])}


def test_three_steps_of_the_formula():
    tx = descend(0.1, momentum=0.9, weight_decay=0.01)
    state, momentum = tx.init(PARAMS), 0.0
    for _ in range(3):
        updates, state = tx.update(GRADIENT, state, PARAMS)
        momentum = 0.9 * momentum + np.asarray(GRADIENT["a"])
        expected = -0.1 * (momentum + 0.01 * np.asarray(PARAMS["a"]))
        np.testing.assert_allclose(updates["a"], expected, rtol=1e-6)


def test_without_momentum_there_is_no_buffer():
    floats = lambda tx: [x for x in jax.tree.leaves(tx.init(PARAMS)) if x.size > 1]
    assert not floats(descend(0.1))
    assert floats(descend(0.1, momentum=0.9))


def test_momentum_is_float32_for_low_precision_parameters():
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    state = descend(0.1, momentum=0.9).init(params)
    assert {x.dtype for x in jax.tree.leaves(state) if x.ndim} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_decay_of_narrow_parameters_is_rounded_with_the_step(momentum):
    """Alone, one of less than half a spacing of bfloat16 would be lost in every step."""
    optimizer = loren_jax.mezo(1e-2, weight_decay=0.1, momentum=momentum)
    loss = lambda x: 0.01 * jnp.sum(jnp.sin(9 * x.astype(jnp.float32)))
    step, params = loren_jax.train_step(loss, optimizer), jnp.ones(500, jnp.bfloat16)
    state = optimizer.init(params)
    for _ in range(400):
        params, state = step(params, state)
    assert params.dtype == jnp.bfloat16
    np.testing.assert_allclose(jnp.mean(params.astype(jnp.float32)), 0.999**400, atol=0.12)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_an_estimate_beyond_float16_is_no_infinite_step(momentum):
    params, losses = jnp.ones(3, jnp.float16), jnp.asarray([[700.0, 300.0]])
    optimizer = loren_jax.mezo(1e-6, momentum=momentum)
    updates, _ = optimizer.update(None, optimizer.init(params), params, losses=losses)
    moved, wide = optax.apply_updates(params, updates), params.astype(jnp.float32)
    assert moved.dtype == jnp.float16
    expected, _ = optimizer.update(None, optimizer.init(wide), wide, losses=losses)
    bound = 1e-6 * float(jnp.finfo(jnp.float16).max)
    np.testing.assert_allclose(updates, jnp.clip(expected, -bound, bound), rtol=3e-2)


RATE = {
    "number": 0.05,
    "schedule": optax.linear_schedule(0.05, 0.01, 4),
    "array": jnp.float32(0.05),
}
DECAY = {"none": 0.0, "number": 0.1, "schedule": optax.linear_schedule(0.1, 0.0, 3)}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("decay", DECAY)
@pytest.mark.parametrize("rate", RATE)
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_updates_and_state_have_the_bits_of_optax(momentum, rate, decay, dtype):
    """Of its own chain, eagerly, as a compiler may contract what is written otherwise."""
    tx = descend(RATE[rate], momentum=momentum, weight_decay=DECAY[decay])
    optax_chain = optax.chain(
        *([in_float32(optax.trace(momentum))] if momentum else []),
        *([] if decay == "none" else [optax.add_decayed_weights(DECAY[decay])]),
        optax.scale_by_learning_rate(RATE[rate]),
    )
    cast = lambda tree: jax.tree.map(lambda x: x.astype(dtype), tree)
    params, gradient = cast(PARAMS), cast(GRADIENT)
    state, expected_state = tx.init(params), optax_chain.init(params)
    for _ in range(3):
        updates, state = tx.update(gradient, state, params)
        expected, expected_state = optax_chain.update(gradient, expected_state, params)
        chex.assert_trees_all_equal((updates, state), (expected, expected_state), strict=True)
        params = optax.apply_updates(params, updates)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_decay_takes_a_schedule_in_place_too(momentum):
    after = descend(0.1, momentum=momentum, weight_decay=optax.linear_schedule(0.5, 0.0, 2))
    optimizer = chain(loren_jax.mezo(1.0).estimate, after)
    losses = jnp.asarray([[0.1, -0.1]])
    ours = theirs = PARAMS
    state = their_state = optimizer.init(PARAMS)
    for _ in range(3):
        ours, state = optimizer.apply(ours, state, losses=losses)
        updates, their_state = optimizer.update(None, their_state, theirs, losses=losses)
        theirs = optax.apply_updates(theirs, updates)
    chex.assert_trees_all_close((ours, state), (theirs, their_state), rtol=1e-5)
    assert int(state[1][-2].count) == 3


def test_decay_needs_the_parameters():
    tx = descend(0.1, weight_decay=0.1)
    with pytest.raises(ValueError, match="params is None, but they decay"):
        tx.update(GRADIENT, tx.init(PARAMS))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": -1e-3}, "learning_rate must be positive"),
        ({"learning_rate": float("inf")}, "learning_rate must be positive"),
        ({"learning_rate": 0.1, "momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"learning_rate": 0.1, "weight_decay": -0.1}, "weight_decay must be zero or more"),
    ],
)
def test_bad_knobs_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        descend(**kwargs)
