"""Directions without structure: an array, or nothing."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.covariance import DampedRankOne
from loren_jax.directions.apart import over_queries
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.structured.direction import Direction, Moments, plus
from loren_jax.types import Leaf, Scalar


@dataclass(frozen=True)
class Zero(Direction):
    """No perturbation: a leaf that stays, as one without an adapter.

    Attributes:
      view: the leaf's matrix view.
    """

    view: MatrixView

    @classmethod
    def like(cls, leaf: Leaf) -> "Zero":
        """For a leaf of any kind: of the matrices of one that is not moved nothing is known."""
        return cls(MatrixView(jnp.shape(leaf), tuple(range(jnp.ndim(leaf)))))

    def to_dense(self) -> Float[Array, "..."]:
        """Zeros of the leaf's shape."""
        return jnp.zeros(self.view.shape, jnp.float32)

    def combine(
        self,
        slope: Array,
        score: Array,
        covariance: DampedRankOne | None = None,
        into: Array | None = None,
    ) -> tuple[Array, Array | None]:
        """Zeros, or `into` as it is."""
        return self.to_dense() if into is None else into, None

    def squares(self, score: Array) -> Array:
        """Zeros."""
        return self.to_dense()


@dataclass(frozen=True)
class Dense(Direction):
    """The array itself: for leaves so small that structure gains nothing.

    Attributes:
      array: the direction, shape of the leaf, float32.
      view: the leaf's matrix view.
    """

    array: Any
    view: MatrixView

    def to_dense(self) -> Float[Array, "..."]:
        """The array."""
        return self.array

    def moment_ratio(
        self,
        slopes: Array,
        weights: tuple[Array, Array],
        eps: Scalar,
        into: Array | None,
        factor: Scalar,
    ) -> Array:
        """All steps at once: the arrays are there, and small."""
        steps = self.array.reshape(*slopes.shape, *self.view.shape)
        gradients = jax.vmap(over_queries)(slopes, steps)
        first, second = weights
        sums = over_queries(first, gradients), over_queries(second, jnp.square(gradients))
        return plus(into, factor * Moments(*sums).ratio(eps))
