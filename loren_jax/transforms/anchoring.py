"""Weight decay towards the start: what is trained stays near what it was."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from loren_jax import arguments
from loren_jax.transformation import Update, ZerothOrder, form, update_of
from loren_jax.types import PyTree


class AnchoredState(NamedTuple):
    """State of `anchored`.

    Attributes:
      start: the parameters of the first step.
      inner: the state of what is anchored.
    """

    start: PyTree
    inner: PyTree


def anchored(optimizer: optax.GradientTransformation, weight_decay: float) -> ZerothOrder:
    r"""Anchored weight decay: each step is followed by a pull towards the parameters at the start.

    .. math:: x \leftarrow x^+ - \lambda (x^+ - x_0), \qquad x^+ = \text{step}(x)

    A model that is fine-tuned on a reward by random directions drifts in all those that the reward
    does not see, and forgets. Decay towards zero, as of `weight_decay`, would destroy it; towards
    the start, what no reward speaks for comes back, by half in `0.7 / weight_decay` steps. The pull
    does not depend on the learning rate. In bfloat16 one of less than half a spacing of the numbers
    is lost, as any update is; `transforms.stochastic_rounding` behind it keeps it on average.

    Args:
      optimizer: an optimiser of this library, or any chain around one. Masks go around it:
        `trained(anchored(optimizer, 0.01), mask)`.
      weight_decay: `lambda` in [0, 1), the share of the way that each step takes back; 0 keeps the
        start and changes nothing.

    Returns:
      The anchored optimiser, with a state of one more copy of the parameters.

    Raises:
      ValueError: `weight_decay` is out of range; in `update`, `params` missing.

    >>> import loren_jax
    >>> optimizer = anchored(loren_jax.mezo(0.1, num_directions=4), weight_decay=0.5)
    >>> step = loren_jax.train_step(jnp.sum, optimizer)  # a loss that falls for ever
    >>> params = jnp.ones(3)
    >>> state = optimizer.init(params)
    >>> for _ in range(100):
    ...     params, state = step(params, state)
    >>> bool(jnp.abs(params - 1).max() < 1)
    True
    """
    arguments.fraction("weight_decay", weight_decay)
    inner, own = optax.with_extra_args_support(optimizer), form(optimizer, "apply")

    def pull(moved: jax.Array, start: jax.Array) -> jax.Array:
        if not jnp.issubdtype(moved.dtype, jnp.inexact):
            return moved
        return (moved - weight_decay * (moved - start)).astype(moved.dtype)

    def init(params: PyTree) -> AnchoredState:
        return AnchoredState(jax.tree.map(jnp.copy, params), inner.init(params))

    def update(updates, state, params=None, **given):
        if params is None:
            raise ValueError("params is None, but they are pulled: pass update(g, state, params).")
        updates, after = inner.update(updates, state.inner, params, **given)
        back = lambda u, x, start: u - weight_decay * (x + u - start)
        return jax.tree.map(back, updates, params, state.start), state._replace(inner=after)

    def apply(params, state, **given):
        params, after = own(params, state.inner, **given)
        return jax.tree.map(pull, params, state.start), state._replace(inner=after)

    def ask(params, state, direction, point):
        return form(optimizer, "ask")(params, state.inner, direction, point)

    def displacement(params, state, direction, point):
        return form(optimizer, "displacement")(params, state.inner, direction, point)

    rebuild: Any = form(optimizer, "rebuild")
    whole = Update(
        update_of(optax.GradientTransformationExtraArgs(init, update)),
        ask=form(optimizer, "ask") and ask,
        displacement=form(optimizer, "displacement") and displacement,
        apply=own and apply,
        scheme=form(optimizer, "scheme"),
        passes=form(optimizer, "passes"),
        estimate=form(optimizer, "estimate"),
        rebuild=rebuild and (lambda axes: anchored(rebuild(axes), weight_decay)),
    )
    return ZerothOrder(init, whole)
