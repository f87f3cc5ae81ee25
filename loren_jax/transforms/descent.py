"""What follows an estimate in most methods: momentum, weight decay, learning rate. Plain Optax."""

from typing import Any

import jax.numpy as jnp
import optax

from loren_jax import arguments
from loren_jax.directions.masked import resolve_mask
from loren_jax.types import Mask


def descend(
    learning_rate: Any,
    *,
    momentum: Any = None,
    weight_decay: Any = 0.0,
    mask: Mask | None = None,
) -> optax.GradientTransformation:
    r"""Heavy-ball momentum, decoupled weight decay and the learning rate, once a step.

    .. math:: m \leftarrow \beta m + g, \qquad x \leftarrow x - \eta (m + \lambda x)

    Momentum is not dampened: the effective learning rate is `eta / (1 - beta)`. It is kept in
    float32 whatever the parameters are.

    Args:
      learning_rate: `eta > 0`, a number or a schedule.
      momentum: `beta` in [0, 1); None keeps no buffer.
      weight_decay: `lambda >= 0`.
      mask: the leaves that are trained; the others get no buffer and no decay.

    Returns:
      A gradient transformation.

    Raises:
      ValueError: an argument out of range.

    >>> tx = descend(0.1, momentum=0.9)
    >>> updates, _ = tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
    >>> updates
    Array([-0.1, -0.1], dtype=float32)
    """
    arguments.positive("learning_rate", learning_rate)
    arguments.non_negative("weight_decay", weight_decay)
    resolve = None if mask is None else lambda params: resolve_mask(mask, params)
    steps: list[optax.GradientTransformation] = []
    if momentum is not None:
        arguments.fraction("momentum", momentum)
        trace = optax.trace(momentum, accumulator_dtype=jnp.float32)
        steps.append(trace if resolve is None else optax.masked(trace, resolve))
    # Only a Python number: what inject_hyperparams makes of it must not change the chain's length.
    if not (isinstance(weight_decay, int | float) and weight_decay == 0):
        steps.append(optax.add_decayed_weights(weight_decay, resolve))
    return optax.chain(*steps, optax.scale_by_learning_rate(learning_rate))
