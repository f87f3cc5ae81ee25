"""Draws a tree of structured directions: full Gaussian or rank r, with or without covariance.

With independent standard normal factors `P (m, r)` and `Q (n, r)` the direction `P Q^T / sqrt(r)`
has `E[vec U vec U^T] = I` exactly as a Gaussian `U` has, so that the gradient estimate is unbiased
in the same sense. A covariance acts on the fan-in side and keeps the rank: `Q` becomes
`Sigma^1/2 Q`.

Factors, vectors and small matrices of all leaves are drawn together, which keeps the compiled
program small; large full Gaussian matrices get their keys here and are drawn where they are used.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from loren_jax import noise
from loren_jax.covariance import DampedRankOne
from loren_jax.directions.matrices import AxesOf, MatrixView, view_of
from loren_jax.directions.structured import Dense, LowRank, Seeded, Signed
from loren_jax.types import PyTree, RankOrSigns, Scalar

SMALL = 2**14
"""Numbers in a leaf up to which a full Gaussian draw is kept: 64 kB a query."""

WIDE = 64
"""Units on both sides of a matrix from which on rank 1 costs nothing in quality: its mean squared
error is `1 + 2/m + 2/n` times that of full Gaussian noise. On 64 x 64 matrices no difference was
found, on 384 x 2 ones 0.035 ± 0.006 in the loss (`benchmarks/KNOBS.md`)."""


def sample(
    key: Key[Array, ""],
    params: PyTree,
    *,
    rank: RankOrSigns = None,
    covariance: PyTree | None = None,
    damping: Scalar = 1.0,
    matrix_axes: AxesOf | None = None,
) -> PyTree:
    """The directions of one query.

    Args:
      key: the query's key; leaves, layers and factors get keys of their own from it.
      params: the parameters; their paths and shapes matter.
      rank: see `RankOrSigns`. A matrix whose factors would be no smaller than itself,
        `(m + n) r >= m n`, is drawn in full: it is as cheap and of lower variance.
      covariance: tree of covariance vectors; None for isotropic noise.
      damping: of the covariance.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.

    Returns:
      A tree of `Dense` for vectors and small matrices, `Seeded` for full Gaussian matrices,
      `Signed` for those of signs, `LowRank` for rank r.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    views = [view_of(path, leaf, matrix_axes) for path, leaf in leaves]
    names = [noise.path_names(path) for path, _ in leaves]
    vectors = [None] * len(leaves) if covariance is None else treedef.flatten_up_to(covariance)
    streams = [_streams(name, view, rank) for name, view in zip(names, views, strict=True)]
    seeded = [s[0] for s in streams if s[0].name == "matrix"]
    drawn = [s for group in streams for s in group if s.name != "matrix"]
    keys = iter(noise.layer_keys(key, seeded))
    normals = noise.normals(key, drawn)
    numbers = iter([jnp.where(x < 0, -1.0, 1.0) for x in normals] if rank == "signs" else normals)
    kind = Signed if rank == "signs" else Seeded
    directions: list[Any] = []
    for view, group, vector in zip(views, streams, vectors, strict=True):
        gaussian = None if vector is None else DampedRankOne(vector, jnp.float32(damping))
        if group[0].name == "matrix":
            directions.append(kind(next(keys), gaussian, view))
        elif group[0].name == "array":
            directions.append(_dense(next(numbers), view, gaussian))
        else:
            left, right = next(numbers), next(numbers)
            right = right if gaussian is None else gaussian.apply_sqrt(right, axis=-2)
            directions.append(LowRank(left / jnp.sqrt(left.shape[-1]), right, view))
    return treedef.unflatten(directions)


def _streams(path: tuple[str, ...], view: MatrixView, rank: RankOrSigns) -> list[noise.Stream]:
    """What has to be drawn for one leaf."""
    if isinstance(rank, str):
        rank = 1 if rank == "auto" and min(view.m, view.n) >= WIDE else None
    full = rank is None or (view.m + view.n) * rank >= view.m * view.n
    if view.is_vector or (full and math.prod(view.shape) <= SMALL):
        return [noise.Stream(path, "array", view.stack, view.layer.shape)]
    if full:
        return [noise.Stream(path, "matrix", view.stack)]
    return [
        noise.Stream(path, "left", view.stack, (view.m, rank)),
        noise.Stream(path, "right", view.stack, (view.n, rank)),
    ]


def _dense(y: Array, view: MatrixView, covariance: DampedRankOne | None) -> Dense:
    if covariance is not None:
        y = covariance.apply_sqrt(y, tuple(i + len(view.stack) for i in view.layer.fan_in))
    return Dense(view.from_layers(y), view)
