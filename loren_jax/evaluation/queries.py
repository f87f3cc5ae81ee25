"""Runs the K directions x S points of a step, in chunks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.directions.structured import Seeded
from loren_jax.types import Evaluation, PyTree, Query, ValueFn


def evaluate_queries(
    value_fn: ValueFn,
    params: PyTree,
    directions: PyTree,
    *,
    points: tuple[float, ...],
    scale: Float[Array, ""],
    evaluation: Evaluation,
    chunk_size: int | None = None,
    axes: PyTree = 0,
) -> Float[Array, "K S"]:
    """The losses of all queries of a step.

    Args:
      value_fn: the loss, `params -> scalar`.
      params: the parameters.
      directions: a tree of directions with a leading axis K.
      points: the scheme's S multiples; a multiple of zero, the parameters themselves, costs one
        forward pass for all directions.
      scale: the perturbation scale.
      evaluation: how one query runs.
      chunk_size: how many forward passes run at once: 1 is a loop with the memory of one query,
        K S or more is a single `vmap`. None takes all at once if their activations stay small
        beside the parameters, else 1; of noise that is drawn on demand, those of one direction.
      axes: as `vmap`'s `in_axes` for `directions`; None marks an array that all queries share.

    Returns:
      The losses, float32.

    Raises:
      TypeError: `value_fn` does not return a floating-point scalar.
    """
    value_fn = _checked(value_fn)
    query = evaluation(value_fn, params)
    away = [point for point in points if point != 0]
    multiples = jnp.asarray(away, jnp.float32) * scale
    number = _length(directions, axes)
    whole = number % query.groups == 0
    share = number // query.groups if whole else -(-number * len(away) // query.groups)
    chunk = chunk_size or _default_chunk_size(
        query, params, directions, share, len(away) if whole else 1
    )

    def evaluate_direction(direction):
        return _map(lambda multiple: query.run(direction, multiple), multiples, chunk)

    def of_directions(directions):
        return _map(evaluate_direction, directions, max(1, chunk // len(away)), axes)

    def of_pairs(numbers):
        pairs = (_some(directions, axes, numbers // len(away)), multiples[numbers % len(away)])
        own = jax.tree.map(lambda _: 0, directions) if axes == 0 else axes
        return _map(lambda pair: query.run(*pair), pairs, chunk, (own, 0))

    if query.spread is None:
        losses = of_directions(directions)
    elif whole:
        losses = query.spread(lambda n: of_directions(_some(directions, axes, n)), number)
    else:  # a direction's points may fall to several groups
        losses = query.spread(of_pairs, number * len(away)).reshape(number, len(away))
    if len(away) == len(points):
        return losses
    # At a point of zero every direction would give the same loss.
    centre = value_fn(params).astype(jnp.float32)
    columns = iter(losses.T)
    every = [jnp.broadcast_to(centre, len(losses)) if p == 0 else next(columns) for p in points]
    return jnp.stack(every, -1)


def _default_chunk_size(
    query: Query, params: PyTree, directions: PyTree, num_directions: int, points: int
) -> int:
    """All queries, those of one direction, or one.

    All at once read each weight once for K queries, which pays where few activations meet large
    weights; it costs K times the activations. An eighth of the parameters' bytes is where the gain
    ended on two CPU cores, and an amount of memory that nobody misses. Where noise is drawn on
    demand only the points of one direction run at once: they share its noise.
    """
    if query.activation_bytes is None:
        return 1
    kinds = jax.tree.structure(params).flatten_up_to(directions)
    drawn = any(isinstance(kind, Seeded) for kind in kinds)
    total = points if drawn else points * num_directions
    size = sum(jnp.asarray(leaf).nbytes for leaf in jax.tree.leaves(params))
    return total if total * query.activation_bytes <= size / 8 else 1


def _map(fn: Callable, xs: PyTree, batch_size: int, axes: PyTree = 0) -> Array:
    """`fn` over the leading axis of those `xs` that have one: one by one, all, or in between."""
    if batch_size >= _length(xs, axes):
        return jax.vmap(fn, in_axes=(axes,))(xs)
    leaves, treedef = jax.tree.flatten(xs)
    own = _owned(xs, axes)

    def one(members: list[Array]) -> Array:
        rest = iter(members)
        leaf = lambda x, has_axis: next(rest) if has_axis else x
        return fn(treedef.unflatten(map(leaf, leaves, own)))

    members = [x for x, has_axis in zip(leaves, own, strict=True) if has_axis]
    return jax.lax.map(one, members, batch_size=None if batch_size == 1 else batch_size)


def _owned(xs: PyTree, axes: PyTree) -> list[bool]:
    """Which leaves have an axis of their own for each query."""
    if axes == 0:
        return [True] * len(jax.tree.leaves(xs))
    return [axis == 0 for axis in jax.tree.structure(xs).flatten_up_to(axes)]


def _some(xs: PyTree, axes: PyTree, numbers: Array) -> PyTree:
    """Members of those leaves that have one for each query."""
    leaves, treedef = jax.tree.flatten(xs)
    pairs = zip(leaves, _owned(xs, axes), strict=True)
    return treedef.unflatten([x[numbers] if has_axis else x for x, has_axis in pairs])


def _length(xs: PyTree, axes: PyTree) -> int:
    return next(x.shape[0] for x, o in zip(jax.tree.leaves(xs), _owned(xs, axes), strict=True) if o)


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
