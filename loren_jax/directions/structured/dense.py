"""Directions without structure: an array, or nothing."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.covariance import DampedRankOne
from loren_jax.directions.apart import over_queries
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.structured.node import plus, pytree


@pytree
@dataclass(frozen=True)
class Zero:
    """No perturbation: a frozen leaf, an inactive block.

    Attributes:
      view: the leaf's matrix view.
    """

    view: MatrixView

    @classmethod
    def like(cls, leaf: Any) -> "Zero":
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


@pytree
@dataclass(frozen=True)
class Dense:
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

    def combine(
        self,
        slope: Array,
        score: Array,
        covariance: DampedRankOne | None = None,
        into: Array | None = None,
    ) -> tuple[Array, Array | None]:
        """The sums over K of the module's docstring; O(K times the leaf) work and memory."""
        total = plus(into, over_queries(slope, self.array))
        if covariance is None:
            return total, None
        scores = jax.vmap(lambda y: _score(covariance, y, self.view))(self.array)
        return total, jnp.tensordot(score, scores, 1)

    def squares(self, score: Array) -> Array:
        """`sum_k score_k y_k^2`."""
        return jnp.tensordot(score, jnp.square(self.array), 1)


def _score(covariance: DampedRankOne, y: Array, view: MatrixView) -> Array:
    """Score of a dense direction, whose stack axes may stand anywhere."""
    layers = jnp.moveaxis(y, view.stack_axes, range(len(view.stack_axes)))
    offset = len(view.stack_axes)
    return covariance.score(layers, tuple(i + offset for i in view.layer.fan_in))
