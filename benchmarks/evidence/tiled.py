"""LOREN's covariance as the official code has it: one rank-one term for a whole matrix."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from loren_jax import arguments
from loren_jax.covariance import DampedRankOne
from loren_jax.directions import RankOneState, rank_one
from loren_jax.directions.matrices import AxesOf, MatrixView, view_of
from loren_jax.directions.sampling import sample
from loren_jax.types import Distribution, MatrixAxes, PyTree


def tiled(
    damping: Any = 0.1,
    covariance_learning_rate: Any = 1e-3,
    matrix_axes: AxesOf | None = None,
) -> Distribution:
    r"""Directions `N(0, I - b b^T / (rho + |b|^2))` with b the vector a, repeated for every row.

    .. math:: b = 1_m \otimes a, \qquad
        a \leftarrow a - \nu \sum_k c_k \sum_{i=1}^{m} \nabla_{b_i} \log p(\mathrm{vec}\, y_k)

    Of the `m n` dimensions of a matrix one is damped, not one for each row as by `rank_one`.
    Every direction is a dense array, so that a step holds K copies of the parameters that it
    trains.

    Args:
      damping: `rho > 0`.
      covariance_learning_rate: `nu >= 0`; zero freezes the covariance.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.

    Returns:
      A distribution with a `RankOneState`, started at `a ~ N(0, I)`.

    Raises:
      ValueError: `damping` not positive or `covariance_learning_rate` negative.

    >>> from loren_jax import noise
    >>> directions, params = tiled(), {"kernel": jnp.zeros((4, 3))}
    >>> state = directions.init(params, noise.run_key(0))
    >>> directions.draw(state, params, noise.run_key(1))["kernel"].array.shape
    (4, 3)

    References:
      The code beside LOREN, https://arxiv.org/abs/2511.07971
    """
    arguments.positive("damping", damping)
    init = rank_one(damping, covariance_learning_rate, None, matrix_axes).init

    def views(params: PyTree) -> list[MatrixView]:
        leaves = jax.tree_util.tree_leaves_with_path(params)
        return [view_of(path, leaf, matrix_axes) for path, leaf in leaves]

    def whole(path: str, shape: tuple[int, ...]) -> MatrixAxes:
        """The leaf as a stack of vectors, each a flattened matrix."""
        key_path = tuple(jax.tree_util.DictKey(name) for name in path.split("/"))
        view = view_of(key_path, jax.ShapeDtypeStruct(shape, jnp.float32), matrix_axes)
        return MatrixAxes(tuple(i for i in range(len(shape)) if i not in view.stack_axes))

    def draw(state, params, key):
        treedef = jax.tree.structure(params)
        vectors = treedef.flatten_up_to(state.covariance)
        pairs = zip(views(params), vectors, strict=True)
        repeated = treedef.unflatten([_repeat(view, vector) for view, vector in pairs])
        return sample(key, params, covariance=repeated, damping=damping, matrix_axes=whole)

    def absorb(state, params, directions, coefficients, into=None):
        treedef = jax.tree.structure(params)
        vectors = treedef.flatten_up_to(state.covariance)
        drawn = treedef.flatten_up_to(directions)
        targets = [None] * len(vectors) if into is None else treedef.flatten_up_to(into)
        estimate, learned = [], []
        for view, vector, direction, target in zip(
            views(params), vectors, drawn, targets, strict=True
        ):
            gaussian = DampedRankOne(_repeat(view, vector), jnp.asarray(damping, jnp.float32))
            total, score = direction.combine(*coefficients, gaussian, target)
            estimate.append(total)
            learned.append(vector - covariance_learning_rate * _gather(view, score))
        return treedef.unflatten(estimate), RankOneState(treedef.unflatten(learned))

    return Distribution(init, lambda state, params, key: state, draw, absorb)


def _repeat(view: MatrixView, vector: Array) -> Array:
    """`(*stack, n)` to `(*stack, m n)`, in the order in which a layer is flattened."""
    layer = view.layer
    kept = [size if i in layer.fan_in else 1 for i, size in enumerate(layer.shape)]
    spread = jnp.broadcast_to(vector.reshape(*view.stack, *kept), (*view.stack, *layer.shape))
    return spread.reshape(*view.stack, -1)


def _gather(view: MatrixView, score: Array) -> Array:
    """The transpose of `_repeat`: sums over the rows."""
    layer, depth = view.layer, len(view.stack)
    score = score.reshape(*view.stack, *layer.shape)
    return jnp.sum(score, tuple(depth + i for i in layer.fan_out)).reshape(*view.stack, -1)
