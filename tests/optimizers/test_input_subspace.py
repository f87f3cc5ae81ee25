"""Descent along given fan-in vectors, against its formula in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest

import loren_jax
from loren_jax import noise
from loren_jax.directions import spanned
from loren_jax.evaluation import materialised

PARAMS = {"bias": jnp.zeros(3), "kernel": jnp.zeros((2, 5, 3))}
FACTORS = {"kernel": np.cos(np.arange(20.0)).reshape(2, 5, 2).astype(np.float32)}


@pytest.mark.parametrize("knobs", [{}, {"momentum": 0.9, "weight_decay": 0.1}], ids=["", "all"])
def test_steps_equal_the_formula(knobs):
    tx = loren_jax.input_subspace(0.01, FACTORS, perturbation_scale=1e-2, **knobs)
    params, state = jax.tree.map(lambda x: x + 1.0, PARAMS), tx.init(PARAMS)
    x = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    m = jax.tree.map(np.zeros_like, x)
    update = jax.jit(lambda s, p, losses: tx.update(None, s, p, losses=losses))
    for losses in np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32):
        inner = state[0]
        keys = noise.fold_all(noise.fold(noise.from_words(inner.key), inner.count), (6,))
        drawn = [spanned(FACTORS).draw(inner.directions, params, key) for key in keys]
        c = oracles.leave_one_out(losses.astype(np.float64)) / 1e-2
        for name in x:
            y = np.stack([np.asarray(d[name].to_dense(), np.float64) for d in drawn])
            m[name] = knobs.get("momentum", 0.0) * m[name] + np.tensordot(c, y, 1)
            x[name] = x[name] - 0.01 * (m[name] + knobs.get("weight_decay", 0.0) * x[name])
        updates, state = update(state, params, jnp.asarray(losses)[:, None])
        params = optax.apply_updates(params, updates)
    for name in x:
        np.testing.assert_allclose(params[name], x[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [None, 1])
def test_it_moves_within_the_span(rank):
    """Lazy and materialised steps agree, the loss falls, the rest of the kernel stands still."""
    x = jnp.asarray(np.sin(np.arange(40.0)).reshape(8, 5), jnp.float32)
    loss = lambda params: jnp.mean(jnp.square(x @ params["kernel"][0] + params["bias"][None] - 1))
    ends = []
    for evaluation in (None, materialised):
        tx = loren_jax.input_subspace(0.02, FACTORS, rank=rank, evaluation=evaluation)
        step = jax.jit(lambda p, s, tx=tx: tx.update(None, s, p, value_fn=loss))
        params, state = PARAMS, tx.init(PARAMS)
        for _ in range(40):
            updates, state = step(params, state)
            params = jax.tree.map(jnp.add, params, updates)
        ends.append(params)
    lazy, copies = ends
    np.testing.assert_allclose(lazy["kernel"], copies["kernel"], atol=2e-3)
    assert loss(lazy) < 0.7 * loss(PARAMS)
    first = FACTORS["kernel"][0]
    outside = np.eye(5) - first @ np.linalg.pinv(first)
    assert np.abs(outside @ np.asarray(lazy["kernel"][0])).max() < 1e-5


def test_factors_of_no_leaf_are_refused():
    with pytest.raises(ValueError, match="'body/kernel', none of which is trained"):
        loren_jax.input_subspace(0.1, {"body/kernel": np.ones((5, 2))}).init(PARAMS)
