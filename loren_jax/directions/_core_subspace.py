"""Directions with kept bases on both sides and a small fresh core between them: SubZero's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from loren_jax import arguments
from loren_jax.directions import bases
from loren_jax.directions.apart import over_queries
from loren_jax.directions.matrices import AxesOf
from loren_jax.directions.structured import Dense, LowRank
from loren_jax.types import Distribution, PyTree


class CoreSubspaceState(NamedTuple):
    """State of `core_subspace`; float32, orthonormal columns.

    Attributes:
      steps: steps begun; U and V are renewed at the steps 0, every, 2 every, ...
      left: the bases U, `(*stack, m, r)` at a matrix, nothing at a vector.
      right: the bases V, `(*stack, n, r)` at a matrix, nothing at a vector.
    """

    steps: Int[Array, ""]
    left: PyTree
    right: PyTree


def core_subspace(
    rank: int = 24, every: int = 1000, matrix_axes: AxesOf | None = None
) -> Distribution:
    r"""Directions `U z V^T` with orthonormal U and V kept `every` steps and a fresh r x r core z.

    .. math:: y_k = \frac{\sqrt{m n}}{r} U z_k V^\top, \qquad z_k \sim N(0, I)

    The factor makes the mean square of an entry 1, as for a Gaussian direction; as all U and V are
    equally likely, the second moment is the identity over renewals and the estimate unbiased.
    Between renewals it is `m n / r^2` times the gradient's projection. Vectors are standard normal.

    Args:
      rank: r, clamped to the lesser dimension of each matrix.
      every: steps that U and V are kept.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.

    Returns:
      A distribution with a `CoreSubspaceState`: (m + n) r floats for an m x n matrix.

    Raises:
      ValueError: `rank` or `every` below 1.

    >>> from loren_jax import noise
    >>> params = {"kernel": jnp.zeros((4, 3))}
    >>> directions = core_subspace(rank=2)
    >>> state = directions.init(params, noise.run_key(0))
    >>> state = directions.refresh(state, params, noise.run_key(1))
    >>> directions.draw(state, params, noise.run_key(2))["kernel"].left.shape
    (3, 2)

    References:
      SubZero, https://arxiv.org/abs/2410.08989
    """
    arguments.count("rank", rank)
    arguments.count("every", every)
    left, right = bases.left_shape(rank), bases.right_shape(rank)

    def init(params, key):
        arguments.trainable_leaves(params)
        kept = (bases.zeros(params, shape, matrix_axes) for shape in (left, right))
        return CoreSubspaceState(jnp.zeros((), jnp.int32), *kept)

    def refresh(state, params, key):
        renew = lambda: bases.orthonormal(key, params, matrix_axes, left=left, right=right)
        kept = bases.every_steps(every, state.steps, renew, (state.left, state.right))
        return CoreSubspaceState(jnp.asarray(optax.safe_increment(state.steps)), *kept)

    def draw(state, params, key):
        core = lambda view: (bases.rank_of(view, rank),) * 2
        kept = (state.left, state.right)
        return bases.draw_directions(key, params, "core", core, matrix_axes, _lift, *kept)

    def absorb(state, params, directions, coefficients, into=None):
        def apply(_, direction, basis, target):
            if isinstance(direction, Dense):
                return direction.combine(coefficients.slope, coefficients.score, None, target)[0]
            total = over_queries(coefficients.slope, direction.left)
            return bases.add_to(target, LowRank(total, basis, direction.view))

        held = (directions, state.right, bases.targets(params, into))
        return jax.tree.map(apply, params, *held), state

    return Distribution(init, refresh, draw, absorb)


def _lift(core: Array, left: Array, right: Array) -> tuple[Array, Array]:
    scale = (left.shape[-2] * right.shape[-2]) ** 0.5 / core.shape[-1]
    with jax.default_matmul_precision("highest"):
        return scale * (left @ core), right
