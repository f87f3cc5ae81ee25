"""The fused step equals Optax's, state and all, and holds one matrix where that holds a tree."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from methods import METHODS, OF_EACH_KIND, PARAMS, loss

import loren_jax
from loren_jax.directions import sampling

KNOBS = {
    "momentum": {},
    "plain": {"momentum": None},
    "decay": {"momentum": None, "weight_decay": 0.1, "rank": 1},
    "masked": {"weight_decay": 0.1},
    "masked, plain": {"momentum": None},
}


@pytest.mark.each_value
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", KNOBS)
def test_equals_update_and_apply_updates(name, dtype, monkeypatch):
    """Three steps, to rounding, with a schedule; the states can replace each other."""
    monkeypatch.setattr(sampling, "SMALL", 0)
    mask = (lambda path: "kernel" in path) if "masked" in name else None
    whole = loren_jax.loren(optax.linear_schedule(0.02, 0.01, 5), **KNOBS[name])
    optimizer = loren_jax.trained(whole, mask)
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
    optimizer = optax.chain(loren_jax.loren(1.0).estimate, optax.scale(-0.1))
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
    state = optimizer.init(PAIR)
    for use in (step, step.probe, lambda *given: step.absorb(*given, jnp.ones((1, 2)))):
        with pytest.raises(TypeError, match="optimizer has no zeroth-order estimate in it"):
            use(jax.tree.map(jnp.copy, PAIR), state)


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


WRAPPED = {
    "chain": lambda tx: optax.chain(tx, optax.scale(1.0)),
    "named_chain": lambda tx: optax.named_chain(("method", tx)),
    "inject_hyperparams": lambda tx: optax.inject_hyperparams(lambda scale: tx)(scale=1.0),
    "trained around a chain": lambda tx: loren_jax.trained(optax.chain(tx), lambda path: True),
}
COPY = lambda: jax.tree.map(jnp.copy, PAIR)


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_step_in_place_that_got_lost_is_named_once(wrap, recwarn):
    """Of each step, however often it is traced: here for parameters of two dtypes."""
    optimizer = wrap(loren_jax.mezo(0.1))
    for steps in (1, 2):
        step = loren_jax.train_step(PAIR_LOSS, optimizer)
        for dtype in (jnp.float32, jnp.bfloat16, jnp.float32):
            params = jax.tree.map(lambda x, dtype=dtype: x.astype(dtype), COPY())
            step(params, optimizer.init(params))
        assert len(recwarn) == steps
    message = str(recwarn[0].message)
    assert "step in place" in message
    assert "loren_jax.transforms.chain(estimate, ...)" in message
    assert "\n" not in message


@OF_EACH_KIND
def test_methods_themselves_name_nothing(name):
    """Whether they have a step in place or none by nature; warnings are errors in these tests."""
    row = METHODS[name]
    knobs = {"learning_rate": row.learning_rate} | row.knobs
    optimizer = row.make(**knobs)
    step = loren_jax.train_step(loss, optimizer, full_loss=loss)
    state = jax.eval_shape(optimizer.init, PARAMS)
    step.lower(PARAMS, state)
    step.absorb.lower(PARAMS, state, optax.tree.get(state, "losses"))


def test_what_has_no_step_in_place_loses_none_in_a_chain():
    optimizer = optax.chain(loren_jax.mezo_adam(0.1), optax.scale(1.0))
    loren_jax.train_step(PAIR_LOSS, optimizer).lower(PAIR, optimizer.init(PAIR))


@pytest.mark.parametrize("make", [loren_jax.loren, loren_jax.mezo_adam])
def test_probe_and_absorb_are_the_step_in_two(make):
    """The call is to rounding what its parts are, state and all; probe changes nothing."""
    optimizer = make(0.1)
    step = loren_jax.train_step(lambda params, x: PAIR_LOSS(params) * x, optimizer)
    params, state = step(COPY(), optimizer.init(PAIR), 2.0)
    own = COPY()
    losses = step.probe(own, optimizer.init(PAIR), 2.0)
    found, after = step.absorb(own, optimizer.init(PAIR), losses)
    assert own["w"].is_deleted()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), (params, state), (found, after)
    )
    np.testing.assert_array_equal(optax.tree.get(after, "losses"), losses)


def test_absorb_is_the_program_of_a_replay():
    optimizer = loren_jax.loren(0.1)
    step = loren_jax.train_step(PAIR_LOSS, optimizer)
    assert step.absorb is loren_jax.transforms.compiled_absorb(optimizer)


def test_a_step_can_be_lowered():
    optimizer = loren_jax.mezo(0.1)
    lowered = loren_jax.train_step(PAIR_LOSS, optimizer).lower(PAIR, optimizer.init(PAIR))
    assert lowered.compile().memory_analysis() is not None


def test_a_step_that_builds_weights_says_so_once(recwarn):
    params = {"sorted": jnp.ones((600, 600)), "kernel": jnp.ones((600, 600))}
    loss = lambda params, x: jnp.mean(x @ params["kernel"]) + jnp.mean(jnp.sort(params["sorted"]))
    step = loren_jax.train_step(loss, loren_jax.mezo(0.1, rank=1))
    state = loren_jax.mezo(0.1, rank=1).init(params)
    for _ in range(2):
        params, state = step(params, state, jnp.ones((2, 600)))
    (warning,) = [w for w in recwarn if "each query builds" in str(w.message)]
    assert "builds 50% of the parameters" in str(warning.message)
    assert "'sorted' (sort)" in str(warning.message)


@pytest.mark.parametrize("width", [16, 600])
def test_a_step_that_builds_little_is_silent(width, recwarn):
    params = {"sorted": jnp.ones((width, 16)), "kernel": jnp.ones((width, 600))}
    loss = lambda params, x: jnp.mean(x @ params["kernel"]) + jnp.mean(jnp.sort(params["sorted"]))
    optimizer = loren_jax.mezo(0.1, rank=1)
    loren_jax.train_step(loss, optimizer)(params, optimizer.init(params), jnp.ones((2, width)))
    assert not [w for w in recwarn if "each query builds" in str(w.message)]
