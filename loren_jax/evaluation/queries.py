"""Runs the K directions x S points of a step, in chunks."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.directions.structured import Seeded
from loren_jax.types import Evaluation, PyTree, Query


def evaluate_queries(
    function: Callable[[PyTree], PyTree],
    params: PyTree,
    directions: PyTree,
    *,
    points: tuple[float, ...],
    scale: Float[Array, ""],
    evaluation: Evaluation,
    chunk_size: int | None = None,
    axes: PyTree = 0,
) -> PyTree:
    """What a function returns at all queries of a step.

    Args:
      function: of the parameters, any pytree of arrays out: a loss, or a loss and more.
      params: the parameters.
      directions: a tree of directions with a leading axis K.
      points: the scheme's S multiples; a multiple of zero, the parameters themselves, costs one
        forward pass for all directions.
      scale: the perturbation scale.
      evaluation: how one query runs.
      chunk_size: how many forward passes run at once: 1 is a loop with the memory of one query, in
        which nothing is mapped; K S or more is a single `vmap`. None takes all at once if their
        activations stay small beside the parameters, else 1; of noise that is drawn on demand,
        those of one direction.
      axes: as `vmap`'s `in_axes` for `directions`; None marks an array that all queries share.

    Returns:
      What the function returns, each array with leading axes `(K, S)`.
    """
    query = evaluation(function, params)
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
        results = of_directions(directions)
    elif whole:
        results = query.spread(lambda n: of_directions(_some(directions, axes, n)), number)
    else:  # a direction's points may fall to several groups
        pairs = query.spread(of_pairs, number * len(away))
        results = jax.tree.map(lambda x: x.reshape(number, len(away), *x.shape[1:]), pairs)
    if len(away) == len(points):
        return results

    def with_centre(centre: Array, others: Array) -> Array:
        columns = iter(jnp.moveaxis(others, 1, 0))
        same = jnp.broadcast_to(centre, (number, *centre.shape))
        return jnp.stack([same if p == 0 else next(columns) for p in points], 1)

    # At a point of zero every direction would give the same.
    return jax.tree.map(with_centre, jax.tree.map(jnp.asarray, function(params)), results)


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


def _map(fn: Callable, xs: PyTree, batch_size: int, axes: PyTree = 0) -> PyTree:
    """`fn` over the leading axis of those `xs` that have one: one by one, all, or in between.

    One by one means without `vmap`, which not every function takes, and under which a branch
    becomes a choice between both.
    """
    number = _length(xs, axes)
    if batch_size >= number > 1:
        return _mapped(jax.vmap(fn, in_axes=(axes,)), xs)
    leaves, treedef = jax.tree.flatten(xs)
    own = _owned(xs, axes)

    def one(members: list[Array]) -> PyTree:
        rest = iter(members)
        leaf = lambda x, has_axis: next(rest) if has_axis else x
        return fn(treedef.unflatten(map(leaf, leaves, own)))

    members = [x for x, has_axis in zip(leaves, own, strict=True) if has_axis]
    if number == 1:
        return jax.tree.map(lambda x: x[None], one([x[0] for x in members]))
    if batch_size == 1:
        return jax.lax.map(one, members)
    return _mapped(lambda x: jax.lax.map(one, x, batch_size=batch_size), members)


def _mapped(run: Callable, xs: PyTree) -> PyTree:
    """`run(xs)`, which maps the loss; what fails there worked by itself."""
    try:
        return run(xs)
    except Exception as error:
        error.add_note(
            "The loss was traced by itself before jax.vmap over the queries of the step failed: "
            "if it has no batching rule, chunk_size=1 evaluates one query after another."
        )
        raise


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
