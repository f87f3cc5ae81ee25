"""Weight decay towards the start, around any optimiser."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax import journal
from loren_jax.journal import Session
from loren_jax.transforms import anchored, train_step

START = {"kernel": jnp.cos(jnp.arange(12.0)).reshape(4, 3), "codes": jnp.asarray([16777217, 3])}
MASK = lambda path: path == "kernel"
DECAY = 0.2


def loss(params, batch):
    return jnp.mean((batch @ params["kernel"]) ** 2) + jnp.sum(params["codes"]) * 0.0


BATCH = jnp.sin(jnp.arange(8.0)).reshape(2, 4)


def methods():
    make = lambda **knobs: loren_jax.loren(0.05, key=3, **knobs)
    return {"plain": make(), "momentum": make(momentum=0.9), "mezo": loren_jax.mezo(0.05, key=3)}


def updating(optimizer):
    value_fn = lambda params: loss(params, BATCH)
    return jax.jit(functools.partial(optimizer.update, None, value_fn=value_fn))


def by_hand(optimizer, steps):
    """The plain step, and then a part of the way back."""
    inner = loren_jax.trained(optimizer, MASK)
    params, state, step = START, jax.jit(inner.init)(START), updating(inner)
    for _ in range(steps):
        updates, state = step(state, params)
        moved = optax.apply_updates(params, updates)["kernel"]
        back = moved - DECAY * (moved - START["kernel"])
        params = {**params, "kernel": back}
    return params


@pytest.mark.parametrize("name", methods())
def test_every_form_of_a_step_goes_a_part_of_the_way_back(name):
    optimizer = methods()[name]
    wanted = by_hand(optimizer, 4)
    tied = loren_jax.trained(anchored(optimizer, DECAY), MASK)
    start = jax.jit(tied.init)
    params, state, update = START, start(START), updating(tied)
    for _ in range(4):
        updates, state = update(state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["kernel"], wanted["kernel"], rtol=1e-5, atol=2e-6)
    assert params["codes"].tolist() == START["codes"].tolist()
    assert optax.tree.get(state, "losses").shape == optax.tree.get(start(START), "losses").shape
    step = train_step(loss, tied)
    params, state = jax.tree.map(jnp.copy, START), start(START)
    for _ in range(4):
        params, state = step(params, state, BATCH)
    np.testing.assert_allclose(params["kernel"], wanted["kernel"], rtol=1e-5, atol=2e-6)


def test_a_decay_of_zero_changes_nothing():
    optimizer, kernel = loren_jax.loren(0.05, key=3), {"kernel": START["kernel"]}
    sessions = [Session(kernel, tx) for tx in (optimizer, anchored(optimizer, 0.0))]
    for _ in range(3):
        for session in sessions:
            session.tell([float(jnp.sum(x["kernel"] ** 2)) for x in session.ask()])
    one, other = (session.params["kernel"] for session in sessions)
    np.testing.assert_array_equal(one, other)


def test_half_precision_keeps_its_type():
    params = {"kernel": START["kernel"].astype(jnp.bfloat16)}
    tied = anchored(loren_jax.mezo(0.05), DECAY)
    losses = jnp.asarray([[1.0, 2.0]])
    assert tied.apply is not None
    moved, state = tied.apply(params, tied.init(params), losses=losses)
    assert moved["kernel"].dtype == jnp.bfloat16
    assert state.start["kernel"].dtype == jnp.bfloat16


def test_a_journal_has_it_and_older_ones_have_nothing_of_it():
    method = journal.Method("mezo", {"learning_rate": 0.05}, anchored_weight_decay=DECAY)
    assert journal.Method.from_json(method.as_json()) == method
    assert "anchored_weight_decay" not in journal.Method("mezo", {"learning_rate": 1.0}).as_json()
    built, params = method.build(), {"kernel": START["kernel"]}
    assert "start" in built.init(params)._fields


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_what_is_no_share_is_refused(value):
    with pytest.raises(ValueError, match="weight_decay must be at least 0 and below 1"):
        anchored(loren_jax.mezo(0.1), value)


def test_parameters_must_be_given():
    tied = anchored(loren_jax.mezo(0.1), 0.1)
    with pytest.raises(ValueError, match="params is None, but they are pulled"):
        tied.update(None, tied.init(START["kernel"]), losses=jnp.ones((1, 2)))
