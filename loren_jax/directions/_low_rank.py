"""Low-rank directions whose fan-in factor is kept for many steps: LOZO's."""

from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from loren_jax import arguments
from loren_jax.directions import bases
from loren_jax.directions.apart import over_queries
from loren_jax.directions.matrices import AxesOf
from loren_jax.directions.structured import Dense, LowRank
from loren_jax.types import Distribution, Leaf, PyTree, Scalar

FactorScale: TypeAlias = Literal["unit", "rank", "sqrt_rank"]
"""What becomes of the scale of a product `U V^T`; see `low_rank`."""


class LowRankState(NamedTuple):
    """State of `low_rank`; float32.

    Attributes:
      steps: steps begun; V is renewed at the steps 0, every, 2 every, ...
      right: the factors V, `(*stack, n, r)` at a matrix, nothing at a vector.
      trace: with momentum, that of the factors U, `(*stack, m, r)` at a matrix and like the leaf at
        a vector; else None.
    """

    steps: Int[Array, ""]
    right: PyTree
    trace: PyTree


def low_rank(
    rank: int = 2,
    every: int = 50,
    factor_scale: FactorScale = "unit",
    momentum: Scalar | None = None,
    matrix_axes: AxesOf | None = None,
) -> Distribution:
    r"""Directions `U V^T` with standard normal factors: U fresh each query, V kept `every` steps.

    .. math:: y_k = U_k V^\top, \qquad \hat g = \Big( \sum_k c_k U_k \Big) V^\top

    Between two renewals all steps move a matrix within the row space of one V. Vectors are standard
    normal. `factor_scale` says what becomes of the product's scale, whose entries have variance r:

    * "unit": nothing, as in the official code. The estimate's mean is r times the gradient.
    * "rank": `U V^T` is evaluated and `U V^T / r` applied, as in the paper; unbiased.
    * "sqrt_rank": `U V^T / sqrt(r)` is evaluated and applied: unbiased, and the perturbation is as
      long as a Gaussian one. It is "rank" with epsilon divided by `sqrt(r)`.

    With `momentum` beta the estimate is the moving average of those of all steps, kept in the
    factor and moved into the new row space when V is renewed:

    .. math::

        M \leftarrow \beta M + (1 - \beta) \sum_k c_k U_k, \qquad \hat g = M V^\top, \qquad
        M \leftarrow M V_\text{old}^\top V_\text{new} / n \text{ at a renewal}

    The first step is not dampened: `M = sum c U`. The estimate is then not linear in the
    coefficients of a step, so it must not be fused with what follows it.

    Args:
      rank: r, clamped to the lesser dimension of each matrix.
      every: steps that a V is kept.
      factor_scale: "unit", "rank" or "sqrt_rank".
      momentum: beta in [0, 1); None keeps none.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.

    Returns:
      A distribution with a `LowRankState`: n r floats for an m x n matrix, with momentum (m + n) r
      and m for a vector of length m.

    Raises:
      ValueError: an argument out of range.

    >>> from loren_jax import noise
    >>> params = {"kernel": jnp.zeros((4, 3))}
    >>> directions = low_rank(rank=1)
    >>> state = directions.init(params, noise.run_key(0))
    >>> state = directions.refresh(state, params, noise.run_key(1))
    >>> directions.draw(state, params, noise.run_key(2))["kernel"].left.shape
    (3, 1)

    References:
      LOZO, https://arxiv.org/abs/2410.07698
    """
    arguments.count("rank", rank)
    arguments.count("every", every)
    arguments.choice("factor_scale", factor_scale, get_args(FactorScale))
    if momentum is not None:
        arguments.fraction("momentum", momentum)
    left, right = bases.left_shape(rank), bases.right_shape(rank)

    def init(params, key):
        arguments.trainable_leaves(params)
        basis = bases.zeros(params, right, matrix_axes)
        trace = None if momentum is None else bases.zeros(params, left, matrix_axes, vectors=True)
        return LowRankState(jnp.zeros((), jnp.int32), basis, trace)

    def refresh(state, params, key):
        def renew():
            (new,) = bases.gaussian(key, params, matrix_axes, basis=right)
            if momentum is None:
                return new, None
            return new, jax.tree.map(_into_row_space, params, state.trace, state.right, new)

        basis, trace = bases.every_steps(every, state.steps, renew, (state.right, state.trace))
        return LowRankState(jnp.asarray(optax.safe_increment(state.steps)), basis, trace)

    def draw(state, params, key):
        lift = lambda u, v: (u / jnp.sqrt(u.shape[-1]) if factor_scale == "sqrt_rank" else u, v)
        return bases.draw_directions(key, params, "left", left, matrix_axes, lift, state.right)

    def absorb(state, params, directions, coefficients, into=None):
        factors = lambda _, d: over_queries(
            coefficients.slope, d.array if isinstance(d, Dense) else d.left
        )
        sums = jax.tree.map(factors, params, directions)
        if momentum is not None:
            gain = jnp.where(state.steps == 1, 1.0, 1.0 - momentum)
            average = lambda m, u: (momentum * m + gain * u).astype(m.dtype)
            sums = jax.tree.map(average, state.trace, sums)
            state = state._replace(trace=sums)

        def apply(step, direction, basis, target):
            if isinstance(direction, Dense):
                return bases.add_to(target, Dense(step, direction.view))
            step = step / step.shape[-1] if factor_scale == "rank" else step
            return bases.add_to(target, LowRank(step, basis, direction.view))

        held = (directions, state.right, bases.targets(params, into))
        return jax.tree.map(apply, sums, *held), state

    return Distribution(init, refresh, draw, absorb, linear=momentum is None)


def _into_row_space(leaf: Leaf, trace: Array, old: Array | None, new: Array | None) -> Array:
    """`M V_old^T V_new / n`: M V_old^T in the new row space, as `V_new^T V_new` is near n."""
    del leaf
    if old is None or new is None:
        return trace
    with jax.default_matmul_precision("highest"):
        return trace @ (jnp.matrix_transpose(old) @ new) / old.shape[-2]
