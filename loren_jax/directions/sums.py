"""The estimate as a sum of directions, leaf by leaf."""

from collections.abc import Callable
from typing import Any

import jax

from loren_jax.directions.bases import targets
from loren_jax.types import PyTree


def weighted_sum(
    state: PyTree,
    params: PyTree,
    directions: PyTree,
    coefficients: tuple[Any, Any],
    into: PyTree | None = None,
) -> tuple[PyTree, PyTree]:
    """`absorb` of a `Distribution` that learns nothing: `sum_k c_k u_k`, with slopes `c_k`."""
    one = lambda direction, target: direction.combine(*coefficients, None, target)
    return leaf_by_leaf(one, params, into, directions)[0], state


def leaf_by_leaf(
    one: Callable[..., tuple[Any, Any]],
    params: PyTree,
    into: PyTree | None,
    directions: PyTree,
    *held: PyTree,
) -> tuple[PyTree, PyTree]:
    """The trees of `one(direction, target, *held of the leaf) -> (sum, what is learned)`.

    Each leaf waits for the one before, so that the noise of one alone is alive. Directions have a
    leading axis K; a target is the leaf of `into`, or None.
    """
    treedef = jax.tree.structure(params)
    columns = map(treedef.flatten_up_to, (directions, targets(params, into), *held))
    found: list[tuple[Any, Any]] = []
    for direction, *rest in zip(*columns, strict=True):
        found.append(one(direction.after(found[-1][0] if found else None), *rest))
    sums, learned = zip(*found, strict=True) if found else ((), ())
    return treedef.unflatten(sums), treedef.unflatten(learned)
