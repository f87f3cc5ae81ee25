"""Directions in a kept subspace of the outputs, with an orthogonalised estimate: ZO-Muon's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from loren_jax import arguments
from loren_jax.directions import bases
from loren_jax.directions.apart import over_queries
from loren_jax.directions.matrices import AxesOf
from loren_jax.directions.orthogonal import newton_schulz
from loren_jax.directions.structured import Dense, LowRank
from loren_jax.types import Distribution, PyTree


class SubspaceState(NamedTuple):
    """State of `subspace`.

    Attributes:
      steps: steps begun; P is renewed at the steps 0, every, 2 every, ...
      left: the bases P, `(*stack, m, r)` with orthonormal columns, float32, at a matrix, nothing at
        a vector.
    """

    steps: Int[Array, ""]
    left: PyTree


def subspace(rank: int = 64, every: int = 100, matrix_axes: AxesOf | None = None) -> Distribution:
    r"""Directions `P Psi` with an orthonormal P kept `every` steps and a standard normal Psi.

    .. math::

        y_k = P \Psi_k, \qquad G = \sum_k c_k \Psi_k, \qquad \hat g = P \, \mathrm{msign}(G)

    G is the estimate in subspace coordinates, r x n. There it is orthogonalised: all its singular
    values become 1 or nearly so, and the estimate of a matrix has norm `sqrt(r)` whatever the scale
    of the loss. Vectors are standard normal and their estimate is `sum c_k z_k`.

    All queries of a step share the one P. The estimate is not linear in the coefficients, so it
    must not be fused with what follows it.

    Args:
      rank: r, clamped to the lesser dimension of each matrix.
      every: steps that a P is kept.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.

    Returns:
      A distribution with a `SubspaceState`: m r floats for an m x n matrix.

    Raises:
      ValueError: `rank` or `every` below 1.

    >>> from loren_jax import noise
    >>> params = {"kernel": jnp.zeros((4, 3))}
    >>> directions = subspace(rank=2)
    >>> state = directions.init(params, noise.run_key(0))
    >>> state = directions.refresh(state, params, noise.run_key(1))
    >>> directions.draw(state, params, noise.run_key(2))["kernel"].right.shape
    (4, 2)

    References:
      ZO-Muon, https://arxiv.org/abs/2602.17155
    """
    arguments.count("rank", rank)
    arguments.count("every", every)
    left, right = bases.left_shape(rank), bases.right_shape(rank)

    def init(params, key):
        arguments.trainable_leaves(params)
        return SubspaceState(jnp.zeros((), jnp.int32), bases.zeros(params, left, matrix_axes))

    def refresh(state, params, key):
        renew = lambda: bases.orthonormal(key, params, matrix_axes, basis=left)[0]
        basis = bases.every_steps(every, state.steps, renew, state.left)
        return SubspaceState(jnp.asarray(optax.safe_increment(state.steps)), basis)

    def draw(state, params, key):
        lift = lambda coordinates, basis: (basis, coordinates)
        return bases.draw_directions(key, params, "right", right, matrix_axes, lift, state.left)

    def absorb(state, params, directions, coefficients, into=None):
        def apply(_, direction, basis, target):
            if isinstance(direction, Dense):
                return direction.combine(coefficients.slope, coefficients.score, None, target)[0]
            coordinates = over_queries(coefficients.slope, direction.right)
            return bases.add_to(target, LowRank(basis, newton_schulz(coordinates), direction.view))

        held = (directions, state.left, bases.targets(params, into))
        return jax.tree.map(apply, params, *held), state

    return Distribution(init, refresh, draw, absorb, linear=False)
