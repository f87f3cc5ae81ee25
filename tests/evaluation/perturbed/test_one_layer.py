"""A stack of which one layer moves: the loop in three parts, the first shared by all queries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import noise
from loren_jax.directions import isotropic, sampling
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.structured import Dense
from loren_jax.evaluation import perturbed
from loren_jax.evaluation._perturbed.one_layer import put_layer

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


def direction(rank=None):
    return isotropic(rank).draw((), {"w": W[0]}, noise.run_key(0))["w"]


def at(program, number):
    """A function of one layer, the others as they are."""
    return lambda p: program(put_layer(W, p["w"], number))


@pytest.mark.each_value
@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("program", [forward, backward, halved, indexed])
def test_equals_the_dense_direction(program, rank):
    d = direction(rank)

    @jax.jit
    def run(number):
        layer = {"w": jax.lax.dynamic_index_in_dim(W, number, keepdims=False)}
        return perturbed(at(program, number), layer).run({"w": d}, jnp.float32(0.1))

    for number in range(4):
        expected = program(W.at[number].add(0.1 * d.to_dense()))
        tolerance = 5e-2 if program is halved else 1e-5
        np.testing.assert_allclose(run(number), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["drawn", "dense"])
def test_layers_before_it_run_once_for_all_queries(kind):
    d = direction() if kind == "drawn" else Dense(jnp.ones((5, 5)), direction().view)

    def both(number, scales):
        layer = {"w": jax.lax.dynamic_index_in_dim(W, number, keepdims=False)}
        query = perturbed(at(forward, number), layer)
        return jax.vmap(lambda s: query.run({"w": d}, s))(scales)

    jaxpr = jax.make_jaxpr(both)(jnp.asarray(2), jnp.ones(2)).jaxpr
    loops = [e for e in jaxpr.eqns if e.primitive.name == "while"]
    before, behind = ([v.aval.shape for v in loop.outvars] for loop in loops)
    assert X.shape in before
    assert (2, *X.shape) not in before
    assert (2, *X.shape) in behind


def test_a_stack_that_is_perturbed_itself_is_made_dense():
    program = lambda p: forward(put_layer(p["stack"], p["layer"], 2))
    params = {"stack": W, "layer": W[0]}
    drawn = isotropic(1).draw((), params, noise.run_key(1))
    found = perturbed(program, params).run(drawn, jnp.float32(0.1))
    moved = jax.tree.map(lambda x, d: x + 0.1 * d.to_dense(), params, drawn)
    np.testing.assert_allclose(found, program(moved), rtol=1e-5)


@pytest.mark.parametrize("axes", [(0, 0), (None, 0), (0, None)])
@pytest.mark.parametrize("number", [0, 2])
def test_layers_put_under_a_vmap_of_the_loss_are_put_one_into_each_stack(axes, number):
    """With as many stacks as layers the shapes alone would not tell."""
    w = jnp.sin(jnp.arange(3.0 * 3 * 3)).reshape(3, 3, 3)
    stack, layer = (w if axes[0] == 0 else w[0]), (w[:, 0] if axes[1] == 0 else w[0, 0])
    weights = jnp.arange(27.0).reshape(3, 3, 3)

    def loss(p):
        put = jax.vmap(lambda s, x: put_layer(s, x, number), in_axes=axes)
        return jnp.sum(jnp.cos(put(p["stack"], p["layer"])) * weights)

    params = {"stack": stack, "layer": layer}
    moves = {
        name: Dense(jnp.cos(leaf), MatrixView(leaf.shape, tuple(range(leaf.ndim))))
        for name, leaf in params.items()
    }
    found = perturbed(loss, params).run(moves, jnp.float32(0.5))
    moved = {name: leaf + 0.5 * jnp.cos(leaf) for name, leaf in params.items()}
    np.testing.assert_allclose(found, loss(moved), rtol=1e-5)
