"""Optimisers are values: whatever copies or rebuilds one loses none of its forms."""

import copy
import functools
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from methods import METHODS

import loren_jax
from loren_jax.transformation import Update, ZerothOrder, form

PARAMS = {"w": jnp.ones((4, 3)), "b": jnp.ones(3)}
FORMS = ("ask", "accumulate", "apply")

WAYS = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "tree.map": lambda tx: jax.tree.map(lambda x: x, tx),
    "flatten": lambda tx: jax.tree.unflatten(jax.tree.structure(tx), jax.tree.leaves(tx)),
    "rebuilt": lambda tx: type(tx)(*tx),
    "_replace": lambda tx: tx._replace(init=tx.init),
    "_make": lambda tx: type(tx)._make(tx),
    "partition": lambda tx: eqx.combine(*eqx.partition(tx, eqx.is_array)),
    "with extra args": optax.with_extra_args_support,
}
OPTIMIZERS = {
    **{
        name: functools.partial(row.make, row.learning_rate, **row.knobs)
        for name, row in METHODS.items()
        if " " not in name and "learning_rate" not in row.knobs
    },
    "an estimate": lambda: loren_jax.loren(1.0).estimate,
    "masked": lambda: loren_jax.trained(loren_jax.loren(0.1), lambda path: path == "w"),
}


def loss(params):
    return jnp.sum((params["w"] - 2.0) ** 2) + jnp.sum(params["b"] ** 2)


def step(tx):
    sources = {"value_fn": loss, "full_value_fn": loss}
    return tx.update(None, tx.init(PARAMS), PARAMS, **sources)[0]


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_form_survives_every_way(make):
    optimizer = make()
    assert isinstance(optimizer, ZerothOrder)
    for way in WAYS.values():
        other = way(optimizer)
        assert isinstance(other, optax.GradientTransformationExtraArgs)
        for name in FORMS:
            assert (form(other, name) is None) == (form(optimizer, name) is None)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_copy_takes_the_same_step(way):
    optimizer = loren_jax.loren(0.1, momentum=None)
    expected, actual = step(optimizer), step(way(optimizer))
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


def test_the_step_in_place_is_not_lost():
    optimizer = copy.deepcopy(loren_jax.mezo(0.1))
    moved, _ = loren_jax.train_step(loss, optimizer)(
        jax.tree.map(jnp.copy, PARAMS), optimizer.init(PARAMS)
    )
    expected = optax.apply_updates(PARAMS, step(optimizer))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), moved, expected)


def test_an_argument_of_a_compiled_step_of_equinox():
    optimizer = loren_jax.loren(0.1, momentum=None)

    @eqx.filter_jit
    def take(optimizer, params, state):
        updates, state = optimizer.update(None, state, params, value_fn=loss)
        return eqx.apply_updates(params, updates), state

    params, state = take(optimizer, PARAMS, optimizer.init(PARAMS))
    assert float(loss(params)) != float(loss(PARAMS))
    take(optimizer, params, state)


def nothing(params):
    """An `init` that can be pickled."""
    return ()


def unchanged(updates, state, params=None, **extra):
    """An `update` that can be pickled."""
    return updates, state


def test_pickling_where_the_parts_can_be():
    optimizer = ZerothOrder(nothing, Update(unchanged, ask=nothing, apply=unchanged))
    again = pickle.loads(pickle.dumps(optimizer))
    assert again.ask is nothing
    assert again.apply is unchanged
    assert again.update.function is unchanged


def test_optax_takes_it_for_one_of_its_own():
    assert isinstance(optax.chain(loren_jax.mezo(0.1)), optax.GradientTransformationExtraArgs)
    init, update = loren_jax.mezo(0.1)
    assert callable(init)
    assert callable(update)
