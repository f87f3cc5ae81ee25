"""Runs the K directions x S points of a step, in chunks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.directions.structured import Seeded
from loren_jax.types import Direction, Evaluation, PyTree, Query, ValueFn


def evaluate_queries(
    value_fn: ValueFn,
    params: PyTree,
    directions: PyTree,
    *,
    points: tuple[float, ...],
    scale: Float[Array, ""],
    evaluation: Evaluation,
    chunk_size: int | None = None,
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
        K S or more is a single `vmap`. None takes all at once if the directions are not drawn on
        demand and the activations of all queries stay small beside the parameters, else 1.

    Returns:
      The losses, float32.

    Raises:
      TypeError: `value_fn` does not return a floating-point scalar.
    """
    query = evaluation(_checked(value_fn), params)
    multiples = jnp.asarray(points, jnp.float32) * scale
    chunk = chunk_size or _default_chunk_size(query, params, directions, len(points))

    def evaluate_direction(direction):
        return _map(lambda multiple: query.run(direction, multiple), multiples, chunk)

    return _map(evaluate_direction, directions, max(1, chunk // len(points)))


def _default_chunk_size(query: Query, params: PyTree, directions: PyTree, points: int) -> int:
    """All queries or one.

    All at once read each weight once for K queries, which pays where few activations meet large
    weights; it costs K times the activations. An eighth of the parameters' bytes is where the gain
    ended on two CPU cores, and an amount of memory that nobody misses.
    """
    kinds = jax.tree.leaves(directions, is_leaf=lambda x: isinstance(x, Direction))
    if query.activation_bytes is None or any(isinstance(kind, Seeded) for kind in kinds):
        return 1
    total = points * jax.tree.leaves(directions)[0].shape[0]
    size = sum(jnp.asarray(leaf).nbytes for leaf in jax.tree.leaves(params))
    return total if total * query.activation_bytes <= size / 8 else 1


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
