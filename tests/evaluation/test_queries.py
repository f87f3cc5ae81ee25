"""Chunks change memory and time, never the losses."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from loren_jax import noise
from loren_jax.directions import isotropic, sampling
from loren_jax.estimators import estimate
from loren_jax.evaluation import evaluate_queries, materialised
from loren_jax.types import Coefficients, Scheme

PARAMS = {"kernel": jnp.linspace(-1, 1, 35).reshape(7, 5), "bias": jnp.ones(5)}
X = jnp.linspace(0, 1, 21).reshape(3, 7)


def loss(params):
    return jnp.mean(jnp.tanh(X @ params["kernel"] + params["bias"][None, :]) ** 2)


def queries(chunk_size, points=(1.0, -1.0), value_fn=loss, count=5):
    directions = isotropic()
    keys = noise.fold_all(noise.run_key(0), (count,))
    drawn = jax.vmap(lambda key: directions.draw((), PARAMS, key))(keys)
    return lambda params: evaluate_queries(
        value_fn,
        params,
        drawn,
        points=points,
        scale=jnp.asarray(0.1),
        evaluation=materialised,
        chunk_size=chunk_size,
    )


@pytest.mark.parametrize("points", [(1.0,), (1.0, -1.0), (2.0, 0.0, -1.0)])
@pytest.mark.parametrize("chunk_size", [1, 2, 3, 4, 100])
def test_every_chunk_size_gives_the_same_losses(chunk_size, points):
    directions = isotropic()
    losses = jax.jit(queries(chunk_size, points))(PARAMS)
    assert losses.shape == (5, len(points))
    for k, key in enumerate(noise.fold_all(noise.run_key(0), (5,))):
        drawn = directions.draw((), PARAMS, key)
        for s, point in enumerate(points):
            moved = jax.tree.map(
                lambda p, d: p + 0.1 * point * d.to_dense(),  # noqa: B023
                PARAMS,
                drawn,
            )
            np.testing.assert_allclose(losses[k, s], loss(moved), rtol=1e-5)


def test_the_loop_has_the_memory_of_one_query():
    """Temporary bytes: K copies of the parameters at once under vmap, about one in the loop."""
    big = {"kernel": jnp.ones((512, 512)), "bias": jnp.ones(512)}
    x = jnp.ones((2, 512))
    directions = isotropic()

    def temporary(chunk_size):
        def run(params, key):
            keys = noise.fold_all(key, (6,))
            drawn = jax.vmap(lambda key: directions.draw((), params, key))(keys)
            value_fn = lambda p: jnp.mean((x @ p["kernel"] + p["bias"][None, :]) ** 2)
            return evaluate_queries(
                value_fn,
                params,
                drawn,
                points=(1.0,),
                scale=jnp.asarray(1e-3),
                evaluation=materialised,
                chunk_size=chunk_size,
            )

        compiled = jax.jit(run).lower(big, noise.run_key(0)).compile()
        return compiled.memory_analysis().temp_size_in_bytes / 512**2 / 4

    assert temporary(1) < 3
    assert temporary(6) > 6


@pytest.mark.parametrize("chunk_size", [1, 2, 10])
def test_the_loss_is_traced_once_or_twice(chunk_size):
    """A chunk that does not divide K costs a second trace of the remainder, never more."""
    traced = chex.assert_max_traces(loss, n=2 if chunk_size == 2 else 1)
    jax.jit(queries(chunk_size, value_fn=lambda p: traced(p)))(PARAMS)
    chex.clear_trace_counter()


@pytest.mark.parametrize("tree", [dict, nnx.State])
@pytest.mark.parametrize(("rank", "points", "at_once"), [(1, 2, 6), (None, 2, 2), (None, 1, 1)])
def test_how_many_run_at_once_by_default(tree, rank, points, at_once, monkeypatch):
    """All of low-rank directions; of noise drawn on demand those of one direction."""
    monkeypatch.setattr(sampling, "SMALL", 0)
    seen = []

    def note(value):
        seen.append(np.size(value))
        return np.asarray(value, np.float32)

    def value_fn(p):
        loss = jnp.sum(jnp.ones(64) @ p["kernel"][...])
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(note, shape, loss, vmap_method="broadcast_all")

    kernel = jnp.ones((64, 64))
    params = {"kernel": kernel} if tree is dict else nnx.State({"kernel": nnx.Param(kernel)})
    tx = estimate(
        isotropic(rank), Scheme((1.0, -1.0)[:points], _no_weights), num_directions=3
    )  # fmt: skip
    jax.block_until_ready(tx.update(None, tx.init(params), params, value_fn=value_fn))
    assert set(seen) == {at_once}


def _no_weights(losses, scale):
    return Coefficients(jnp.zeros(len(losses)), jnp.zeros(len(losses)))
