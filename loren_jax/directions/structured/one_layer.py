"""A direction that moves one layer of a stack, whose number is traced."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from loren_jax.covariance import DampedRankOne
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.structured.node import pytree
from loren_jax.precision import wide


@pytree
@dataclass(frozen=True)
class OneLayer:
    """`inner` on layer `number` of a leaf's first axis, nothing on the others.

    The number is data, so one compiled program serves every layer; the work is that of one.

    Attributes:
      inner: a direction for one layer, of any kind.
      number: which layer, an integer scalar that all queries share.
      view: the whole leaf's matrix view.
    """

    inner: Any
    number: Int[Array, ""]
    view: MatrixView

    def to_dense(self) -> Float[Array, "..."]:
        """Zeros but for one layer."""
        return jnp.zeros(self.view.shape, jnp.float32).at[self.number].set(self.inner.to_dense())

    def combine(
        self,
        slope: Array,
        score: Array,
        covariance: DampedRankOne | None = None,
        into: Array | None = None,
    ) -> tuple[Array, Array | None]:
        """Adds to one layer and leaves the others where they are."""
        into = jnp.zeros(self.view.shape, wide(slope)) if into is None else into
        layer = jax.lax.dynamic_index_in_dim(into, self.number, keepdims=False)
        total, _ = self.inner.combine(slope, score, None, layer)
        return jax.lax.dynamic_update_index_in_dim(into, total, self.number, 0), None

    def squares(self, score: Array) -> Array:
        """`sum_k score_k y_k^2`."""
        zeros = jnp.zeros(self.view.shape, jnp.float32)
        return zeros.at[self.number].set(self.inner.squares(score))
