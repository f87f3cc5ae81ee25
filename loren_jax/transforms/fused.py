"""A step that changes donated parameters in place: an estimate and what follows it, fused.

Optax's `update` returns a tree of updates: a second copy of every leaf, if only for a moment. Here
the estimate is added to the parameters, or to the momentum, as it is computed: leaf by leaf, in a
stack of layers layer by layer. What is held beside the donated trees is one matrix.
"""

from collections.abc import Callable
from typing import Any

import jax
import optax

from loren_jax.estimators.estimate import Estimator
from loren_jax.evaluation.sharded import automatic
from loren_jax.transforms.chain import Chain, asking
from loren_jax.transforms.descent import Descent
from loren_jax.types import PyTree


class Fusible(Chain):
    """`chain(estimator, descent)`, and the same step without a tree of updates.

    Attributes:
      apply: `(params, state, *, value_fn=None, losses=None) -> (params, state)`: what `update` and
        `optax.apply_updates` do, with the same state, up to rounding.
    """

    apply: Callable[..., tuple[PyTree, PyTree]]

    def __new__(cls, init, update, ask, apply):  # noqa: D102
        self = super().__new__(cls, init, update, ask)
        self.apply = apply
        return self


def fusible_chain(estimator: Estimator, descent: Descent) -> Fusible:
    """Chains an estimate and what follows it so that a step can be fused.

    Args:
      estimator: as `estimate` makes it.
      descent: as `descend` makes it.

    Returns:
      An `optax.GradientTransformationExtraArgs` that is `optax.chain(estimator, descent)`, with
      `ask` and `apply`.

    >>> from loren_jax import directions, estimate, schemes
    >>> from loren_jax.transforms.descent import descend
    >>> estimator = estimate(directions.isotropic(), schemes.two_sided(), num_directions=1)
    >>> optimizer = fusible_chain(estimator, descend(0.1))
    """
    tx = optax.chain(estimator, descent)

    def apply(params, state, *, value_fn=None, losses=None):
        estimate_state, after = state
        accumulate = lambda into, factor: estimator.accumulate(
            estimate_state, params, into, factor, value_fn=value_fn, losses=losses
        )
        params, estimate_state, after = descent.fused(accumulate, params, after)
        return params, (estimate_state, after)

    return Fusible(tx.init, tx.update, asking(estimator), apply)


def train_step(
    loss: Callable[..., Any],
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    full_loss: Callable[[PyTree], Any] | None = None,
) -> Any:
    """A compiled step in place: parameters and state are donated, and must not be used again.

    Args:
      loss: `(params, *batch) -> scalar`.
      optimizer: one of this library's, or any Optax transformation that takes `value_fn`; the
        latter goes through `update` and `optax.apply_updates`.
      full_loss: `params -> scalar` on all data, for a method that needs it as `mezo_svrg` does.

    Returns:
      `(params, state, *batch) -> (params, state)`.

    >>> import jax.numpy as jnp
    >>> import loren_jax
    >>> optimizer = loren_jax.loren(0.1, momentum=None)
    >>> step = train_step(lambda params, x: jnp.sum((params - x) ** 2), optimizer)
    >>> params = jnp.zeros(3)
    >>> state = optimizer.init(params)
    >>> params, state = step(params, state, jnp.ones(3))
    >>> optax.tree.get(state, "losses").shape
    (6, 1)
    """

    def step(params, state, *batch):
        value_fn = lambda params: loss(params, *batch)
        if isinstance(optimizer, Fusible):
            return optimizer.apply(params, state, value_fn=value_fn)
        # The estimate takes no gradient, which Optax has no type for.
        more = {} if full_loss is None else {"full_value_fn": full_loss}
        updates, state = optimizer.update(  # pyrefly: ignore
            None,  # pyrefly: ignore
            state,
            params,
            value_fn=value_fn,
            **more,
        )
        return optax.apply_updates(params, updates), state

    return jax.jit(automatic(step), donate_argnums=(0, 1))
