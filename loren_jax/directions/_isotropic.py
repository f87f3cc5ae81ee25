"""Isotropic directions, `N(0, I)`: MeZO's."""

import optax

from loren_jax import arguments
from loren_jax.directions.matrices import AxesOf
from loren_jax.directions.sampling import sample
from loren_jax.directions.sums import weighted_sum
from loren_jax.types import Distribution, RankOrSigns


def isotropic(rank: RankOrSigns = None, matrix_axes: AxesOf | None = None) -> Distribution:
    r"""Standard normal directions, or rank-r ones with the same covariance.

    .. math:: u \sim N(0, I), \qquad U = P Q^\top / \sqrt r

    Args:
      rank: None for full Gaussian directions, an integer r for the rank of every matrix, `"auto"`
        for 1 where that costs nothing, `"signs"` for full ones of 1 and -1: see
        `loren_jax.types.RankOrSigns`.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default of `view_of` is wrong.

    Returns:
      A distribution without state.

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
    arguments.rank(rank, signs=True)

    def init(params, key):
        arguments.trainable_leaves(params)
        return optax.EmptyState()

    def draw(state, params, key):
        return sample(key, params, rank=rank, matrix_axes=matrix_axes)

    return Distribution(init, lambda state, params, key: state, draw, weighted_sum)
