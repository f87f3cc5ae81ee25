"""Evaluation on perturbed copies of the parameters: simple, always right, and expensive.

One query builds `params + scale * direction` and calls the loss on it. It is the oracle for every
faster evaluation, and works with any function whatsoever.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.directions.structured import Zero
from loren_jax.precision import wide
from loren_jax.types import PyTree, Query, ValueFn


def materialised(value_fn: ValueFn, params: PyTree) -> Query:
    """A function at `params + scale * directions`, by building the perturbed parameters.

    Args:
      value_fn: the loss, or any function of the parameters.
      params: the parameters; never modified.

    Returns:
      The query; each costs a copy of the parameters that are perturbed.
    """
    return Query(lambda directions, scale: value_fn(displace(params, directions, scale)))


def displace(params: PyTree, directions: PyTree, scale: Float[Array, ""]) -> PyTree:
    """The perturbed copy `params + scale * directions` of one query's directions.

    The sum is taken in float32 at least and cast last, so that parameters of low precision are
    rounded once. What has the direction `Zero` is not copied.
    """

    def perturb(leaf, direction):
        if isinstance(direction, Zero):
            return leaf
        moved = jnp.asarray(leaf, wide(leaf)) + scale * direction.to_dense()
        return moved.astype(jnp.result_type(leaf))

    return jax.tree.map(perturb, params, directions)
