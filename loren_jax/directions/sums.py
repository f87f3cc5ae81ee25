"""The estimate as a sum of directions, leaf by leaf."""

from typing import Any

import jax

from loren_jax.types import PyTree


def summed(
    params: PyTree, directions: PyTree, coefficients: tuple[Any, Any], into: PyTree | None = None
) -> PyTree:
    r"""The sum of directions that have learned nothing of the losses.

    .. math:: \sum_k c_k u_k

    Each leaf waits for the one before, so that the noise of one alone is alive.

    Args:
      params: the parameters; their structure matters.
      directions: tree like `params` of directions with a leading axis K.
      coefficients: `(slope, score)`, arrays `(K,)`, as `absorb` of `Directions` gets them; the
        slopes are the `c_k`.
      into: tree like `params` that the sums are added to in place; None for sums alone.

    Returns:
      A tree like `params`.
    """
    treedef = jax.tree.structure(params)
    targets = [None] * treedef.num_leaves if into is None else treedef.flatten_up_to(into)
    sums: list[Any] = []
    for direction, target in zip(treedef.flatten_up_to(directions), targets, strict=True):
        direction = direction.after(sums[-1] if sums else None)
        sums.append(direction.combine(*coefficients, None, target)[0])
    return treedef.unflatten(sums)
