"""Chunks change memory and time, never the losses."""

import math
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import loren_jax
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


@pytest.mark.each_value
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


SMALL, WIDE = 64, 2048
"""Widths of square kernels: of 16 kB and of 16 MB; a block of noise takes 1 MB at most."""


def few(kernel, frozen):
    return jnp.sum(jnp.ones(len(kernel)) @ kernel)


def many(kernel, frozen):
    """Activations of 768 kB."""
    return jnp.sum(jnp.ones((3072, len(kernel))) @ kernel)


def beside_frozen(kernel, frozen):
    """The same beside 128 MB that the loss closes over."""
    return many(kernel, frozen) + jnp.sum(frozen)


def beside_one_row(kernel, frozen):
    """As of an embedding."""
    return many(kernel, frozen) + jnp.sum(frozen[jnp.asarray([3])])


def on_frozen_features(kernel, frozen):
    """Activations of 128 MB, but until the last product they are the same for all queries."""
    return jnp.sum(jnp.tanh(frozen).mean(0) @ kernel)


@pytest.mark.parametrize("tree", [dict, nnx.State])
@pytest.mark.parametrize(
    ("width", "value_fn", "rank", "points", "at_once"),
    [
        (SMALL, few, 1, 2, 8),
        (SMALL, few, None, 2, 8),  # the drawn noise of a small leaf takes little
        (SMALL, many, 1, 1, 1),
        (SMALL, many, 1, 2, 1),
        (SMALL, many, None, 2, 1),
        (SMALL, beside_frozen, 1, 2, 8),
        (SMALL, beside_frozen, None, 2, 8),
        (SMALL, beside_one_row, 1, 2, 1),
        (SMALL, on_frozen_features, 1, 2, 8),
        (SMALL, on_frozen_features, None, 2, 8),
        (WIDE, few, 1, 2, 8),
        (WIDE, few, None, 2, 2),  # an eighth of 16 MB has no room for the noise of two directions
        (WIDE, few, None, 1, 1),
        (WIDE, on_frozen_features, None, 1, 4),
    ],
)
def test_how_many_run_at_once_by_default(tree, width, value_fn, rank, points, at_once, monkeypatch):
    """As many as have room beside the parameters and what the loss closes over."""
    monkeypatch.setattr(sampling, "SMALL", 0)
    scheme = Scheme((1.0, -1.0)[:points], _no_weights)
    tx = estimate(isotropic(rank), scheme, num_directions=4)

    def noted(params, frozen):
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        loss = value_fn(params["kernel"][...], frozen)
        return jax.pure_callback(np.asarray, shape, loss, vmap_method="broadcast_all")

    def step(kernel, frozen):
        of_nnx = lambda: nnx.State({"kernel": nnx.Param(kernel)})
        params = {"kernel": kernel} if tree is dict else of_nnx()
        state = tx.init(params)
        update, _ = tx.update(None, state, params, value_fn=lambda params: noted(params, frozen))
        return jax.tree.leaves(update)

    shapes = [
        jax.ShapeDtypeStruct(s, jnp.float32) for s in ((width, width), (2**25 // width, width))
    ]
    program = str(jax.make_jaxpr(step)(*shapes))
    asked = re.findall(r"f32\[([\d,]*)\] = pure_callback", program)
    assert {math.prod(map(int, filter(None, sizes.split(",")))) for sizes in asked} == {at_once}


def _no_weights(losses, scale):
    return Coefficients(jnp.zeros(len(losses)), jnp.zeros(len(losses)))


@pytest.mark.slow
def test_the_default_takes_the_memory_of_one_query_at_a_time_and_an_eighth_of_the_parameters():
    """Full Gaussian: its blocks of noise are as large as the layers, and K of them would be alive.

    With rank 1 all run together here, for each of some values that are alive at the same time.
    """
    params = {f"layer_{i}": jax.ShapeDtypeStruct((512, 512), jnp.float32) for i in range(4)}

    def loss(params, rows):
        for kernel in params.values():
            rows = jnp.tanh(rows @ kernel)
        return jnp.mean(rows)

    def temporary(rank, chunk_size):
        optimizer = loren_jax.loren(0.1, rank=rank, momentum=None, chunk_size=chunk_size)
        step = loren_jax.train_step(loss, optimizer)
        shapes = params, jax.eval_shape(optimizer.init, params)
        compiled = step.lower(*shapes, jax.ShapeDtypeStruct((16, 512), jnp.float32)).compile()
        return compiled.memory_analysis().temp_size_in_bytes / (4 * 4 * 512**2)

    assert temporary(None, None) <= temporary(None, 1) < temporary(None, 6) - 1
    assert temporary(1, 1) < temporary(1, None) < temporary(1, 1) + 1 / 4
