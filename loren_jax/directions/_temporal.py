"""Directions in one fixed family of rank-one matrices, with fresh weights: TeZO's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from loren_jax import arguments
from loren_jax.directions import bases
from loren_jax.directions.apart import apart, over_queries
from loren_jax.directions.matrices import AxesOf
from loren_jax.directions.structured import Dense, LowRank
from loren_jax.types import Distribution, PyTree, Scalar


class TemporalState(NamedTuple):
    """State of `temporal`; float32.

    Attributes:
      left: the factors U, `(*stack, m, r)` at a matrix, nothing at a vector. Never renewed.
      right: the factors V, `(*stack, n, r)` at a matrix, nothing at a vector. Never renewed.
      trace: with momentum, that of the weights, `(*stack, r)` at a matrix and like the leaf at a
        vector; else None.
    """

    left: PyTree
    right: PyTree
    trace: PyTree


def temporal(
    rank: int = 32, momentum: Scalar | None = None, matrix_axes: AxesOf | None = None
) -> Distribution:
    r"""Directions `U diag(tau) V^T` with U and V drawn once and r standard normal weights a query.

    .. math:: y_k = \sum_{s=1}^{r} \tau_{k s} u_s v_s^\top, \qquad \tau_k \sim N(0, I_r)

    Over all steps the directions are a tensor of rank r whose third axis is time, hence the name.
    Entries have variance r. A matrix never leaves `W_0 + span{u_s v_s^T}`: r numbers say where it
    is. Vectors are standard normal.

    With `momentum` beta the estimate is the moving average of those of all steps, kept in the
    weights: `M <- beta M + (1 - beta) sum c tau`, started at zero. It is then not linear in the
    coefficients of a step, so it must not be fused with what follows it.

    Args:
      rank: r, clamped to the lesser dimension of each matrix.
      momentum: beta in [0, 1); None keeps none.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.

    Returns:
      A distribution with a `TemporalState`: (m + n) r floats for an m x n matrix, with momentum r
      more and m for a vector of length m.

    Raises:
      ValueError: `rank` below 1 or `momentum` outside [0, 1).

    >>> from loren_jax import noise
    >>> params = {"kernel": jnp.zeros((4, 3))}
    >>> directions = temporal(rank=2)
    >>> state = directions.init(params, noise.run_key(0))
    >>> directions.draw(state, params, noise.run_key(1))["kernel"].left.shape
    (3, 2)

    References:
      TeZO, https://arxiv.org/abs/2501.19057
    """
    arguments.count("rank", rank)
    if momentum is not None:
        arguments.fraction("momentum", momentum)
    weights = lambda view: (bases.rank_of(view, rank),)

    def init(params, key):
        arguments.trainable_leaves(params)
        factors = {"left": bases.left_shape(rank), "right": bases.right_shape(rank)}
        left, right = bases.gaussian(key, params, matrix_axes, **factors)
        trace = (
            None if momentum is None else bases.zeros(params, weights, matrix_axes, vectors=True)
        )
        return TemporalState(left, right, trace)

    def draw(state, params, key):
        lift = lambda tau, u, v: (u * tau[..., None, :], v)
        kept = (state.left, state.right)
        return bases.draw_directions(key, params, "weights", weights, matrix_axes, lift, *kept)

    def absorb(state, params, directions, coefficients, into=None):
        def average(old, new):
            if momentum is None:
                return new
            return (momentum * old + (1.0 - momentum) * new).astype(old.dtype)

        def move(_, direction, basis, old=None):
            if isinstance(direction, Dense):
                return average(old, over_queries(coefficients.slope, direction.array))
            total = lambda: over_queries(coefficients.slope, direction.left)
            # A loop over steps would take the norms of the basis out, and round the rest otherwise.
            return apart(lambda: average(old, _weights(total(), basis)), coefficients.slope)

        traces = () if momentum is None else (state.trace,)
        steps = jax.tree.map(move, params, directions, state.left, *traces)
        if momentum is not None:
            state = state._replace(trace=steps)

        def apply(step, direction, left, right, target):
            if isinstance(direction, Dense):
                return bases.add_to(target, Dense(step, direction.view))
            return bases.add_to(target, LowRank(left * step[..., None, :], right, direction.view))

        held = (directions, state.left, state.right, bases.targets(params, into))
        return jax.tree.map(apply, steps, *held), state

    keep = lambda state, params, key: state
    return Distribution(init, keep, draw, absorb, linear=momentum is None)


def _weights(factor: Array, basis: Array) -> Array:
    """The weights tau of a factor `U diag(tau)`, column by column."""
    return jnp.sum(factor * basis, -2) / jnp.sum(jnp.square(basis), -2)
