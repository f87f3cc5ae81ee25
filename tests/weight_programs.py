"""Programs on one weight, a row each: what the rules of perturbed evaluation are tested on."""

import functools

import jax
import jax.numpy as jnp
import kernel_programs
import numpy as np
import sum_programs
from jax.sharding import PartitionSpec

from loren_jax.types import MatrixAxes

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(5, 8)), jnp.float32)
IDS = jnp.asarray([[0, 3, 7], [1, 1, 2]])


def leaf(*shape):
    return jnp.asarray(RNG.normal(size=shape) * 0.3, jnp.float32)


@jax.custom_vjp
def squared(w):
    return X.astype(w.dtype) @ w


squared.defvjp(lambda w: (X @ w, None), lambda _, g: (g,))


@jax.custom_jvp
def product(w):
    return X.astype(w.dtype) @ w


product.defjvp(lambda w, t: (X @ w[0], X @ t[0]))


def scan_layers(w):
    def body(h, p):
        return jnp.tanh(h @ p), None

    return jax.lax.scan(body, X.astype(w.dtype), w)[0]


def scan_constant(w):
    return jax.lax.scan(lambda h, _: (jnp.tanh(h @ w), None), X.astype(w.dtype), length=3)[0]


def scan_carried(w):
    step = lambda c, _: ((jnp.tanh(c[0] @ c[1]), c[1]), None)
    return jax.lax.scan(step, (X.astype(w.dtype), w), length=3)[0][0]


def scan_changing_carry(w):
    step = lambda c, _: ((jnp.tanh(c[0] @ c[1]), c[1] * 0.9), None)
    return jax.lax.scan(step, (X.astype(w.dtype), w), length=3)[0][0]


def scan_reversed_with_outputs(w):
    step = lambda h, p: (jnp.tanh(h @ p), p.sum() + h.sum())
    return jax.lax.scan(step, X.astype(w.dtype), w, reverse=True)[1]


def fori(w):
    return jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ w), X.astype(w.dtype))


def fori_over_layers(w):
    return jax.lax.fori_loop(0, 3, lambda i, h: jnp.tanh(h @ w[i]), X.astype(w.dtype))


def while_on_the_leaf(w):
    keep = lambda c: (c[0] < 3) & ((X.astype(w.dtype) @ c[2]).sum() < 1e9)
    step = lambda c: (c[0] + 1, jnp.tanh(c[1] @ c[2]), c[2])
    return jax.lax.while_loop(keep, step, (0, X.astype(w.dtype), w))[1]


def branch(w):
    x = X.astype(w.dtype)
    take = lambda: x @ w
    leave = lambda: x @ w.T
    return jax.lax.cond(x[0, 0] > 0, take, leave)


def mixed_precision(w):
    x = X.astype(jnp.bfloat16)
    return jax.lax.dot(x, w.astype(jnp.bfloat16), preferred_element_type=jnp.float32)


