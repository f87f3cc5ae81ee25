"""States go through whatever writes arrays: their random keys are numbers."""

import io
import pickle

import equinox as eqx
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax.training.train_state import TrainState
from methods import METHODS

import loren_jax
from loren_jax.transforms import stochastic_rounding

PARAMS = {"w": jnp.ones((3, 4)), "b": jnp.ones(4)}
NAMES = [n for n in METHODS if " " not in n]


def loss(params):
    return jnp.sum((params["w"] - 2.0) ** 2) + jnp.sum(params["b"] ** 2)


def build(name):
    row = METHODS[name]
    knobs = dict(row.knobs)
    return row.make(knobs.pop("learning_rate", row.learning_rate), **knobs)


def by_flax(state, tmp_path):
    return flax.serialization.from_bytes(state, flax.serialization.to_bytes(state))


def by_flax_dicts(state, tmp_path):
    return flax.serialization.from_state_dict(state, flax.serialization.to_state_dict(state))


def by_equinox(state, tmp_path):
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, state)
    file.seek(0)
    return eqx.tree_deserialise_leaves(file, state)


def by_orbax(state, tmp_path):
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(tmp_path / "state", state)


def by_numpy(state, tmp_path):
    leaves, treedef = jax.tree.flatten(state)
    np.savez(tmp_path / "state.npz", *map(np.asarray, leaves))
    with np.load(tmp_path / "state.npz") as file:
        return treedef.unflatten([jnp.asarray(file[name]) for name in file.files])


def by_pickle(state, tmp_path):
    return pickle.loads(pickle.dumps(state))


WRITERS = [by_flax, by_flax_dicts, by_equinox, by_orbax, by_numpy, by_pickle]


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("name", NAMES)
def test_a_state_comes_back(name, write, tmp_path):
    optimizer = build(name)
    state = optimizer.init(PARAMS)
    again = write(state, tmp_path)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    assert_equal(again, state)


@pytest.mark.parametrize("write", WRITERS)
def test_a_run_goes_on_from_it(write, tmp_path):
    optimizer = loren_jax.loren(0.1, momentum=0.9)
    step = jax.jit(lambda s: optimizer.update(None, s, PARAMS, value_fn=loss))
    _, state = step(optimizer.init(PARAMS))
    expected, _ = step(state)
    actual, _ = step(write(state, tmp_path))
    assert_equal(actual, expected)


def test_a_train_state_is_written():
    state = TrainState.create(apply_fn=None, params=PARAMS, tx=loren_jax.mezo(0.1))
    again = flax.serialization.from_bytes(state, flax.serialization.to_bytes(state))
    assert_equal(again.opt_state, state.opt_state)


def test_other_transformations_with_keys_are_written(tmp_path):
    tx = optax.chain(loren_jax.loren(1.0).estimate, stochastic_rounding(3))
    state = tx.init(PARAMS)
    assert_equal(by_flax(state, tmp_path), state)
    assert not any(jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in jax.tree.leaves(state))
