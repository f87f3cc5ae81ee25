"""Directions in a kept subspace of the outputs, with an orthogonalised estimate: ZO-Muon's."""

from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from loren_jax import arguments
from loren_jax.directions import bases
from loren_jax.directions.apart import over_queries
from loren_jax.directions.matrices import AxesOf
from loren_jax.directions.orthogonal import Orthogonalise, newton_schulz, power_iteration
from loren_jax.directions.structured import Dense, LowRank
from loren_jax.directions.sums import leaf_by_leaf
from loren_jax.types import Distribution, PyTree

PUBLISHED = 32
"""Leading singular directions of ZO-MOPI's experiments, of 64."""


class SubspaceState(NamedTuple):
    """State of `subspace`.

    Attributes:
      steps: steps begun; P is renewed at the steps 0, every, 2 every, ...
      left: the bases P, `(*stack, m, r)` with orthonormal columns, float32, at a matrix, nothing at
        a vector.
      right: what the power iterations have found, V, `(*stack, n, k)` with orthonormal columns,
        float32, at a matrix; `()` where there are none.
    """

    steps: Int[Array, ""]
    left: PyTree
    right: PyTree = ()


def subspace(
    rank: int = 64,
    every: int = 100,
    matrix_axes: AxesOf | None = None,
    orthogonalise: Orthogonalise = "newton_schulz",
    power_rank: int | None = None,
) -> Distribution:
    r"""Directions `P Psi` with an orthonormal P kept `every` steps and a standard normal Psi.

    .. math::

        y_k = P \Psi_k, \qquad G = \sum_k c_k \Psi_k, \qquad \hat g = P \, \mathrm{msign}(G)

    G is the estimate in subspace coordinates, r x n. There it is orthogonalised: all its singular
    values become 1 or nearly so, and the estimate of a matrix has norm `sqrt(r)` whatever the scale
    of the loss. Vectors are standard normal and their estimate is `sum c_k z_k`.

    With `orthogonalise="power"` the matrix sign is that of k leading directions of G, by one power
    iteration a step from the V of the step before (`power_iteration`); the estimate then has norm
    `sqrt(k)`. V lies on the side of the inputs, which P does not touch, so a new P keeps it.

    All queries of a step share the one P. The estimate is not linear in the coefficients, so it
    must not be fused with what follows it.

    Args:
      rank: r, clamped to the lesser dimension of each matrix.
      every: steps that a P is kept.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.
      orthogonalise: `"newton_schulz"` for all singular directions of G, `"power"` for the leading.
      power_rank: k of `"power"`, clamped to the rank of each matrix; None is 32.

    Returns:
      A distribution with a `SubspaceState`: m r floats for an m x n matrix, and n k with `"power"`.

    Raises:
      ValueError: `rank`, `every` or `power_rank` below 1; `orthogonalise` is none of the two; a
        `power_rank` without power.

    >>> from loren_jax import noise
    >>> params = {"kernel": jnp.zeros((4, 3))}
    >>> directions = subspace(rank=2)
    >>> state = directions.init(params, noise.run_key(0))
    >>> state = directions.refresh(state, params, noise.run_key(1))
    >>> directions.draw(state, params, noise.run_key(2))["kernel"].right.shape
    (4, 2)

    References:
      ZO-Muon, https://arxiv.org/abs/2602.17155; ZO-MOPI, https://arxiv.org/abs/2605.09034
    """
    arguments.count("rank", rank)
    arguments.count("every", every)
    arguments.choice("orthogonalise", orthogonalise, get_args(Orthogonalise))
    power, leading = orthogonalise == "power", PUBLISHED if power_rank is None else power_rank
    arguments.count("power_rank", leading)
    if power_rank is not None and not power:
        raise ValueError(
            f"power_rank is {power_rank}, but orthogonalise {orthogonalise!r} takes all "
            "directions: leave power_rank out, or give orthogonalise='power'."
        )
    found = lambda view: (view.n, min(leading, bases.rank_of(view, rank)))
    left, right = bases.left_shape(rank), bases.right_shape(rank)

    def init(params, key):
        arguments.trainable_leaves(params)
        start = bases.orthonormal(key, params, matrix_axes, found=found)[0] if power else ()
        basis = bases.zeros(params, left, matrix_axes)
        return SubspaceState(jnp.zeros((), jnp.int32), basis, start)

    def refresh(state, params, key):
        renew = lambda: bases.orthonormal(key, params, matrix_axes, basis=left)[0]
        basis = bases.every_steps(every, state.steps, renew, state.left)
        return state._replace(steps=jnp.asarray(optax.safe_increment(state.steps)), left=basis)

    def draw(state, params, key):
        lift = lambda coordinates, basis: (basis, coordinates)
        return bases.draw_directions(key, params, "right", right, matrix_axes, lift, state.left)

    def absorb(state, params, directions, coefficients, into=None):
        def apply(direction, target, basis, kept):
            if isinstance(direction, Dense):
                return direction.combine(coefficients.slope, coefficients.score, None, target)
            coordinates = over_queries(coefficients.slope, direction.right)
            if not power:
                whole = LowRank(basis, newton_schulz(coordinates), direction.view)
                return bases.add_to(target, whole), None
            own, kept = power_iteration(jnp.matrix_transpose(coordinates), kept)
            return bases.add_to(target, LowRank(basis @ own, kept, direction.view)), kept

        kept = state.right if power else jax.tree.map(lambda _: None, params)
        total, kept = leaf_by_leaf(apply, params, into, directions, state.left, kept)
        return total, state._replace(right=kept) if power else state

    return Distribution(init, refresh, draw, absorb, linear=False)
