"""Evaluation on perturbed copies of the parameters: simple, always right, and dear.

One query builds `params + scale * direction` and calls the loss on it. It is the oracle for every
faster evaluation, and works with any function whatsoever.
"""

import jax
import jax.numpy as jnp

from loren_jax.directions.structured import Zero
from loren_jax.types import PyTree, Query, ValueFn


def materialised(value_fn: ValueFn, params: PyTree) -> Query:
    """The loss at `params + scale * directions`, by building the perturbed parameters.

    The sum is taken in float32 and cast last, so that parameters of low precision are rounded once.

    Args:
      value_fn: the loss.
      params: the parameters; never modified.

    Returns:
      The query; each costs a copy of the parameters that are perturbed.
    """

    def run(directions, scale):
        def perturb(leaf, direction):
            if isinstance(direction, Zero):
                return leaf
            moved = jnp.asarray(leaf, jnp.float32) + scale * direction.to_dense()
            return moved.astype(jnp.result_type(leaf))

        return value_fn(jax.tree.map(perturb, params, directions)).astype(jnp.float32)

    return Query(run)
