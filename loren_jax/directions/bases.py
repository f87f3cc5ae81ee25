"""Bases: factors of low-rank directions that are kept for many steps.

A low-rank method draws a basis for each matrix, keeps it for a number of steps and draws only
coordinates anew. A tree of bases has an array `(*stack, rows, r)` where the parameters have a stack
of matrices, and None where they have a vector.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from loren_jax import noise
from loren_jax.directions.matrices import AxesOf, MatrixView, view_of
from loren_jax.directions.structured import Dense, LowRank
from loren_jax.types import PyTree

ShapeOf = Callable[[MatrixView], tuple[int, ...]]
"""Shape of what is drawn for one matrix of a leaf."""


def rank_of(view: MatrixView, rank: int) -> int:
    """The rank of one leaf's directions: `rank`, or all there is of a smaller matrix.

    >>> rank_of(MatrixView((2, 768), fan_in=(1,), fan_out=(0,)), 64)
    2
    """
    return min(rank, view.m, view.n)


def left_shape(rank: int) -> ShapeOf:
    """Shape of the fan-out factor, `(m, r)`."""
    return lambda view: (view.m, rank_of(view, rank))


def right_shape(rank: int) -> ShapeOf:
    """Shape of the fan-in factor, `(n, r)`."""
    return lambda view: (view.n, rank_of(view, rank))


def zeros(
    params: PyTree, shape: ShapeOf, matrix_axes: AxesOf | None, vectors: bool = False
) -> PyTree:
    """A basis before its first draw; a momentum, if `vectors` are to have zeros of their shape."""

    def zero(path, leaf):
        view = view_of(path, leaf, matrix_axes)
        if view.is_vector:
            return jnp.zeros(view.shape, jnp.float32) if vectors else None
        return jnp.zeros((*view.stack, *shape(view)), jnp.float32)

    return jax.tree_util.tree_map_with_path(zero, params)


def gaussian(
    key: Key[Array, ""], params: PyTree, matrix_axes: AxesOf | None, **shapes: ShapeOf
) -> tuple[PyTree, ...]:
    """Standard normal bases, all drawn in one call: a tree for each of `shapes`, float32.

    Each of `shapes` has the name of its noise streams.
    """
    treedef = jax.tree.structure(params)
    drawn = _normals(key, params, shapes, matrix_axes, vectors=False)
    return tuple(treedef.unflatten([n[i] for _, n in drawn]) for i in range(len(shapes)))


def orthonormal(
    key: Key[Array, ""], params: PyTree, matrix_axes: AxesOf | None, **shapes: ShapeOf
) -> tuple[PyTree, ...]:
    """As `gaussian`, but with orthonormal columns: uniform over all such bases (Haar)."""
    return jax.tree.map(haar, gaussian(key, params, matrix_axes, **shapes))


def haar(normal: Float[Array, "*stack rows r"]) -> Float[Array, "*stack rows r"]:
    """Q of a QR decomposition whose R has a positive diagonal, so that no rotation changes its law.

    >>> haar(jnp.asarray([[-3.0], [4.0]]))
    Array([[-0.6],
           [ 0.8]], dtype=float32)
    """
    q, r = jnp.linalg.qr(normal.astype(jnp.float32))
    diagonal = jnp.diagonal(r, axis1=-2, axis2=-1)
    return q * jnp.where(diagonal < 0, -1.0, 1.0)[..., None, :]


def every_steps(
    every: int, count: Int[Array, ""], renew: Callable[[], PyTree], kept: PyTree
) -> PyTree:
    """`renew()` at the steps 0, every, 2 every, ...; `kept`, and no computation, at all others."""
    return jax.lax.cond(count % every == 0, renew, lambda: kept)


def draw_directions(
    key: Key[Array, ""],
    params: PyTree,
    name: str,
    shape: ShapeOf,
    matrix_axes: AxesOf | None,
    lift: Callable[..., tuple[Array, Array]],
    *bases: PyTree,
) -> PyTree:
    """The directions of one query: `LowRank` for matrices, for vectors `Dense` as of `sample`.

    Standard normal coordinates of this name and shape, `lift(coordinates, *bases of the leaf)`
    turns into `(left, right)`.
    """
    treedef = jax.tree.structure(params)
    drawn = _normals(key, params, {name: shape}, matrix_axes, vectors=True)
    held = zip(*(treedef.flatten_up_to(tree) for tree in bases), strict=True)
    return treedef.unflatten(
        Dense(view.from_layers(numbers), view)
        if view.is_vector
        else LowRank(*lift(numbers, *basis), view)
        for (view, [numbers]), basis in zip(drawn, held, strict=True)
    )


def _normals(
    key: Key[Array, ""],
    params: PyTree,
    shapes: dict[str, ShapeOf],
    matrix_axes: AxesOf | None,
    vectors: bool,
) -> list[tuple[MatrixView, list[Any]]]:
    """Each leaf's view with its numbers, one for each shape; of a vector None unless `vectors`."""
    views, streams = [], []
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        view, names = view_of(path, leaf, matrix_axes), noise.path_names(path)
        wanted = {name: shape(view) for name, shape in shapes.items()}
        if view.is_vector:
            wanted = {"array": view.layer.shape} if vectors else {}
        views.append(view)
        streams.append([noise.Stream(names, name, view.stack, s) for name, s in wanted.items()])
    drawn = iter(noise.normals(key, [stream for wanted in streams for stream in wanted]))
    numbers = [[next(drawn) for _ in wanted] or [None] * len(shapes) for wanted in streams]
    return list(zip(views, numbers, strict=True))


def add_to(into: Array | None, direction: Dense | LowRank) -> Array:
    """One direction as an array of its leaf's shape; added to `into`, in its dtype, if given."""
    single = jax.tree.map(lambda x: x[None], direction)
    one = jnp.ones(1, jnp.float32)
    return single.combine(one, one, None, into)[0]


def targets(params: PyTree, into: PyTree | None) -> PyTree:
    """`into`, or None at each leaf."""
    return jax.tree.map(lambda _: None, params) if into is None else into
