"""One weight in sums, joined, scaled and masked; a row each as in `weight_programs`."""

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax.types import MatrixAxes

RNG = np.random.default_rng(4)
X = jnp.asarray(RNG.normal(size=(5, 8)), jnp.float32)
ROW = jnp.asarray(RNG.normal(size=(1, 24)) + 2, jnp.float32)
COLUMN = jnp.asarray(RNG.normal(size=(8, 1)) + 2, jnp.float32)
OTHER = jnp.asarray(RNG.normal(size=(8, 24)), jnp.float32)
PLACES = jnp.asarray(RNG.integers(-8, 8, size=(3, 24)))


def leaf(*shape):
    return jnp.asarray(RNG.normal(size=shape) * 0.3, jnp.float32)


def as_type(x):
    """Constants in the weight's type, as jnp promotes otherwise."""
    return lambda w: x.astype(w.dtype)


row, column, other, rows = map(as_type, (ROW, COLUMN, OTHER, X))
WIDE, STACK, SQUARE = leaf(8, 24), leaf(3, 8, 12), leaf(16, 16)
HEADS = MatrixAxes(1, (0, 2))


def normalised(w):
    """Weight standardisation: the matrix less its mean, over its deviation."""
    w = w.astype(jnp.float32)
    deviation = jnp.sqrt(jnp.var(w, axis=0, keepdims=True) + 0.1)
    return X @ ((w - w.mean(0, keepdims=True)) / deviation)


def layer_by_layer(w):
    """Weight decay in a loop over layers."""
    return jax.lax.scan(lambda c, p: (c + jnp.sum(p**2), None), jnp.zeros((), w.dtype), w)[0]


