"""Runs the K directions x S points of a step, in chunks."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax import scheduling
from loren_jax.directions.structured import Seeded
from loren_jax.types import Evaluation, PyTree, Query

NUMBER = 4
"""Bytes of a number of noise."""


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
        which nothing is mapped; K S or more is a single `vmap`. None takes all at once if what
        they compute for themselves is little beside the parameters and constants that they read,
        and if the function can be mapped, else 1; of noise that is drawn on demand, those of one
        direction.
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

    def evaluate_points(chunk):
        """The results at the points beside the parameters."""

        def of_pairs(numbers):
            def run(i):
                return query.run(_some(directions, axes, i // len(away)), multiples[i % len(away)])

            return map_over(run, numbers, chunk)

        def by_direction(pairs):
            return jax.tree.map(lambda x: x.reshape(-1, len(away), *x.shape[1:]), pairs)

        def of_directions(directions, numbers):
            if chunk < len(away):
                # One loop and not two: what all passes share, a compiler takes out of one.
                pairs = numbers[:, None] * len(away) + jnp.arange(len(away))[None]
                return by_direction(of_pairs(pairs.reshape(-1)))

            def evaluate_direction(direction):
                return map_over(lambda multiple: query.run(direction, multiple), multiples, chunk)

            return map_over(evaluate_direction, directions, chunk // len(away), axes)

        if query.spread is None:
            return of_directions(directions, jnp.arange(number))
        if whole:
            some = lambda n: of_directions(_some(directions, axes, n), n)
            return query.spread(some, number)
        # A direction's points may fall to several groups.
        return by_direction(query.spread(of_pairs, number * len(away)))

    try:
        results = evaluate_points(chunk)
    except NotImplementedError:
        if chunk_size is not None or chunk == 1:
            raise
        results = evaluate_points(1)  # nobody asked for more: the loss has no batching rule
    if len(away) == len(points):
        return results

    def with_centre(centre: Array, others: Array) -> Array:
        columns = iter(jnp.moveaxis(others, 1, 0))
        same = jnp.broadcast_to(centre, (number, *centre.shape))
        return jnp.stack([same if p == 0 else next(columns) for p in points], 1)

    # At a point of zero every direction would give the same.
    return jax.tree.map(with_centre, jax.tree.map(jnp.asarray, function(params)), results)


def _default_chunk_size(
    query: Query, params: PyTree, directions: PyTree, number: int, points: int
) -> int:
    """All queries if they make little beside what they read; else one direction's, or one.

    Together they read each weight once, and compute once what no trained leaf has a part in, such
    as the features of a frozen network. They cost a copy each of what a query computes for itself,
    and of the blocks of noise that it draws. These may take an eighth of the parameters and
    constants that a query reads, or as much as one block of noise, beside which those of a small
    problem are nothing: the memory does not matter, and on two CPU cores the gain in time ended
    there. A part of the queries at a time was no faster than one. The points of a direction share
    its noise, and so the time to draw it.
    """
    own = query.activation_bytes
    if own is None:
        return 1
    kinds = jax.tree.structure(params).flatten_up_to(directions)
    layers = [math.prod(kind.view.layer.shape) for kind in kinds if isinstance(kind, Seeded)]
    block = scheduling.block_numbers()
    drawn = sum(min(block, numbers) for numbers in layers) * NUMBER
    room = max(query.shared_bytes // 8, block * NUMBER)
    if number * (points * own + drawn) <= room:
        return number * points
    return points if layers and points * own <= room else 1


def map_over(fn: Callable, xs: PyTree, batch_size: int, axes: PyTree = 0) -> PyTree:
    """`fn` over the leading axis of those `xs` that have one: one by one, all, or in between.

    One by one means without `vmap`, which not every function takes, and under which a branch
    becomes a choice between both.

    Args:
      fn: of a tree like `xs` without that axis.
      xs: a pytree of arrays.
      batch_size: how many run together.
      axes: as `vmap`'s `in_axes`: 0 or None for each array.

    Returns:
      What `fn` returns, with the axis in front.
    """
    number = _length(xs, axes)
    if batch_size >= number > 1:
        return _map(jax.vmap(fn, in_axes=(axes,)), xs)
    leaves, treedef = jax.tree.flatten(xs)
    own = _have_axis(xs, axes)

    def one(members: list[Array]) -> PyTree:
        rest = iter(members)
        leaf = lambda x, has_axis: next(rest) if has_axis else x
        return fn(treedef.unflatten(map(leaf, leaves, own)))

    members = [x for x, has_axis in zip(leaves, own, strict=True) if has_axis]
    if number == 1:
        return jax.tree.map(lambda x: x[None], one([x[0] for x in members]))
    if batch_size == 1:
        return jax.lax.map(one, members)
    return _map(lambda x: jax.lax.map(one, x, batch_size=batch_size), members)


def _map(run: Callable, xs: PyTree) -> PyTree:
    """`run(xs)`, which maps the loss; what fails there worked by itself."""
    try:
        return run(xs)
    except Exception as error:
        error.add_note(
            "The loss was traced by itself before jax.vmap over the queries of the step failed: "
            "if it has no batching rule, chunk_size=1 evaluates one query after another."
        )
        raise


def _have_axis(xs: PyTree, axes: PyTree) -> list[bool]:
    """Which leaves have an axis of their own for each query."""
    if axes == 0:
        return [True] * len(jax.tree.leaves(xs))
    return [axis == 0 for axis in jax.tree.structure(xs).flatten_up_to(axes)]


def _some(xs: PyTree, axes: PyTree, numbers: Array) -> PyTree:
    """Members of those leaves that have one for each query."""
    leaves, treedef = jax.tree.flatten(xs)
    pairs = zip(leaves, _have_axis(xs, axes), strict=True)
    return treedef.unflatten([x[numbers] if has_axis else x for x, has_axis in pairs])


def _length(xs: PyTree, axes: PyTree) -> int:
    pairs = zip(jax.tree.leaves(xs), _have_axis(xs, axes), strict=True)
    return next(x.shape[0] for x, has_axis in pairs if has_axis)
