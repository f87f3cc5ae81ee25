"""MeZO-Adam against its float64 oracle, step by step, and what its state holds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles_adaptive
import pytest

import loren_jax
from loren_jax import noise
from loren_jax.directions import isotropic
from loren_jax.optimizers import mezo_adam
from loren_jax.parts import trained

KNOBS = {"eta": 1e-2, "b1": 0.9, "b2": 0.99, "eps": 1e-3, "decay": 0.1}
PARAMS = {"kernel": jnp.cos(jnp.arange(20.0)).reshape(4, 5), "bias": jnp.ones(5)}


def optimizer(**knobs):
    return mezo_adam(
        KNOBS["eta"],
        num_directions=2,
        perturbation_scale=1e-2,
        b1=KNOBS["b1"],
        b2=KNOBS["b2"],
        eps=KNOBS["eps"],
        weight_decay=KNOBS["decay"],
        **knobs,
    )


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_equal_the_oracle(steps):
    tx, params = optimizer(), PARAMS
    state = tx.init(params)
    x = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    m, v = ({name: np.zeros_like(leaf) for name, leaf in x.items()} for _ in range(2))
    update = jax.jit(lambda s, p, losses: tx.update(None, s, p, losses=losses))
    rng = np.random.default_rng(0)
    for t in range(steps):
        losses = (3.0 + rng.normal(size=(2, 2)) * 1e-2).astype(np.float32)
        keys = noise.fold_all(noise.fold(noise.from_words(state[0].key), state[0].count), (2,))
        drawn = [isotropic().draw((), params, key) for key in keys]
        for name in x:
            u = [np.asarray(d[name].to_dense(), np.float64) for d in drawn]
            gradient = oracles_adaptive.spsa(u, losses.astype(np.float64), 1e-2)
            x[name], m[name], v[name] = oracles_adaptive.adam_step(
                x[name], m[name], v[name], t + 1, gradient, **KNOBS
            )
        updates, state = update(state, params, jnp.asarray(losses))
        params = optax.apply_updates(params, updates)
    for name in x:
        np.testing.assert_allclose(params[name], x[name], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(optax.tree.get(state, "mu")[name], m[name], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(optax.tree.get(state, "nu")[name], v[name], rtol=1e-4, atol=1e-6)


def test_moments_of_bfloat16_parameters_are_float32_and_decay():
    half = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    tx = optimizer()
    state = tx.init(half)
    same = jax.jit(lambda s, losses: tx.update(None, s, half, losses=losses))
    _, state = same(state, jnp.asarray([[1.1, 0.9], [1.0, 1.0]]))
    first = optax.tree.get(state, "nu")["kernel"]
    updates, state = same(state, jnp.ones((2, 2)))
    second = optax.tree.get(state, "nu")["kernel"]
    assert first.dtype == updates["kernel"].dtype == jnp.float32
    np.testing.assert_allclose(second, 0.99 * first, rtol=1e-6)


def test_frozen_leaves_have_no_moments_and_no_updates():
    tx = trained(optimizer(), lambda path: path == "bias")
    state = tx.init(PARAMS)
    assert sum(x.size for x in jax.tree.leaves(state) if x.size > 4) == 2 * 5
    updates, _ = tx.update(None, state, PARAMS, losses=jnp.asarray([[1.1, 0.9], [1.0, 1.0]]))
    assert (updates["bias"] != 0).all()
    np.testing.assert_array_equal(updates["kernel"], np.zeros((4, 5)))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"b1": 1.0}, "b1 must be at least 0 and below 1"),
        ({"b2": -0.1}, "b2 must be at least 0 and below 1"),
        ({"eps": -1.0}, "eps must be positive"),
        ({"weight_decay": -1.0}, "weight_decay must be zero or more"),
    ],
)
def test_bad_knobs_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        mezo_adam(0.1, **kwargs)


def test_is_optax_adam_on_the_estimate():
    """The same losses through a chain of parts: one and the same path."""
    parts = optax.chain(
        loren_jax.estimate(
            isotropic(), loren_jax.schemes.two_sided(), num_directions=2, perturbation_scale=1e-2
        ),
        optax.adamw(1e-2, 0.9, 0.99, 1e-3, weight_decay=0.1),
    )
    losses = jnp.asarray([[1.1, 0.9], [1.0, 1.2]])
    both = [
        tx.update(None, tx.init(PARAMS), PARAMS, losses=losses)[0] for tx in (optimizer(), parts)
    ]
    for name in PARAMS:
        np.testing.assert_allclose(both[0][name], both[1][name], rtol=1e-6)
