"""What follows an estimate in most methods: momentum, weight decay, learning rate. Plain Optax."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from loren_jax import arguments
from loren_jax.directions.masked import resolve_mask
from loren_jax.types import Mask, PyTree


def descend(
    learning_rate: Any,
    *,
    momentum: Any = None,
    weight_decay: Any = 0.0,
    mask: Mask | None = None,
) -> "Descent":
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
      An `optax.GradientTransformation` that can also be fused with the estimate before it.

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
        steps.append(on_trained(trace, mask))
    # Only a Python number: what inject_hyperparams makes of it must not change the chain's length.
    if not (isinstance(weight_decay, int | float) and weight_decay == 0):
        steps.append(optax.add_decayed_weights(weight_decay, resolve))
    tx = optax.chain(*steps, optax.scale_by_learning_rate(learning_rate))

    def fused(accumulate, params, state):
        rate = _rate(learning_rate, state[-1])
        shrunk = _shrink(params, weight_decay, rate, resolve)
        if momentum is None:
            params, estimator = accumulate(shrunk, -rate)
            return params, estimator, (*state[:-1], _advance(state[-1]))
        trace = state[0] if resolve is None else state[0].inner_state
        kept = jax.tree.map(lambda m: momentum * m, trace.trace)
        moved, estimator = accumulate(kept, 1.0)
        trace = trace._replace(trace=moved)
        first = trace if resolve is None else state[0]._replace(inner_state=trace)
        params = _descend(shrunk, moved, rate, None if resolve is None else resolve(params))
        return params, estimator, (first, *state[1:-1], _advance(state[-1]))

    return Descent(tx.init, tx.update, fused)


def on_trained(
    transformation: optax.GradientTransformation, mask: Mask | None
) -> optax.GradientTransformation:
    """The transformation on the trained leaves alone: the others pass by and have no state.

    Args:
      transformation: any of Optax's.
      mask: the leaves that are trained; None for all.

    Returns:
      An `optax.GradientTransformation`.

    >>> tx = on_trained(optax.scale(2.0), lambda path: path == "a")
    >>> tree = {"a": jnp.ones(1), "b": jnp.ones(1)}
    >>> updates, _ = tx.update(tree, tx.init(tree))
    >>> float(updates["a"][0]), float(updates["b"][0])
    (2.0, 1.0)
    """
    if mask is None:
        return transformation
    return optax.masked(transformation, lambda params: resolve_mask(mask, params))


class Descent(optax.GradientTransformation):
    """What follows an estimate, and the same fused with it.

    Attributes:
      fused: `(accumulate, params, state) -> (params, estimator state, state)`, where
        `accumulate(into, factor)` adds the estimate times `factor` to a tree.
    """

    fused: Callable[..., tuple[PyTree, PyTree, PyTree]]

    def __new__(cls, init, update, fused):  # noqa: D102
        self = super().__new__(cls, init, update)
        self.fused = fused
        return self


def _rate(learning_rate: Any, state: Any) -> Any:
    return learning_rate(state.count) if callable(learning_rate) else learning_rate


def _advance(state: Any) -> Any:
    """The state of the learning rate's schedule, if there is one, a step later."""
    if isinstance(state, optax.EmptyState):
        return state
    return state._replace(count=optax.safe_increment(state.count))


def _shrink(params: PyTree, weight_decay: Any, rate: Any, resolve: Any) -> PyTree:
    """The parameters after their decay; untouched, and so not copied, where there is none."""
    if isinstance(weight_decay, int | float) and weight_decay == 0:
        return params
    flags = jax.tree.map(lambda _: True, params) if resolve is None else resolve(params)
    shrink = lambda flag, x: (x * (1 - rate * weight_decay)).astype(x.dtype) if flag else x
    return jax.tree.map(shrink, flags, params)


def _descend(params: PyTree, moved: PyTree, rate: Any, flags: PyTree | None) -> PyTree:
    """`x - rate m` on the trained leaves."""
    step = lambda x, m: (x - rate * m).astype(x.dtype)
    if flags is None:
        return jax.tree.map(step, params, moved)
    return jax.tree.map(lambda flag, x, m: step(x, m) if flag else x, flags, params, moved)
