"""Isotropic directions, `N(0, I)`: MeZO's."""

from typing import Any

import jax
import optax

from loren_jax import arguments
from loren_jax.directions.matrices import AxesOf
from loren_jax.directions.sampling import sample
from loren_jax.directions.structured.seeded import after
from loren_jax.types import Directions


def isotropic(rank: int | None = None, matrix_axes: AxesOf | None = None) -> Directions:
    r"""Standard normal directions, or rank-r ones with the same covariance.

    .. math:: u \sim N(0, I), \qquad U = P Q^\top / \sqrt r

    Args:
      rank: None for full Gaussian directions, an integer r for the rank of every matrix.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf; see
        `loren_jax.directions.matrices.view_of`.

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
    if rank is not None:
        arguments.count("rank", rank)

    def init(params, key):
        arguments.trainable_leaves(params)
        return optax.EmptyState()

    def draw(state, params, key):
        return sample(key, params, rank=rank, matrix_axes=matrix_axes)

    def absorb(state, params, directions, coefficients, into=None):
        treedef = jax.tree.structure(params)
        targets = [None] * treedef.num_leaves if into is None else treedef.flatten_up_to(into)
        sums: list[Any] = []
        for direction, target in zip(treedef.flatten_up_to(directions), targets, strict=True):
            direction = after(direction, sums[-1] if sums else None)
            sums.append(direction.combine(*coefficients, None, target)[0])
        return treedef.unflatten(sums), state

    return Directions(init, lambda state, params, key: state, draw, absorb)
