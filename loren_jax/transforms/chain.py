"""`optax.chain` behind an estimate, which keeps the other forms of a step."""

from typing import Any

import jax
import optax

from loren_jax.transformation import Update, ZerothOrder, form
from loren_jax.types import PyTree


def chain(estimator: ZerothOrder, *after: optax.GradientTransformation) -> ZerothOrder:
    """Chains an estimate and what follows it.

    Where `descend` alone follows, the step also has the form `apply`, in place: the estimate is
    added to the parameters, or to the momentum, as it is computed, leaf by leaf, in a stack of
    layers layer by layer. Optax's tree of updates would be a second copy of every leaf, if only for
    a moment.

    Args:
      estimator: as `estimate` makes it.
      after: any of Optax's transformations, in their order.

    Returns:
      `optax.chain(estimator, *after)`, with `ask`, and `apply` where that is possible.

    >>> import jax.numpy as jnp
    >>> from loren_jax import directions, estimate, schemes
    >>> estimator = estimate(directions.isotropic(), schemes.two_sided(), num_directions=1)
    >>> optimizer = chain(estimator, optax.scale(-0.1))
    >>> params = jnp.ones(3)
    >>> state = optimizer.init(params)
    >>> plus, minus = (optimizer.ask(params, state, 0, point) for point in (0, 1))
    >>> bool(jnp.allclose((plus + minus) / 2, params))
    True
    """
    tx = optax.chain(estimator, *after)
    linear = form(estimator, "accumulate") is not None
    fused: Any = form(after[0], "fused") if linear and len(after) == 1 else None

    def ask(params: PyTree, state: Any, direction: int | jax.Array, point: int | jax.Array):
        return estimator.ask(params, state[0], direction, point)

    def apply(params, state, **sources):
        estimate_state, after_state = state
        accumulate = lambda into, factor: estimator.accumulate(
            estimate_state, params, into, factor, **sources
        )
        params, estimate_state, after_state = fused(accumulate, params, after_state)
        return params, (estimate_state, after_state)

    return ZerothOrder(tx.init, Update(tx.update, ask=ask, apply=fused and apply))
