"""Runs the K directions x S points of a step, in chunks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.types import Evaluation, PyTree, ValueFn


def evaluate_queries(
    value_fn: ValueFn,
    params: PyTree,
    directions: PyTree,
    *,
    points: tuple[float, ...],
    scale: Float[Array, ""],
    evaluation: Evaluation,
    chunk_size: int,
) -> Float[Array, "K S"]:
    """The losses of all queries of a step.

    Args:
      value_fn: the loss, `params -> scalar`.
      params: the parameters.
      directions: a tree of directions with a leading axis K.
      points: the scheme's S multiples.
      scale: the perturbation scale.
      evaluation: how one query runs.
      chunk_size: how many forward passes run at once: 1 is a loop with the memory of one query,
        K S or more is a single `vmap`.

    Returns:
      The losses, float32.

    Raises:
      TypeError: `value_fn` does not return a floating-point scalar.
    """
    checked = _checked(value_fn)
    multiples = jnp.asarray(points, jnp.float32) * scale

    def evaluate_direction(direction):
        query = lambda multiple: evaluation(checked, params, direction, multiple)
        return _map(query, multiples, chunk_size)

    return _map(evaluate_direction, directions, max(1, chunk_size // len(points)))


def _map(fn: Callable, xs: PyTree, batch_size: int) -> Array:
    """`fn` over the leading axis: one by one, all at once, or in between."""
    length = jax.tree.leaves(xs)[0].shape[0]
    if batch_size >= length:
        return jax.vmap(fn)(xs)
    return jax.lax.map(fn, xs, batch_size=None if batch_size == 1 else batch_size)


def _checked(value_fn: ValueFn) -> ValueFn:
    def checked(params: PyTree) -> Any:
        value = value_fn(params)
        shape, dtype = jnp.shape(value), jnp.result_type(value)
        if shape != () or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"value_fn must return a floating-point scalar, got shape {shape} and dtype "
                f"{dtype}: reduce it, for example with jnp.mean; auxiliary outputs are not taken."
            )
        return jnp.asarray(value)

    return checked
