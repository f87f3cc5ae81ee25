"""What follows an estimate in most methods: momentum, weight decay, learning rate."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from loren_jax import arguments
from loren_jax.precision import wide
from loren_jax.transformation import Update
from loren_jax.transforms.precision import in_float32
from loren_jax.types import Scalar, ScalarOrSchedule


def descend(
    learning_rate: ScalarOrSchedule,
    *,
    momentum: Scalar | None = None,
    weight_decay: ScalarOrSchedule = 0.0,
) -> optax.GradientTransformation:
    r"""Heavy-ball momentum, decoupled weight decay and the learning rate, once a step.

    .. math:: m \leftarrow \beta m + g, \qquad x \leftarrow x - \eta (m + \lambda x)

    Momentum is not dampened: the effective learning rate is `eta / (1 - beta)`. It is kept in
    float32 at least, whatever the parameters are.

    Args:
      learning_rate: `eta > 0`, a number or a schedule.
      momentum: `beta` in [0, 1); None keeps no buffer.
      weight_decay: `lambda >= 0`, a number or a schedule.

    Returns:
      An `optax.GradientTransformation` that `chain` can fuse with the estimate before it. Its state
      is that of Optax's `trace`, `add_decayed_weights` and `scale_by_learning_rate` in a chain.

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
    numbers: list[Any] = [learning_rate]
    # Only a Python number: what inject_hyperparams makes of it must not change the chain's length.
    if not (isinstance(weight_decay, int | float) and weight_decay == 0):
        steps.append(optax.add_decayed_weights(weight_decay))
        numbers = [weight_decay, learning_rate]
    init = optax.chain(*steps, optax.scale_by_learning_rate(learning_rate)).init

    def begin(accumulate: Any, state: Any) -> tuple[Any, Any, Any, Any]:
        """This step's decay, if any, and rate; its momentum, if any; the state after it.

        The momentum comes with what else `accumulate` returned as it added the estimate.
        """
        counted = zip(numbers, state[-len(numbers) :], strict=True)
        values, after = zip(*(_value(*one) for one in counted), strict=True)
        decay, rate = [None, *values][-2:]
        if momentum is None:
            return decay, rate, None, after
        kept = jax.tree.map(lambda m: momentum * m, state[0].trace)
        moved, estimator = accumulate(kept, 1.0)
        return decay, rate, (moved, estimator), (state[0]._replace(trace=moved), *after)

    # Where decay is added its rounding differs: to the updates here, to the parameters in place.
    def update(updates, state, params=None, **extra):
        add = lambda kept, _: (jax.tree.map(jnp.add, kept, updates), None)
        decay, rate, buffer, state = begin(add, state)
        updates = updates if buffer is None else buffer[0]
        if decay is not None:
            if params is None:
                raise ValueError("params is None, but they decay: pass update(g, state, params).")
            updates = jax.tree.map(lambda u, x: u + decay * x, updates, params)
        # A schedule's value takes the update's type, as in Optax; any other number keeps its own.
        own = lambda u: jnp.asarray(rate, u.dtype) if callable(learning_rate) else rate
        return jax.tree.map(lambda u: -own(u) * u, updates), state

    def fuse(accumulate, params, state):
        decay, rate, buffer, state = begin(accumulate, state)
        cast = lambda moved, x: moved.astype(x.dtype)
        into = params
        if decay is not None:
            # Rounded with the rest of the step: alone, a decay of less than half a spacing of the
            # parameters' type would be lost in every step.
            into = jax.tree.map(lambda x: x.astype(wide(x)) * (1 - rate * decay), params)
        if buffer is None:
            moved, estimator = accumulate(into, -rate)
            return jax.tree.map(cast, moved, params), estimator, state
        moved, estimator = buffer
        step = lambda into, m, x: cast(into - rate * m, x)
        return jax.tree.map(step, into, moved, params), estimator, state

    return optax.GradientTransformation(init, Update(update, fuse=fuse))


def _value(number: ScalarOrSchedule, state: Any) -> tuple[Any, Any]:
    """A number or the value of a schedule, and the schedule's state a step later."""
    if not callable(number):
        return number, state
    return number(state.count), state._replace(count=optax.safe_increment(state.count))
