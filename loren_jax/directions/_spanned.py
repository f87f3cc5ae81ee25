"""Directions along given fan-in vectors: those that a matrix's inputs lie along."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Key

from loren_jax import arguments, noise
from loren_jax.directions.matrices import AxesOf, MatrixView, view_of
from loren_jax.directions.sampling import sample
from loren_jax.directions.structured import LowRank
from loren_jax.directions.sums import weighted_sum
from loren_jax.types import Distribution, PyTree, Rank


class SpannedState(NamedTuple):
    """What `spanned` was given, so that a program can put other factors in its place.

    Attributes:
      factors: tree like the parameters; `(*stack, n, q)` float32 at a matrix that has them, else
        None.
    """

    factors: PyTree


def spanned(
    factors: Mapping[str, Any], rank: Rank = None, matrix_axes: AxesOf | None = None
) -> Distribution:
    r"""Directions whose fan-in vectors are `N(0, A A^T)`, for a given `A` of q columns.

    .. math:: Y = Z A^\top, \quad Z \in R^{m \times q} \text{ standard normal}

    A matrix then moves within the q-dimensional span of `A` on its fan-in side. The gradient of a
    matrix lies in the span of its inputs, so their leading principal directions hold most of what a
    step can gain at a small share of its noise; see `loren_jax.inputs.input_factors`. Leaves
    without factors get standard normal directions.

    A direction is a product of rank q whose fan-in factor all queries share: it takes m q random
    numbers, and one projection of the activations for all queries.

    Args:
      factors: path of a leaf, such as `layers/up/kernel`, to its `A`: `(*stack, n, q)`.
      rank: of the matrices without factors: None for full Gaussian, an integer r for rank r.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.

    Returns:
      A distribution with a `SpannedState`: n q floats for an m x n matrix.

    Raises:
      ValueError: `rank` below 1; on `init`, factors of the wrong shape, or of no leaf at all.

    >>> params = {"kernel": jnp.zeros((4, 3)), "bias": jnp.zeros(3)}
    >>> directions = spanned({"kernel": jnp.eye(4)[:, :2]})
    >>> state = directions.init(params, noise.run_key(0))
    >>> drawn = directions.draw(state, params, noise.run_key(1))
    >>> drawn["kernel"].to_dense()[2:].tolist()  # nothing outside of the span
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    arguments.rank(rank)

    def init(params, key):
        arguments.trainable_leaves(params)
        paths = noise.leaf_paths(params)
        # Factors that lie beside an older journal are of paths without `value`.
        known = [path if path in factors else noise.without_value(path) for path in paths]
        if factors and not set(factors) & set(known):
            raise ValueError(
                f"factors are of {', '.join(map(repr, factors))}, none of which is trained; the "
                f"trained leaves are {', '.join(map(repr, paths))}"
            )

        def check(name, path, leaf):
            if name not in factors:
                return None
            return _check(name, factors[name], view_of(path, leaf, matrix_axes))

        leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
        found = [check(name, *leaf) for name, leaf in zip(known, leaves, strict=True)]
        return SpannedState(treedef.unflatten(found))

    def draw(state, params, key):
        leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
        given = treedef.flatten_up_to(state.factors)
        pairs = zip(leaves, given, strict=True)
        others = [x if factor is None else optax.MaskedNode() for (_, x), factor in pairs]
        plain = sample(key, treedef.unflatten(others), rank=rank, matrix_axes=matrix_axes)
        rows = zip(leaves, given, treedef.flatten_up_to(plain), strict=True)
        return treedef.unflatten(
            drawn if factor is None else _along(key, path, view_of(path, leaf, matrix_axes), factor)
            for (path, leaf), factor, drawn in rows
        )

    return Distribution(init, lambda state, params, key: state, draw, weighted_sum)


def _along(key: Key[Array, ""], path: noise.KeyPath, view: MatrixView, factor: Array) -> LowRank:
    """One direction of one leaf within the span of its factor."""
    shape = (view.m, factor.shape[-1])
    stream = noise.Stream(noise.path_names(path), "left", view.stack, shape)
    (left,) = noise.normals(key, [stream])
    return LowRank(left, factor, view)


def _check(name: str, factor: ArrayLike, view: MatrixView) -> Array:
    factor = jnp.asarray(factor, jnp.float32)
    if view.is_vector or factor.ndim < 2 or factor.shape[:-1] != (*view.stack, view.n):
        raise ValueError(
            f"factors of {name!r} have the shape {factor.shape}, expected one of "
            f"{(*view.stack, view.n)} and a last axis of any size: fan-in vectors of a matrix."
        )
    return factor
