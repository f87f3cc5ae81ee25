"""A direction at a random distance, whose estimate has a weight of its own."""

from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Array, Float

from loren_jax.covariance import DampedRankOne
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.structured.direction import Direction


@dataclass(frozen=True)
class Scaled(Direction):
    """`radius * inner` when the loss is queried, `weight * inner` in the estimate.

    Attributes:
      inner: a direction of any kind.
      radius: factor of the perturbation, a scalar.
      weight: factor of `inner` in the estimate, a scalar.
    """

    inner: Direction
    radius: Any
    weight: Any
    shares = True

    @property
    def view(self) -> MatrixView:
        """The leaf's matrix view."""
        return self.inner.view

    def to_dense(self) -> Float[Array, "..."]:
        """The perturbation."""
        return self.radius * self.inner.to_dense()

    def combine(
        self,
        slope: Array,
        score: Array,
        covariance: DampedRankOne | None = None,
        into: Array | None = None,
    ) -> tuple[Array, Array | None]:
        """`sum_k slope_k weight_k inner_k`."""
        return self.inner.combine(slope * self.weight, score, covariance, into)

    def squares(self, score: Array) -> Array:
        """`sum_k score_k (radius_k inner_k)^2`."""
        return self.inner.squares(score * self.radius**2)

    def after(self, value: Array | None) -> "Scaled":
        """The inner direction waits."""
        return replace(self, inner=self.inner.after(value))