def sharded(w):
    mesh = jax.make_mesh((1,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = PartitionSpec()
    multiply = lambda x, w: x @ w
    return jax.shard_map(multiply, mesh=mesh, in_specs=spec, out_specs=spec)(X.astype(w.dtype), w)


DEFAULT = None
HEADS_OUT, HEADS_IN = MatrixAxes(0, (1, 2)), MatrixAxes((0, 1), 2)
EMBEDDING = MatrixAxes(-1, -2)

# name: (leaf, its axes, function of the leaf, primitives that make it dense)
CASES = (
    {
        "x @ w": (leaf(8, 8), DEFAULT, lambda w: X.astype(w.dtype) @ w, []),
        "w @ x": (leaf(8, 8), DEFAULT, lambda w: w @ X.T.astype(w.dtype), []),
        "w.T @ x": (leaf(8, 6), DEFAULT, lambda w: w.T @ X.T.astype(w.dtype), []),
        "x @ w.T": (leaf(6, 8), DEFAULT, lambda w: X.astype(w.dtype) @ w.T, []),
        "vector @ w": (leaf(8, 6), DEFAULT, lambda w: X[0].astype(w.dtype) @ w, []),
        "batch of x": (leaf(8, 6), DEFAULT, lambda w: jnp.ones((2, 3, 8), w.dtype) @ w, []),
        "stack as batch": (
            leaf(5, 8, 6),
            DEFAULT,
            lambda w: jnp.einsum("bi,bij->bj", X.astype(w.dtype), w),
            [],
        ),
        "stack as batch, right": (
            leaf(5, 8, 6),
            DEFAULT,
            lambda w: jnp.einsum("bij,bi->bj", w, X.astype(w.dtype)),
            [],
        ),
        "stack stays free": (
            leaf(4, 8, 6),
            DEFAULT,
            lambda w: jnp.einsum("bi,hij->bhj", X.astype(w.dtype), w),
            [],
        ),
        "stack is summed": (
            leaf(5, 8, 6),
            DEFAULT,
            lambda w: jnp.einsum("hi,hij->j", X.astype(w.dtype), w),
            [],
        ),
        "heads out": (
            leaf(8, 2, 3),
            HEADS_OUT,
            lambda w: jnp.einsum("bi,ihd->bhd", X.astype(w.dtype), w),
            [],
        ),
        "heads in": (
            leaf(2, 4, 6),
            HEADS_IN,
            lambda w: jnp.einsum("bhd,hdo->bo", X.reshape(5, 2, 4).astype(w.dtype), w),
            [],
        ),
        "one of two contracted axes": (
            leaf(2, 4, 6),
            HEADS_IN,
            lambda w: jnp.einsum("bd,hdo->bho", X[:, :4].astype(w.dtype), w),
            [],
        ),
        "both factors contracted": (
            leaf(8, 8),
            DEFAULT,
            lambda w: jnp.tensordot(X[:1].T.astype(w.dtype) @ X[:1].astype(w.dtype), w, 2),
            [],
        ),
        "two weights multiplied": (
            leaf(8, 8),
            DEFAULT,
            lambda w: X.astype(w.dtype) @ (w @ w),
            [],
        ),
        "mixed precision": (leaf(8, 6), DEFAULT, mixed_precision, []),
        "rows": (leaf(8, 6), EMBEDDING, lambda w: w[IDS], []),
        "take": (leaf(8, 6), EMBEDDING, lambda w: jnp.take(w, IDS, axis=0, mode="clip"), []),
        "take with fill": (leaf(8, 6), EMBEDDING, lambda w: jnp.take(w, IDS, axis=0), []),
        "rows of the transpose": (leaf(8, 16), DEFAULT, lambda w: w.T[IDS], []),
        "columns": (leaf(8, 6), DEFAULT, lambda w: jnp.take(w, IDS % 6, axis=1), []),
        "entries": (leaf(8, 6), DEFAULT, lambda w: w[IDS, IDS % 6], []),
        "layers by number": (
            leaf(3, 8, 6),
            DEFAULT,
            lambda w: jnp.einsum("bi,bij->bj", X[:3].astype(w.dtype), w[jnp.asarray([2, 0, 2])]),
            [],
        ),
        "tied embedding": (leaf(8, 6), EMBEDDING, lambda w: jnp.tanh(w[IDS]) @ w.T, []),
        "one layer": (leaf(3, 8, 6), DEFAULT, lambda w: X.astype(w.dtype) @ w[1], []),
        "one traced layer": (
            leaf(3, 8, 6),
            DEFAULT,
            lambda w: (
                X.astype(w.dtype) @ jax.lax.dynamic_index_in_dim(w, IDS[0, 1] - 1, keepdims=False)
            ),
            [],
        ),
        "a strided slice of a matrix": (
            leaf(8, 6),
            DEFAULT,
            lambda w: X[:, ::2].astype(w.dtype) @ w[::2, 1:4],
            [],
        ),
        "dynamic slice of a matrix": (
            leaf(8, 6),
            DEFAULT,
            lambda w: X[:, :4].astype(w.dtype) @ jax.lax.dynamic_slice(w, (IDS[0, 1], 1), (4, 3)),
            [],
        ),
        "layer by layer": (
            leaf(3, 8, 8),
            DEFAULT,
            lambda w: functools.reduce(
                lambda h, i: jnp.tanh(h @ w[i]), range(3), X.astype(w.dtype)
            ),
            [],
        ),
        "transposed stack": (
            leaf(3, 8, 8),
            DEFAULT,
            lambda w: scan_layers(jnp.transpose(w, (0, 2, 1))),
            [],
        ),
        "split into heads": (
            leaf(8, 6),
            DEFAULT,
            lambda w: jnp.einsum("bi,ihd->bhd", X.astype(w.dtype), w.reshape(8, 2, 3)),
            [],
        ),
        "heads merged": (
            leaf(8, 2, 3),
            HEADS_OUT,
            lambda w: X.astype(w.dtype) @ w.reshape(8, 6),
            [],
        ),
        "axes of length one": (
            leaf(8, 6),
            DEFAULT,
            lambda w: X.astype(w.dtype) @ w.reshape(1, 8, 1, 6).squeeze((0, 2)),
            [],
        ),
        "flattened": (leaf(8, 6), DEFAULT, lambda w: w.reshape(-1), ["reshape"]),
        "broadcast over a batch": (
            leaf(8, 6),
            DEFAULT,
            lambda w: jnp.einsum("bi,bij->bj", X.astype(w.dtype), jnp.broadcast_to(w, (5, 8, 6))),
            [],
        ),
        "restacked": (
            leaf(3, 8, 8),
            DEFAULT,
            lambda w: scan_layers(jnp.stack([w[2], w[0], w[1]])),
            [],
        ),
        "stacked elsewhere": (
            leaf(3, 8, 6),
            DEFAULT,
            lambda w: jnp.einsum("bi,ihj->bhj", X.astype(w.dtype), jnp.stack([w[0], w[2]], 1)),
            [],
        ),
        "split in three": (
            leaf(8, 6),
            DEFAULT,
            lambda w: sum(X.astype(w.dtype) @ p for p in jnp.split(w, 3, axis=1)),
            [],
        ),
        "split stack": (leaf(4, 8, 8), DEFAULT, lambda w: scan_layers(jnp.split(w, 2)[1]), []),
        "reversed": (leaf(3, 8, 8), DEFAULT, lambda w: scan_layers(w[::-1, :, ::-1]), []),
        "concatenated rows": (
            leaf(8, 16),
            DEFAULT,
            lambda w: X.astype(w.dtype) @ jnp.concatenate([w[4:], w[:4]]),
            [],
        ),
        "cast": (leaf(8, 6), DEFAULT, lambda w: X @ w.astype(jnp.float32), []),
        "cast to integers": (
            leaf(8, 6),
            DEFAULT,
            lambda w: (w * 1e6).astype(jnp.int32).astype(jnp.float32) * 1e-6,
            ["convert_element_type"],
        ),
        "scaled": (
            leaf(8, 6),
            DEFAULT,
            lambda w: X.astype(w.dtype) @ (-w * 2.0 / X[0, 0].astype(w.dtype)),
            [],
        ),
        "divisor": (leaf(8, 6), DEFAULT, lambda w: 1.0 / (w + 3.0), ["div"]),
        "stop gradient": (
            leaf(8, 6),
            DEFAULT,
            lambda w: X.astype(w.dtype) @ w + X.astype(w.dtype) @ jax.lax.stop_gradient(w),
            [],
        ),
        "elementwise": (leaf(8, 6), DEFAULT, jnp.tanh, ["tanh"]),
        "jit": (leaf(8, 6), DEFAULT, lambda w: jax.jit(lambda v: X.astype(v.dtype) @ v)(w), []),
        "checkpoint": (
            leaf(8, 6),
            DEFAULT,
            jax.checkpoint(lambda w: jnp.tanh(X.astype(w.dtype) @ w)),
            [],
        ),
        "custom_vjp": (leaf(8, 6), DEFAULT, squared, []),
        "custom_jvp": (leaf(8, 6), DEFAULT, product, []),
        "shard_map": (leaf(8, 6), DEFAULT, sharded, []),
        "scan over layers": (leaf(3, 8, 8), DEFAULT, scan_layers, []),
        "scan, constant": (leaf(8, 8), DEFAULT, scan_constant, []),
        "scan, carried": (leaf(8, 8), DEFAULT, scan_carried, []),
        "scan, changing carry": (leaf(8, 8), DEFAULT, scan_changing_carry, ["scan"]),
        "scan over rows": (
            leaf(8, 6),
            DEFAULT,
            lambda w: jax.lax.scan(lambda c, r: (c + r, None), w[0], w)[0],
            ["add", "scan"],
        ),
        "scan, reversed": (leaf(3, 8, 8), DEFAULT, scan_reversed_with_outputs, []),
        "fori_loop": (leaf(8, 8), DEFAULT, fori, []),
        "fori_loop over layers": (leaf(3, 8, 8), DEFAULT, fori_over_layers, []),
        "while_loop": (leaf(8, 8), DEFAULT, while_on_the_leaf, []),
        "cond": (leaf(8, 8), DEFAULT, branch, []),
        "vmap over heads": (
            leaf(4, 8, 6),
            DEFAULT,
            lambda w: jax.vmap(lambda v: X.astype(v.dtype) @ v)(w),
            [],
        ),
    }
    | kernel_programs.CASES
    | sum_programs.CASES
)

# Noise has rules of its own only where a matrix is multiplied, a stack cut, or a value cast.
SEEDED = (
    *sum_programs.SEEDED,
    "x @ w",
    "w @ x",
    "x @ w.T",
    "stack as batch",
    "two weights multiplied",
    "heads in",
    "rows",
    "rows of the transpose",
    "one layer",
    "one traced layer",
    "a strided slice of a matrix",
    "dynamic slice of a matrix",
    "split stack",
    "reversed",
    "cast",
    "scaled",
    "shard_map",
    "scan over layers",
    "scan, constant",
    "fori_loop over layers",
    "cond",
)