# name: (leaf, its axes, function of the leaf, primitives that make it dense)
CASES = {
    "plus an array": (WIDE, None, lambda w: rows(w) @ (other(w) + w), []),
    "array minus": (WIDE, None, lambda w: rows(w) @ (other(w) - w), []),
    "less a row": (WIDE, None, lambda w: rows(w) @ (w - row(w)), []),
    "plus itself": (WIDE, None, lambda w: rows(w) @ (w + 0.5 * w), []),
    "plus what is turned": (
        leaf(16, 16),
        None,
        lambda w: jnp.ones((2, 16), w.dtype) @ (w - w.T),
        [],
    ),
    "an adapter in the weight": (
        leaf(2, 12, 24),
        MatrixAxes(1, 2),
        lambda w: jnp.ones((2, 24), w.dtype) @ (w[0].T @ w[1] + jnp.eye(24, dtype=w.dtype)),
        [],
    ),
    "a table of places": (
        leaf(20, 16),
        MatrixAxes(-1, -2),
        lambda w: jnp.tanh(jnp.ones((3, 4, 16), w.dtype) + w[None, :4]),
        [],
    ),
    "rows before others": (
        leaf(12, 16),
        None,
        lambda w: jnp.sin(jnp.concatenate([w, jnp.ones((20, 16), w.dtype)])),
        [],
    ),
    "between others": (
        WIDE,
        None,
        lambda w: (
            jnp.concatenate([rows(w), rows(w)], 1)
            @ jnp.concatenate([w[:4], other(w)[:3], w[4:], other(w)[:5]])
        ),
        [],
    ),
    "joined along the fan-out": (
        WIDE,
        None,
        lambda w: rows(w) @ jnp.concatenate([w[:, :8], w[:, 8:], w[:, :8]], 1),
        [],
    ),
    "stack and matrix joined": (
        STACK,
        None,
        lambda w: jnp.einsum("bi,lij->blj", rows(w), jnp.concatenate([w, jnp.ones_like(w)[:1]])),
        [],
    ),
    "padded": (WIDE, None, lambda w: rows(w) @ jnp.pad(w, ((2, 0), (0, 3)))[2:], []),
    "padded between and cut": (
        WIDE,
        None,
        lambda w: rows(w) @ jax.lax.pad(w, jnp.ones((), w.dtype), ((0, 0, 0), (-2, 1, 2))),
        [],
    ),
    "rolled": (WIDE, None, lambda w: rows(w) @ jnp.roll(w, 5, 1), []),
    "times a row": (WIDE, None, lambda w: rows(w) @ (w * row(w)), []),
    "times a column": (WIDE, None, lambda w: rows(w) @ (column(w) * w), []),
    "over a row": (WIDE, None, lambda w: rows(w) @ (w / row(w)), []),
    "times a number a layer": (
        STACK,
        None,
        lambda w: jnp.einsum("bi,lij->blj", rows(w), w * row(w)[0, :3, None, None]),
        [],
    ),
    "times a row a layer": (
        STACK,
        None,
        lambda w: jnp.einsum("bi,lij->blj", rows(w), w * other(w)[:3, None, :12]),
        [],
    ),
    "times a matrix": (WIDE, None, lambda w: rows(w) @ (w * other(w)), ["mul"]),
    "nothing times nothing": (WIDE, None, lambda w: jnp.cos(w[:0] * other(w)[:0]), ["mul"]),
    "masked columns": (WIDE, None, lambda w: rows(w) @ jnp.where(ROW > 2, w, 0), []),
    "rows replaced": (
        WIDE,
        None,
        lambda w: rows(w) @ jnp.where(COLUMN > 2, other(w), w),
        [],
    ),
    "switched on": (WIDE, None, lambda w: rows(w) @ jnp.where(ROW[0, 0] > 2, w, other(w)), []),
    "masked entries": (WIDE, None, lambda w: rows(w) @ jnp.where(OTHER > 0, w, 0), ["select_n"]),
    "along an axis": (WIDE, None, lambda w: jnp.take_along_axis(w, PLACES, 0), []),
    "along the other axis": (
        WIDE,
        None,
        lambda w: jnp.take_along_axis(w, PLACES.T[:8] % 24, 1, mode="clip"),
        [],
    ),
    "along an axis of a stack": (
        STACK,
        None,
        lambda w: jnp.take_along_axis(w, PLACES[:, :2, None] % 8, 1),
        [],
    ),
    "standardised": (WIDE, None, normalised, []),
    "weight norm": (
        WIDE,
        None,
        lambda w: rows(w) @ (row(w) * w / jnp.linalg.norm(w, axis=0, keepdims=True)),
        [],
    ),
    "sum": (WIDE, None, lambda w: w.sum(), []),
    "sum of rows": (WIDE, None, lambda w: w.sum(1), []),
    "sum of a stack": (STACK, None, lambda w: jnp.sin(w.sum((0, 2))), []),
    "sum over heads": (STACK, HEADS, lambda w: rows(w) @ w.sum(0), []),
    "sum over layers": (STACK, None, lambda w: rows(w) @ w.sum(0), ["reduce_sum"]),
    "decay": (
        WIDE,
        None,
        lambda w: jnp.sum(w**2) + jnp.sum(w * w) / 2 + jnp.sum(jnp.square(w)),
        [],
    ),
    "decay of a stack": (STACK, None, lambda w: 0.5 * jnp.sum(jnp.square(w)), []),
    "decay, layer by layer": (STACK, None, layer_by_layer, []),
    "decay by a product": (WIDE, None, lambda w: jnp.tensordot(w, w, 2), []),
    "decay in float32": (WIDE, None, lambda w: jnp.mean(w.astype(jnp.float32) ** 2), []),
    "decay from a centre": (WIDE, None, lambda w: jnp.sum((w - other(w)) ** 2), []),
    "norm of each layer": (STACK, None, lambda w: jnp.sqrt(jnp.sum(w * w, (1, 2))), []),
    "norm of units": (STACK, None, lambda w: jnp.sqrt(jnp.sum(w * w, 2)), []),
    "squares over layers": (STACK, None, lambda w: jnp.sum(w * w, 0), ["reduce_sum"]),
    "squares elsewhere": (WIDE, None, lambda w: jnp.sum(jnp.cos(w**2)), ["cos"]),
    "third power": (WIDE, None, lambda w: jnp.sum(w**3), ["integer_pow"]),
}

# What full Gaussian noise has rules for.
SEEDED = (
    "plus an array",
    "array minus",
    "times a row",
    "times a column",
    "times a row a layer",
    "times a matrix",
    "masked columns",
    "masked entries",
    "rows replaced",
    "decay",
    "decay of a stack",
    "decay, layer by layer",
    "decay from a centre",
)
