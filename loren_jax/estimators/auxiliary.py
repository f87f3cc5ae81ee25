"""Room for auxiliary outputs in an optimiser's state, before a step has brought any."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from loren_jax.losses.loss_function import loss_and_aux
from loren_jax.types import PyTree, ValueFn


def with_aux(state: PyTree, value_fn: ValueFn, params: PyTree, has_aux: bool = False) -> PyTree:
    """The state with zeros for the auxiliary outputs that `value_fn` will bring.

    A step stores them in the state. Where the structure of the state must not change, as in
    `jax.lax.scan`, or should not, as compiled programs are made anew then, give it room beforehand.
    `train_step` does so by itself.

    Args:
      state: an optimiser's state, of any chain with an estimate of this library in it.
      value_fn: the loss; only its shapes are looked at.
      params: the parameters.
      has_aux: as for `update`.

    Returns:
      The state; the same where the loss has no auxiliary outputs.

    >>> import loren_jax
    >>> import optax
    >>> loss = lambda params: (jnp.sum(params**2), {"largest": jnp.max(params)})
    >>> params, optimizer = jnp.ones(3), loren_jax.mezo(0.1)
    >>> state = with_aux(optimizer.init(params), loss, params, has_aux=True)
    >>> def step(carry, _):
    ...     params, state = carry
    ...     updates, state = optimizer.update(None, state, params, value_fn=loss, has_aux=True)
    ...     return (optax.apply_updates(params, updates), state), None
    >>> (params, state), _ = jax.lax.scan(step, (params, state), length=10)
    >>> optax.tree.get(state, "aux")["largest"].shape  # of one direction and its two points
    (1, 2)
    """
    _, aux = jax.eval_shape(loss_and_aux(value_fn, has_aux), params)
    room = lambda losses: jax.tree.map(lambda x: jnp.zeros((*losses.shape, *x.shape), x.dtype), aux)
    return replace_aux(state, room)


def replace_aux(state: PyTree, aux: Callable[[Any], PyTree]) -> PyTree:
    """The state with `aux(losses)` in the place of the auxiliary outputs of its step."""
    is_estimate = lambda node: {"losses", "aux"} <= set(getattr(node, "_fields", ()))
    fill = lambda node: node._replace(aux=aux(node.losses)) if is_estimate(node) else node
    return jax.tree.map(fill, state, is_leaf=is_estimate)
