"""Isotropic directions, `N(0, I)`: MeZO's."""

import optax

from loren_jax import arguments
from loren_jax.directions.matrices import AxesOf
from loren_jax.directions.sampling import sample
from loren_jax.directions.sums import summed
from loren_jax.types import Directions, Rank


def isotropic(rank: Rank = None, matrix_axes: AxesOf | None = None) -> Directions:
    r"""Standard normal directions, or rank-r ones with the same covariance.

    .. math:: u \sim N(0, I), \qquad U = P Q^\top / \sqrt r

    Args:
      rank: None for full Gaussian directions, an integer r for the rank of every matrix, `"auto"`
        for 1 where that costs nothing: see `loren_jax.types.Rank`.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default of `view_of` is wrong.

    Returns:
      Directions without state.

    Raises:
      ValueError: `rank` below 1.

    >>> import jax.numpy as jnp
    >>> from loren_jax import noise
    >>> directions = isotropic(rank=1)
    >>> params = {"kernel": jnp.zeros((4, 3))}
    >>> state = directions.init(params, noise.run_key(0))
    >>> directions.draw(state, params, noise.run_key(1))["kernel"].left.shape
    (3, 1)
    """
    arguments.rank(rank)

    def init(params, key):
        arguments.trainable_leaves(params)
        return optax.EmptyState()

    def draw(state, params, key):
        return sample(key, params, rank=rank, matrix_axes=matrix_axes)

    return Directions(init, lambda state, params, key: state, draw, summed)
