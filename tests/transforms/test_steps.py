"""The fused step equals Optax's, state and all, and holds one matrix where that holds a tree."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from methods import PARAMS, loss

import loren_jax
from loren_jax.directions import sampling

KNOBS = {
    "momentum": {},
    "plain": {"momentum": None},
    "decay": {"momentum": None, "weight_decay": 0.1, "rank": 1},
    "masked": {"mask": lambda path: "kernel" in path, "weight_decay": 0.1},
    "masked, plain": {"mask": lambda path: "kernel" in path, "momentum": None},
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS)
def test_equals_update_and_apply_updates(knobs, dtype, monkeypatch):
    """Three steps, to rounding, with a schedule; the states can replace each other."""
    monkeypatch.setattr(sampling, "SMALL", 0)
    optimizer = loren_jax.loren(optax.linear_schedule(0.02, 0.01, 5), **knobs)
    step = loren_jax.train_step(loss, optimizer)

    @jax.jit
    def reference(params, state):
        updates, state = optimizer.update(None, state, params, value_fn=loss)
        return optax.apply_updates(params, updates), state

    cast = lambda: jax.tree.map(lambda x: jnp.array(x, dtype), PARAMS)
    ours, theirs = cast(), cast()
    state, their_state = optimizer.init(ours), optimizer.init(theirs)
    for _ in range(3 if dtype == jnp.float32 else 1):
        ours, state = step(ours, state)
        theirs, their_state = reference(theirs, their_state)
    numbers = lambda *trees: jax.tree.leaves(optax.tree.unwrap_random_key_data(trees))
    assert jax.tree.structure(state) == jax.tree.structure(their_state)
    tolerance = 2e-4 if dtype == jnp.float32 else 2e-2
    for a, b in zip(numbers(ours, state), numbers(theirs, their_state), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(
            a.astype(np.float32), b.astype(np.float32), rtol=tolerance, atol=tolerance
        )


def test_donated_trees_are_gone():
    optimizer = loren_jax.mezo(0.1)
    params = {"w": jnp.ones((3, 3))}
    state = optimizer.init(params)
    loren_jax.train_step(lambda p: jnp.sum(p["w"] ** 2), optimizer)(params, state)
    assert params["w"].is_deleted()


def test_other_optimizers_go_through_update():
    optimizer = optax.chain(loren_jax.scale_by_loren(), optax.scale(-0.1))
    params = {"w": jnp.ones((3, 3))}
    state = optimizer.init(params)
    step = loren_jax.train_step(lambda p, x: jnp.sum(p["w"] ** 2 * x), optimizer)
    after, state = step(params, state, jnp.asarray(1.0))
    assert not np.array_equal(after["w"], np.ones((3, 3)))


@pytest.mark.parametrize(("rank", "matrices"), [(1, 1.2), (None, 4.1)])
def test_memory_beside_the_donated_trees(rank, matrices):
    """Bare forward's and 1.2 matrices for rank 1, 4 for full Gaussian noise, never a stack."""
    layers, width = 6, 512
    params = {"layers": {"kernel": jnp.zeros((layers, width, width))}}
    x = jnp.ones((4, width))

    def deep(params):
        layer = lambda h, p: (jnp.tanh(h @ p), None)
        return jnp.mean(jax.lax.scan(layer, x, params["layers"]["kernel"])[0])

    temporary = lambda compiled: compiled.memory_analysis().temp_size_in_bytes
    bare = temporary(jax.jit(deep).lower(params).compile())
    optimizer = loren_jax.loren(1e-3, rank=rank, momentum=None, chunk_size=1)
    step = loren_jax.train_step(deep, optimizer)
    held = temporary(step.lower(params, optimizer.init(params)).compile()) - bare
    assert held < matrices * 4 * width**2


PAIR = {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}
PAIR_LOSS = lambda params: jnp.sum(params["w"] ** 2) + jnp.sum(params["b"] ** 2)


# As a user has it: the tests' check of annotations would speak first.
UNCHECKED = inspect.unwrap(loren_jax.train_step)


def test_arguments_the_wrong_way_round():
    with pytest.raises(TypeError, match=r"loss is an optimiser: .*train_step\(loss, optimizer\)"):
        UNCHECKED(loren_jax.loren(0.1), PAIR_LOSS)


def test_a_loss_that_is_no_function():
    with pytest.raises(TypeError, match="loss must be a function"):
        UNCHECKED(PAIR_LOSS(PAIR), loren_jax.loren(0.1))


@pytest.mark.parametrize("optimizer", [0.1, loren_jax.loren, None])
def test_an_optimizer_that_is_none(optimizer):
    with pytest.raises(TypeError, match="optimizer must be an Optax transformation, got a"):
        UNCHECKED(PAIR_LOSS, optimizer)


@pytest.mark.parametrize("optimizer", [optax.adam(1e-3), optax.sgd(0.1, momentum=0.9)])
def test_an_optimizer_that_needs_a_gradient(optimizer):
    step = loren_jax.train_step(PAIR_LOSS, optimizer)
    with pytest.raises(TypeError, match="optimizer has no zeroth-order estimate in it"):
        step(jax.tree.map(jnp.copy, PAIR), optimizer.init(PAIR))


def test_one_array_in_two_leaves():
    shared = jnp.ones(3)
    params = {"in": shared, "out": shared}
    optimizer = loren_jax.mezo(0.1)
    step = loren_jax.train_step(lambda p: jnp.sum(p["in"] * p["out"]), optimizer)
    with pytest.raises(ValueError, match=r"leaves 'in' and 'out' are one array.*jnp.copy"):
        step(params, optimizer.init(params))


def test_arrays_of_an_earlier_step():
    optimizer = loren_jax.mezo(0.1)
    step = loren_jax.train_step(PAIR_LOSS, optimizer)
    params, state = jax.tree.map(jnp.copy, PAIR), optimizer.init(PAIR)
    step(params, state)
    with pytest.raises(ValueError, match="params: the array of leaf 'b' has been deleted"):
        step(params, optimizer.init(PAIR))


def test_a_step_can_be_lowered():
    optimizer = loren_jax.mezo(0.1)
    lowered = loren_jax.train_step(PAIR_LOSS, optimizer).lower(PAIR, optimizer.init(PAIR))
    assert lowered.compile().memory_analysis() is not None
