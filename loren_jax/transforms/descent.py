"""What follows an estimate in most methods: momentum, weight decay, learning rate. Plain Optax."""

from typing import Any

import jax
import optax

from loren_jax import arguments
from loren_jax.transformation import Update, update_of
from loren_jax.transforms.precision import in_float32
from loren_jax.types import PyTree


def descend(
    learning_rate: Any,
    *,
    momentum: Any = None,
    weight_decay: Any = 0.0,
) -> optax.GradientTransformation:
    r"""Heavy-ball momentum, decoupled weight decay and the learning rate, once a step.

    .. math:: m \leftarrow \beta m + g, \qquad x \leftarrow x - \eta (m + \lambda x)

    Momentum is not dampened: the effective learning rate is `eta / (1 - beta)`. It is kept in
    float32 at least, whatever the parameters are.

    Args:
      learning_rate: `eta > 0`, a number or a schedule.
      momentum: `beta` in [0, 1); None keeps no buffer.
      weight_decay: `lambda >= 0`.

    Returns:
      An `optax.GradientTransformation` that `chain` can fuse with the estimate before it.

    Raises:
      ValueError: an argument out of range.

    >>> import jax.numpy as jnp
    >>> tx = descend(0.1, momentum=0.9)
    >>> updates, _ = tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
    >>> updates
    Array([-0.1, -0.1], dtype=float32)
    """
    arguments.positive("learning_rate", learning_rate)
    arguments.non_negative("weight_decay", weight_decay)
    steps: list[optax.GradientTransformation] = []
    if momentum is not None:
        arguments.fraction("momentum", momentum)
        steps.append(in_float32(optax.trace(momentum)))
    # Only a Python number: what inject_hyperparams makes of it must not change the chain's length.
    if not (isinstance(weight_decay, int | float) and weight_decay == 0):
        steps.append(optax.add_decayed_weights(weight_decay))
    tx = optax.chain(*steps, optax.scale_by_learning_rate(learning_rate))

    def fused(accumulate, params, state):
        rate = _rate(learning_rate, state[-1])
        shrunk = _shrink(params, weight_decay, rate)
        if momentum is None:
            params, estimator = accumulate(shrunk, -rate)
            return params, estimator, (*state[:-1], _advance(state[-1]))
        kept = jax.tree.map(lambda m: momentum * m, state[0].trace)
        moved, estimator = accumulate(kept, 1.0)
        params = jax.tree.map(lambda x, m: (x - rate * m).astype(x.dtype), shrunk, moved)
        first = state[0]._replace(trace=moved)
        return params, estimator, (first, *state[1:-1], _advance(state[-1]))

    return optax.GradientTransformation(tx.init, Update(update_of(tx), fused=fused))


def _rate(learning_rate: Any, state: Any) -> Any:
    return learning_rate(state.count) if callable(learning_rate) else learning_rate


def _advance(state: Any) -> Any:
    """The state of the learning rate's schedule, if there is one, a step later."""
    if isinstance(state, optax.EmptyState):
        return state
    return state._replace(count=optax.safe_increment(state.count))


def _shrink(params: PyTree, weight_decay: Any, rate: Any) -> PyTree:
    """The parameters after their decay; untouched, and so not copied, where there is none."""
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return params
    return jax.tree.map(lambda x: (x * (1 - rate * weight_decay)).astype(x.dtype), params)
