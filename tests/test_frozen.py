"""What is not trained stays to the bit, whatever its type, with every method and in any chain."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from methods import EACH, METHODS, STATIC

import loren_jax

FROZEN = {
    "steps": jnp.asarray([16777217, 123456789], jnp.int32),
    "seeds": jnp.asarray([2**32 - 1, 2**31 + 1], jnp.uint32),
    "codes": jnp.asarray([-128, 127, 3], jnp.int8),
    "nibbles": jnp.asarray([-8, 7], jnp.int4),
    "flags": jnp.asarray([True, False]),
    "raw key": jax.random.PRNGKey(3),
    "key": jax.random.key(4),
    "keys": jax.random.split(jax.random.key(5), 3),
    "float0": np.zeros((2,), jax.dtypes.float0),
    "zeros": jnp.asarray([-0.0, 0.0, jnp.inf, jnp.nan]),
    "bfloat16": jnp.asarray([-0.0, 1.0], jnp.bfloat16),
    "float8": jnp.asarray([-0.0, 1.5], jnp.float8_e4m3fn),
    "complex": jnp.asarray([1 + 2j, -0.0]),
    "numpy": np.arange(3),
    "nothing": None,
    "empty": {},
}
PARAMS = {"w": jnp.ones((3, 4)), "b": jnp.ones(4), "frozen": FROZEN}
TRAINED = lambda path: not path.startswith("frozen")
AS_TREE = {"w": True, "b": True, "frozen": jax.tree.map(lambda _: False, FROZEN)}


def loss(params):
    return jnp.sum((params["w"] - 2.0) ** 2) + jnp.sum((params["b"] + 1.0) ** 2)


def bits(leaf):
    if jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return array.dtype, array.shape, array.tobytes()


def assert_frozen(after):
    assert jax.tree.structure(after["frozen"]) == jax.tree.structure(FROZEN)
    for path, before in jax.tree_util.tree_leaves_with_path(FROZEN):
        now = after["frozen"][path[0].key]
        if path[0].key == "numpy":  # of 64 bits, which JAX holds in 32
            now, before = jnp.asarray(now), jnp.asarray(before)
        assert bits(now) == bits(before), path
    assert not np.array_equal(after["w"], PARAMS["w"])


def build(name, mask, injected=False):
    method = METHODS[name]
    knobs = {"perturbation_scale": 1e-2} | method.knobs
    make = method.make
    if injected:
        static = [n for n in inspect.signature(make).parameters if n in STATIC]
        make = optax.inject_hyperparams(make, static_args=static)
    optimizer = make(knobs.pop("learning_rate", method.learning_rate), **knobs)
    return loren_jax.trained(optimizer, mask)


def one_step(optimizer, jit=True):
    def step(params):
        state = optimizer.init(params)
        updates, _ = optimizer.update(None, state, params, value_fn=loss, full_value_fn=loss)
        return optax.apply_updates(params, updates)

    return (jax.jit(step) if jit else step)(PARAMS)


def updated(name):
    return one_step(build(name, TRAINED))


def chained(name):
    """What follows multiplies all updates by a float, and clips them by their norm.

    The mask is the outermost: `inject_hyperparams` looks for a common type of all that it sees.
    """
    optimizer = optax.chain(
        optax.named_chain(
            ("method", build(name, AS_TREE, injected=True)),
            ("clip", optax.clip_by_global_norm(1e-2)),
        ),
        optax.scale(jnp.float32(0.5)),
    )
    return one_step(optimizer)


def in_place(name):
    optimizer = build(name, TRAINED)
    full_loss = loss if name == "mezo_svrg" else None
    step = loren_jax.train_step(loss, optimizer, full_loss=full_loss)
    params = jax.tree.map(lambda x: x.copy(), PARAMS)
    return step(params, jax.jit(optimizer.init)(params))[0]


@pytest.mark.each_value
@pytest.mark.parametrize("step", [updated, chained, in_place])
@EACH
def test_every_method(name, step):
    assert_frozen(step(name))


def test_masked_inside_of_injected_hyperparameters():
    """Of any type that Optax finds a common one with."""
    some = {k: FROZEN[k] for k in ("steps", "seeds", "codes", "flags", "raw key", "bfloat16")}
    params = PARAMS | {"frozen": some}
    masked = lambda learning_rate: loren_jax.trained(loren_jax.mezo(learning_rate), TRAINED)
    optimizer = optax.chain(optax.inject_hyperparams(masked)(0.1), optax.scale(0.5))

    @jax.jit
    def step(params):
        updates, _ = optimizer.update(None, optimizer.init(params), params, value_fn=loss)
        return optax.apply_updates(params, updates)

    after = step(params)
    assert_frozen(after | {"frozen": FROZEN | after["frozen"]})


def test_without_compiling():
    """All but typed keys, which `optax.apply_updates` cannot cast outside of a compiled program."""
    keys = ("key", "keys")
    params = PARAMS | {"frozen": {k: x for k, x in FROZEN.items() if k not in keys}}
    optimizer = loren_jax.trained(loren_jax.mezo(0.1), TRAINED)
    updates, _ = optimizer.update(None, optimizer.init(params), params, value_fn=loss)
    after = optax.apply_updates(params, updates)
    assert_frozen(after | {"frozen": after["frozen"] | {k: FROZEN[k] for k in keys}})


def test_a_frozen_key_has_an_update_of_nothing():
    params = {"w": jnp.ones(3), "key": jax.random.key(0)}
    optimizer = loren_jax.trained(loren_jax.loren(0.1, momentum=None), lambda path: path == "w")
    value_fn = lambda p: jnp.sum(p["w"] ** 2)
    updates, _ = optimizer.update(None, optimizer.init(params), params, value_fn=value_fn)
    assert jax.tree.leaves(updates["key"]) == []
    assert updates["w"].shape == (3,)


def test_codes_cost_no_update():
    params = {"codes": jnp.zeros((64, 64), jnp.int8), "scale": jnp.ones(64)}
    value_fn = lambda p: jnp.sum(p["codes"].astype(jnp.float32) @ p["scale"] + p["scale"])
    optimizer = loren_jax.trained(loren_jax.mezo(0.1), lambda path: path == "scale")
    updates, _ = optimizer.update(None, optimizer.init(params), params, value_fn=value_fn)
    assert sum(x.nbytes for x in jax.tree.leaves(updates)) == 4 * 64


def test_the_noise_of_the_others_is_the_same():
    whole = {"w": PARAMS["w"], "b": PARAMS["b"]}
    losses = jnp.asarray([[1.0, 0.0]])
    plain = loren_jax.mezo(0.1)
    some = loren_jax.trained(loren_jax.mezo(0.1), lambda path: path == "b")
    expected, _ = plain.update(None, plain.init(whole), whole, losses=losses)
    updates, _ = some.update(None, some.init(whole), whole, losses=losses)
    np.testing.assert_array_equal(updates["b"], expected["b"])
    np.testing.assert_array_equal(updates["w"], np.zeros((3, 4)))


def test_a_mask_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="mask leaves no trainable leaf"):
        loren_jax.trained(loren_jax.mezo(0.1), lambda path: False).init(PARAMS)


def test_frozen_leaves_have_no_state_and_no_decay():
    whole = loren_jax.loren(0.1, momentum=0.9, weight_decay=1.0)
    optimizer = loren_jax.trained(whole, lambda path: path == "b")
    state = optimizer.init(PARAMS)
    assert {x.shape for x in jax.tree.leaves(optax.tree.get(state, "trace"))} == {(4,)}
    losses = jnp.zeros((6, 1))
    updates, _ = optimizer.update(None, state, PARAMS, losses=losses)
    np.testing.assert_array_equal(updates["w"], np.zeros((3, 4)))
    np.testing.assert_allclose(updates["b"], -0.1 * np.ones(4), rtol=1e-6)


def test_any_chain_can_be_restricted_and_asked():
    optimizer = loren_jax.trained(loren_jax.mezo(0.1), TRAINED)
    state = optimizer.init(PARAMS)
    asked = optimizer.ask(PARAMS, state, 0, 1)
    assert_frozen(asked)
    np.testing.assert_allclose(asked["w"], PARAMS["w"], atol=0.1)
