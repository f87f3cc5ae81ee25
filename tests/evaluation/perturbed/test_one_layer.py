"""A stack of which one layer moves: the loop in three parts, the first shared by all queries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import noise
from loren_jax.directions import isotropic, sampling
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.structured import OneLayer
from loren_jax.evaluation import perturbed

W = jnp.sin(jnp.arange(4 * 25.0)).reshape(4, 5, 5)
X = jnp.ones((2, 5))


@pytest.fixture(autouse=True)
def small_matrices_are_seeded_too(monkeypatch):
    monkeypatch.setattr(sampling, "SMALL", 0)


def forward(w):
    x, ys = jax.lax.scan(lambda x, p: (jnp.tanh(x @ p), (x @ p).sum()), X.astype(w.dtype), w)
    return x.sum() + (ys * jnp.arange(4)).sum()


def backward(w):
    return jax.lax.scan(lambda x, p: (jnp.tanh(x @ p), None), X, w, reverse=True)[0].sum()


def halved(w):
    return forward(w.astype(jnp.bfloat16)).astype(jnp.float32)


def indexed(w):
    return jax.lax.fori_loop(0, 4, lambda i, x: jnp.tanh(x @ w[i]), X).sum()


def direction(number, rank=None):
    inner = isotropic(rank).draw((), {"w": W[0]}, noise.run_key(0))["w"]
    return OneLayer(inner, jnp.asarray(number), MatrixView(W.shape, (1,), (2,)))


@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("program", [forward, backward, halved, indexed])
def test_equals_the_dense_direction(program, rank):
    query = perturbed(lambda p: program(p["w"]), {"w": W})
    run = jax.jit(lambda d: query.run({"w": d}, jnp.float32(0.1)))
    for number in range(4):
        d = direction(number, rank)
        expected = program(W + 0.1 * d.to_dense())
        tolerance = 5e-2 if program is halved else 1e-5
        np.testing.assert_allclose(run(d), expected, rtol=tolerance, atol=tolerance)


def test_layers_before_it_run_once_for_all_queries():
    query = perturbed(lambda p: forward(p["w"]), {"w": W})
    inner = direction(0)

    def both(number, scales):
        d = OneLayer(inner.inner, number, inner.view)
        return jax.vmap(lambda s: query.run({"w": d}, s))(scales)

    jaxpr = jax.make_jaxpr(both)(jnp.asarray(2), jnp.ones(2)).jaxpr
    loops = [e for e in jaxpr.eqns if e.primitive.name == "while"]
    before, behind = ([v.aval.shape for v in loop.outvars] for loop in loops)
    assert X.shape in before
    assert (2, *X.shape) not in before
    assert (2, *X.shape) in behind
