"""LOREN against its float64 oracle, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest

import loren_jax
from loren_jax import noise
from loren_jax.directions import rank_one

KNOBS = {"scale": 1e-2, "damping": 0.1, "eta": 1e-2, "nu": 1e-2, "beta": 0.9, "decay": 0.1}
MATRIX = np.cos(np.arange(20.0)).reshape(4, 5)


def optimizer(rank=None):
    return loren_jax.loren(
        KNOBS["eta"],
        num_directions=4,
        perturbation_scale=KNOBS["scale"],
        damping=KNOBS["damping"],
        covariance_learning_rate=KNOBS["nu"],
        momentum=KNOBS["beta"],
        weight_decay=KNOBS["decay"],
    )


def evaluated_directions(state, params):
    """The K directions of the step that `state` is about to take, dense, fan-out x fan-in."""
    inner = state[0]
    keys = noise.fold_all(noise.fold(noise.from_words(inner.key), inner.count), (4,))
    draw = lambda key: rank_one(KNOBS["damping"]).draw(inner.directions, params, key)
    dense = [draw(key)["kernel"].to_dense() for key in keys]
    return np.stack([np.asarray(y, np.float64).T for y in dense])


@pytest.mark.parametrize("steps", [1, 3])
def test_steps_equal_the_oracle(steps):
    """x, momentum and a after one and three steps, to 1e-5."""
    tx, params = optimizer(), {"kernel": jnp.asarray(MATRIX, jnp.float32)}
    state = tx.init(params)
    x, m = MATRIX.T.copy(), np.zeros((5, 4))
    a = np.asarray(optax.tree.get(state, "covariance")["kernel"], np.float64)
    rng = np.random.default_rng(0)
    update = jax.jit(lambda s, p, losses: tx.update(None, s, p, losses=losses))
    for _ in range(steps):
        losses = rng.normal(size=4) * 1e-2 + 3.0
        losses = losses.astype(np.float32)
        y = evaluated_directions(state, params)
        x, a, m = oracles.loren_step(x, a, m, y, losses.astype(np.float64), **KNOBS)
        updates, state = update(state, params, jnp.asarray(losses)[:, None])
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(np.asarray(params["kernel"]).T, x, rtol=1e-5, atol=1e-5)
    learned = optax.tree.get(state, "covariance")["kernel"]
    np.testing.assert_allclose(learned, a, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(np.asarray(optax.tree.get(state, "trace")["kernel"]).T, m, rtol=1e-4)


def test_directions_follow_the_covariance():
    """With a long covariance vector nothing is perturbed along it."""
    tx, params = optimizer(), {"kernel": jnp.asarray(MATRIX, jnp.float32)}
    state = tx.init(params)
    a = np.array([100.0, 0, 0, 0], np.float32)
    state = optax.tree.set(state, covariance={"kernel": jnp.asarray(a)})
    y = evaluated_directions(state, params)
    assert np.abs(y[:, :, 0]).max() < 0.02
    assert np.abs(y[:, :, 1:]).mean() > 0.5


def test_the_learned_covariance_really_moves():
    """The official code's gradient of `a` is below float32's spacing; ours changes every entry."""
    params = {"kernel": jnp.asarray(MATRIX, jnp.float32)}
    tx = loren_jax.loren(1e-3, perturbation_scale=1e-3)
    state = tx.init(params)
    before = optax.tree.get(state, "covariance")["kernel"]
    value_fn = lambda p: 50 * jnp.mean(p["kernel"] ** 2)
    _, state = tx.update(None, state, params, value_fn=value_fn)
    after = optax.tree.get(state, "covariance")["kernel"]
    assert (np.asarray(before) != np.asarray(after)).all()


def test_a_covariance_learning_rate_of_zero_keeps_the_start_to_the_bit():
    params = {"kernel": jnp.asarray(MATRIX, jnp.float32)}
    losses = jnp.arange(6.0)[:, None]
    for rate, moves in ((1e-3, True), (0.0, False)):
        tx = loren_jax.loren(1e-3, covariance_learning_rate=rate)
        state = tx.init(params)
        _, after = jax.jit(lambda s, tx=tx: tx.update(None, s, params, losses=losses))(state)
        before, learned = (optax.tree.get(s, "covariance")["kernel"] for s in (state, after))
        assert ((np.asarray(before) != np.asarray(learned)) == moves).all()
