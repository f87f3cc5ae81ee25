"""MeZO-BCD against SPSA on one block, written out in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax.optimizers import mezo_bcd

SCALE, ETA, K = 1e-2, 0.05, 2
PARAMS = {
    "embedding": jnp.cos(jnp.arange(12.0)).reshape(4, 3),
    "layers": {"kernel": jnp.sin(jnp.arange(27.0)).reshape(3, 3, 3)},
    "norm": jnp.ones(3),
}
SETTINGS = {"order": "ascending", "num_directions": K, "perturbation_scale": SCALE}


def loss(params):
    x = params["embedding"] * params["norm"][None, :]
    x, _ = jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), x.sum()), x, params["layers"]["kernel"])
    return jnp.mean((x - 1) ** 2)


@functools.partial(jax.jit, static_argnums=0)
def _asked(tx, state, params):
    return [[tx.ask(params, state, k, point) for point in (0, 1)] for k in range(K)]


def evaluated(tx, state, params):
    """The K directions of the coming step, dense: from the points that are asked for."""
    at = _asked(tx, state, params)
    along = lambda plus, minus: (np.float64(plus) - np.float64(minus)) / (2 * SCALE)
    return [jax.tree.map(along, plus, minus) for plus, minus in at]


@pytest.mark.parametrize("steps", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 6))])
def test_steps_equal_the_oracle(steps):
    """Five blocks: one step, three, and six, which begin the second cycle; to 1e-4."""
    tx, params = mezo_bcd(ETA, **SETTINGS), PARAMS
    state = tx.init(params)
    x = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    rng = np.random.default_rng(0)
    update = jax.jit(lambda s, p, losses: tx.update(None, s, p, losses=losses))
    for _ in range(steps):
        losses = (3 + 1e-2 * rng.normal(size=(K, 2))).astype(np.float32)
        directions = evaluated(tx, state, params)
        for (plus, minus), u in zip(losses.astype(np.float64), directions, strict=True):
            step = ETA * (plus - minus) / (2 * SCALE * K)
            x = jax.tree.map(lambda leaf, u, step=step: leaf - step * u, x, u)
        updates, state = update(state, params, jnp.asarray(losses))
        params = optax.apply_updates(params, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), params, x)


@pytest.mark.parametrize("rank", [None, 1])
def test_evaluations_equal_the_materialised_ones_for_every_block(rank):
    make = lambda **knobs: mezo_bcd(ETA, **SETTINGS, rank=rank, **knobs)
    lazy, oracle = make(), make(evaluation=loren_jax.evaluation.materialised)
    state, step = lazy.init(PARAMS), {}
    for name, tx in (("lazy", lazy), ("oracle", oracle)):
        step[name] = jax.jit(lambda s, tx=tx: tx.update(None, s, PARAMS, value_fn=loss)[1])
    for _ in range(5):
        got, expected = (optax.tree.get(step[n](state), "losses") for n in ("lazy", "oracle"))
        np.testing.assert_allclose(got, expected, rtol=1e-5)
        state = step["lazy"](state)


def test_the_fused_step_moves_the_same():
    tx = mezo_bcd(ETA, **SETTINGS)
    fused = loren_jax.train_step(lambda params: loss(params), tx)
    params, state = jax.tree.map(jnp.copy, PARAMS), tx.init(PARAMS)
    twin, twin_state = PARAMS, tx.init(PARAMS)
    update = jax.jit(lambda s, p: tx.update(None, s, p, value_fn=loss))
    for _ in range(5):
        params, state = fused(params, state)
        updates, twin_state = update(twin_state, twin)
        twin = optax.apply_updates(twin, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), params, twin)


def test_one_program_serves_every_block():
    traces = []

    def counted(params):
        traces.append(0)
        return loss(params)

    tx = mezo_bcd(ETA, **SETTINGS)
    step = jax.jit(lambda s, p: tx.update(None, s, p, value_fn=counted))
    state = tx.init(PARAMS)
    step(state, PARAMS)
    number = len(traces)
    for _ in range(6):
        _, state = step(state, PARAMS)
    assert len(traces) == number


def test_an_inactive_block_costs_no_copy():
    """In place, beside two activations and a block: not the parameters, nor a stack of layers."""
    layers, width = 64, 128
    params = {"layers": {"kernel": jnp.zeros((layers, width, width))}, "norm": jnp.ones(width)}
    deep = lambda p: jnp.mean(
        jax.lax.scan(
            lambda x, w: (jnp.tanh(x @ w), None), p["norm"][None, :], p["layers"]["kernel"]
        )[0]
    )
    tx = mezo_bcd(1e-3)
    step = loren_jax.train_step(deep, tx)
    memory = step.lower(params, tx.init(params)).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 0.15 * 4 * layers * width**2
