"""Fan-in axes are those that a loss sums over, whatever a library calls or orders its leaves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import loren_jax
from loren_jax import diagnostics, directions, noise
from loren_jax.evaluation import materialised, perturbed

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 16)), jnp.float32)
IDS = jnp.asarray([[0, 3, 7], [1, 1, 2]])

# name: (shape of the leaf, what is done with it, its fan-in, its fan-out)
USES = {
    "kernel": ((16, 24), lambda w: X @ w, (0,), (1,)),
    "out first": ((24, 16), lambda w: X @ w.T, (1,), (0,)),
    "on the left": ((24, 16), lambda w: jax.vmap(jax.vmap(lambda v: w @ v))(X), (1,), (0,)),
    "heads": ((16, 4, 8), lambda w: jnp.einsum("btd,dhk->bhtk", X, w), (0,), (1, 2)),
    "heads first": ((4, 16, 8), lambda w: jnp.einsum("btd,hdk->bthk", X, w), (1,), (0, 2)),
    "key and value at once": (
        (2, 2, 16, 8),
        lambda w: jnp.einsum("bsd,ckdh->cbskh", X, w),
        (2,),
        (0, 1, 3),
    ),
    "heads in": (
        (4, 4, 24),
        lambda w: jnp.einsum("bthk,hkd->btd", X.reshape(2, 6, 4, 4), w),
        (0, 1),
        (2,),
    ),
    "heads merged": ((16, 4, 8), lambda w: X @ w.reshape(16, 32), (0,), (1, 2)),
    "experts": ((2, 16, 8), lambda w: jnp.einsum("btd,bdh->bth", X, w), (1,), (2,)),
    "ragged experts": (
        (3, 16, 8),
        lambda w: jax.lax.ragged_dot(X[0], w, jnp.asarray([1, 2, 3])),
        (1,),
        (2,),
    ),
    "kernel of an image": (
        (3, 16, 8),
        lambda w: jax.lax.conv_general_dilated(
            X, w, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        ),
        (0, 1),
        (2,),
    ),
    "kernel of PyTorch's": (
        (8, 6, 3),
        lambda w: jax.lax.conv(X, w, (1,), "SAME"),
        (1, 2),
        (0,),
    ),
    "looked up": ((10, 16), lambda w: w[IDS], (1,), (0,)),
    "looked up under vmap": ((10, 16), lambda w: jax.vmap(lambda i: w[i])(IDS[0]), (1,), (0,)),
    "looked up by columns": ((16, 10), lambda w: w[:, IDS], (0,), (1,)),
    "tied": ((10, 16), lambda w: w[IDS] @ w.T, (1,), (0,)),
    "layers": (
        (3, 16, 16),
        lambda w: jax.lax.scan(lambda h, p: (jnp.tanh(h @ p.T), None), X, w)[0],
        (2,),
        (1,),
    ),
    "layers of vectors": (
        (3, 16),
        lambda w: jax.lax.scan(lambda h, p: (jnp.tanh(h) * p[None, None], None), X, w)[0],
        (1,),
        (),
    ),
    "a layer by number": ((3, 16, 8), lambda w: X @ w[1], (1,), (2,)),
    "in a loop": (
        (16, 8),
        lambda w: jax.lax.fori_loop(0, 2, lambda i, h: h + X @ w, jnp.zeros((2, 6, 8))),
        (0,),
        (1,),
    ),
    "in a branch": (
        (24, 16),
        lambda w: jax.lax.cond(X[0, 0, 0] > 0, lambda: X @ w.T, lambda: jnp.zeros((2, 6, 24))),
        (1,),
        (0,),
    ),
    "normalised": ((24, 16), lambda w: X @ jax.checkpoint(jnp.tanh)(w * 2).T, (1,), (0,)),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_axes_are_those_of_the_use(use):
    shape, fn, fan_in, fan_out = use
    params = {"w": jax.ShapeDtypeStruct(shape, jnp.float32)}
    axes = loren_jax.matrix_axes(lambda p: jnp.sum(fn(p["w"])), params)
    assert axes("w", shape) == (fan_in, fan_out)


@pytest.mark.parametrize(
    "fn", [lambda w: jnp.sin(w), lambda w: w.reshape(-1) @ jnp.ones(64), lambda w: 0.0]
)
def test_where_the_use_does_not_tell_the_name_does(fn):
    params = {"w": jnp.ones((8, 8)), "b": jnp.ones(3)}
    axes = loren_jax.matrix_axes(lambda p: jnp.sum(fn(p["w"])) + jnp.sum(p["b"]), params)
    assert axes("w", (8, 8)) is None
    assert axes("b", (3,)) is None


def flax_program():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(20, 16, rngs=rngs)
            self.attend = nnx.MultiHeadAttention(2, 16, rngs=rngs, decode=False)
            self.conv = nnx.Conv(16, 32, (3,), rngs=rngs)
            self.norm = nnx.LayerNorm(32, rngs=rngs)

        def __call__(self, ids):
            return self.norm(self.conv(self.attend(self.embed(ids))))

    graph, state = nnx.split(Model(nnx.Rngs(0)))
    return (lambda p: jnp.mean(nnx.merge(graph, p)(IDS) ** 2)), state


def equinox_program():
    keys = jax.random.split(jax.random.key(0), 3)
    model = (
        eqx.nn.Embedding(20, 16, key=keys[0]),
        eqx.nn.MultiheadAttention(2, 16, key=keys[1]),
        eqx.nn.Conv1d(16, 32, 3, key=keys[2]),
    )
    params, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(params):
        embed, attend, conv = eqx.combine(params, static)
        h = jax.vmap(embed)(IDS[0])
        return jnp.mean(conv(attend(h, h, h).T) ** 2)

    return loss, params


def unnamed_program():
    """As Keras hands its weights over: a list of arrays."""
    rng = np.random.default_rng(1)
    shapes = [(20, 16), (16, 2, 8), (2, 8), (2, 8, 16), (16,), (3, 16, 32)]
    params = [jnp.asarray(rng.normal(size=s) * 0.3, jnp.float32) for s in shapes]

    def loss(params):
        table, query, bias, out, shift, kernel = params
        h = jnp.einsum("btd,dhk->bthk", table[IDS], query) + bias[None, None]
        h = jnp.einsum("bthk,hkd->btd", jnp.tanh(h), out) + shift[None, None]
        numbers = ("NWC", "WIO", "NWC")
        y = jax.lax.conv_general_dilated(h, kernel, (1,), "SAME", dimension_numbers=numbers)
        return jnp.mean(y**2)

    return loss, params


@pytest.mark.parametrize("program", [flax_program, equinox_program, unnamed_program])
def test_no_matrix_of_a_library_is_built(program):
    loss, params = program()
    law = directions.isotropic(1, loren_jax.matrix_axes(loss, params))
    assert diagnostics.dense_leaves(loss, params, law) == []
    drawn = law.draw((), params, noise.run_key(0))
    scale = jnp.float32(0.05)
    lazy, copies = (
        jax.jit(evaluation(loss, params).run)(drawn, scale)
        for evaluation in (perturbed, materialised)
    )
    np.testing.assert_allclose(lazy, copies, rtol=2e-5)
    assert abs(float(lazy - loss(params))) > 1e-5


def test_what_gives_nothing_tells_nothing():
    def loss(params):
        jax.debug.callback(lambda w: None, params["w"])
        return jnp.sum(jnp.ones((2, 5)) @ params["w"].T)

    axes = loren_jax.matrix_axes(loss, {"w": jnp.ones((4, 5))})
    assert axes("w", (4, 5)) == loren_jax.MatrixAxes(fan_in=(1,), fan_out=(0,))


def test_biases_that_are_spread_beforehand_are_vectors():
    def loss(params):
        def layer(h, own):
            kernel, bias = own
            return jnp.tanh(h @ kernel + jnp.broadcast_to(bias, h.shape)), None

        return jnp.sum(jax.lax.scan(layer, jnp.ones((3, 8)), (params["w"], params["b"]))[0])

    params = {"w": jnp.ones((4, 8, 8)), "b": jnp.ones((4, 8))}
    axes = loren_jax.matrix_axes(loss, params)
    assert axes("b", (4, 8)) == loren_jax.MatrixAxes(fan_in=(1,), fan_out=())
    assert axes("w", (4, 8, 8)) == loren_jax.MatrixAxes(fan_in=(1,), fan_out=(2,))
