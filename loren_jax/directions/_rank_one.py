"""Directions with a learned, damped rank-one covariance: LOREN's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from loren_jax import arguments, noise
from loren_jax.covariance import DampedRankOne
from loren_jax.directions.matrices import AxesOf, view_of
from loren_jax.directions.sampling import sample
from loren_jax.directions.sums import leaf_by_leaf
from loren_jax.types import Distribution, PyTree, Rank, Scalar


class RankOneState(NamedTuple):
    """What `rank_one` has learned.

    Attributes:
      covariance: tree like the parameters; for each leaf its covariance vectors `a`, `(*stack, n)`
        float32. O(n) for an m x n matrix.
    """

    covariance: PyTree


def rank_one(
    damping: Scalar = 0.1,
    covariance_learning_rate: Scalar = 1e-3,
    rank: Rank = None,
    matrix_axes: AxesOf | None = None,
) -> Distribution:
    r"""Directions whose fan-in vectors are `N(0, I - a a^T / (rho + |a|^2))`, with `a` learned.

    .. math::

        y = (I - \kappa a a^\top) u, \qquad
        a \leftarrow a - \nu \sum_k c_k \nabla_a \log p(y_k)

    The `c_k` are the scheme's score coefficients, so `a` descends the expected loss over the
    distribution. One `a` for each matrix of a stack, shared by its rows; a vector leaf has its
    own. With a rank the score is that of the fan-in factor alone, which is exact.

    Args:
      damping: `rho > 0`.
      covariance_learning_rate: `nu >= 0`; zero freezes the covariance.
      rank: None for full Gaussian directions, an integer r for rank-r ones, or `"auto"`.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.

    Returns:
      A distribution with a `RankOneState`, started at `a ~ N(0, I)`.

    Raises:
      ValueError: `damping` not positive, `covariance_learning_rate` negative or `rank` below 1.

    >>> directions = rank_one(damping=0.1)
    >>> state = directions.init({"kernel": jnp.zeros((4, 3))}, noise.run_key(0))
    >>> state.covariance["kernel"].shape
    (4,)

    References:
      LOREN, https://arxiv.org/abs/2511.07971
    """
    arguments.positive("damping", damping)
    arguments.non_negative("covariance_learning_rate", covariance_learning_rate)
    arguments.rank(rank)

    def init(params, key):
        arguments.trainable_leaves(params)
        leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
        views = [view_of(path, leaf, matrix_axes) for path, leaf in leaves]
        streams = [
            noise.Stream(noise.path_names(path), "covariance", view.stack, (view.n,))
            for (path, _), view in zip(leaves, views, strict=True)
        ]
        return RankOneState(treedef.unflatten(noise.normals(key, streams)))

    def draw(state, params, key):
        given = {"covariance": state.covariance, "damping": damping, "matrix_axes": matrix_axes}
        return sample(key, params, rank=rank, **given)

    def absorb(state, params, directions, coefficients, into=None):
        def one(direction, target, vector):
            gaussian = DampedRankOne(vector, jnp.asarray(damping, jnp.float32))
            total, score = direction.combine(*coefficients, gaussian, target)
            learned = vector - covariance_learning_rate * score
            return total, learned.astype(vector.dtype)  # a rate of inject_hyperparams may be wider

        total, learned = leaf_by_leaf(one, params, into, directions, state.covariance)
        return total, RankOneState(learned)

    return Distribution(init, lambda state, params, key: state, draw, absorb)
