"""Runs the queries of a step of which each has a row of the batch of its own."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.evaluation.queries import map_over
from loren_jax.types import Evaluation, PyTree


def evaluate_rows(
    of_row: Callable[[Array], Callable[[PyTree], PyTree]],
    rows: int,
    params: PyTree,
    directions: PyTree,
    *,
    points: tuple[float, ...],
    scale: Float[Array, ""],
    evaluation: Evaluation,
    chunk_size: int | None = None,
    axes: PyTree = 0,
) -> PyTree:
    """What the function of row k returns at the parameters moved along direction k.

    The points follow one another, each a pass over all rows: what is alive are the activations of
    one batch.

    Args:
      of_row: a row's number to its function of the parameters.
      rows: how many rows, which is how many directions there must be.
      params: the parameters.
      directions: a tree of directions with a leading axis K.
      points: the scheme's S multiples.
      scale: the perturbation scale.
      evaluation: how one query runs.
      chunk_size: rows that run at once; None for all.
      axes: as `vmap`'s `in_axes` for `directions`.

    Returns:
      What the functions return, each array with leading axes `(K, S)`.
    """

    def at(point: float) -> PyTree:
        def one(member: tuple[PyTree, Array]) -> PyTree:
            direction, number = member
            function = of_row(number)
            if point == 0:
                return function(params)
            query = evaluation(function, params)
            if query.groups > 1:
                raise ValueError(
                    "per_example: directions of rows are not spread over devices; shard the batch "
                    "without per_example, or run on one device."
                )
            return query.run(direction, point * scale)

        own = jax.tree.map(lambda _: 0, directions) if axes == 0 else axes
        return map_over(one, (directions, jnp.arange(rows)), chunk_size or rows, (own, 0))

    return jax.tree.map(lambda *columns: jnp.stack(columns, 1), *map(at, points))
