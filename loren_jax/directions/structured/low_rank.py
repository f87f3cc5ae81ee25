"""Low-rank directions: the product of two thin factors for each matrix of a leaf."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.covariance import DampedRankOne
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.structured.direction import Direction, Moments, plus
from loren_jax.precision import wide
from loren_jax.types import Scalar

FUSED = 16
"""Terms up to which the sum over queries and ranks is written out. As one expression the compiler
adds it to the weight in one pass and holds nothing beside it; a matrix product of so small an inner
size takes longer, and a matrix of memory."""


@dataclass(frozen=True)
class LowRank(Direction):
    """`left @ right^T` for each matrix of the stack, in the fan-out x fan-in view.

    Attributes:
      left: fan-out factor, `(*stack, m, r)`, float32.
      right: fan-in factor, `(*stack, n, r)`, float32: its columns are samples of the covariance.
      view: the leaf's matrix view.
    """

    left: Any
    right: Any
    view: MatrixView
    shares = True

    def to_dense(self) -> Float[Array, "..."]:
        """The product, in the leaf's shape and axis order."""
        return self.view.from_matrices(jnp.einsum("...mr,...nr->...mn", self.left, self.right))

    def combine(
        self,
        slope: Array,
        score: Array,
        covariance: DampedRankOne | None = None,
        into: Array | None = None,
    ) -> tuple[Array, Array | None]:
        """One sum of K r outer products, and the score of the fan-in factor.

        Given `left`, the columns of `right` are independent samples of `N(0, Sigma)` and the only
        part of the density that depends on `a`. Their score is therefore the exact one, unbiased
        for any loss; it costs r vectors where a full Gaussian direction costs m.

        A factor that all queries share has no axis K; then the other one is summed first.
        """
        left, right = _weigh(self.left, self.right, slope, len(self.view.stack) + 2)
        if left.shape[-1] <= FUSED:
            total = plus(into, _write_out(left, right, self.view))
        elif into is not None and self.view.stack_leads:
            total = _layer_by_layer(into, left, right, self.view)
        else:
            matrices = jnp.einsum("...mr,...nr->...mn", left, right)
            total = plus(into, self.view.from_matrices(matrices))
        if covariance is None:
            return total, None
        scores = jax.vmap(lambda y: covariance.score(y, axis=-2))(self.right)
        return total, jnp.tensordot(score, scores, 1)

    def squares(self, score: Array) -> Array:
        """`sum_k score_k y_k^2`, by the dense matrices."""
        one = lambda left, right: LowRank(left, right, self.view).to_dense()
        axes = tuple(_query_axis(f, len(self.view.stack) + 2) for f in (self.left, self.right))
        return jnp.tensordot(score, jnp.square(jax.vmap(one, axes)(self.left, self.right)), 1)

    def moment_ratio(
        self,
        slopes: Array,
        weights: tuple[Array, Array],
        eps: Scalar,
        into: Array | None,
        factor: Scalar,
    ) -> Array:
        """Of few terms a step one expression of thin factors, and no matrix is held for it.

        Of many the moments of one matrix after another are, where they are a leading stack.
        """
        if self.left.shape[-1] * slopes.shape[1] > FUSED:
            plain = Direction.moment_ratio
            one = lambda own, into: plain(own, slopes, weights, eps, into, factor)
            return self._each_layer(one, into) if self.view.stack_leads else one(self, into)
        steps = jax.tree.map(lambda x: x.reshape(*slopes.shape, *x.shape[1:]), self)
        found = Moments()
        for j, slope in enumerate(slopes):
            own = jax.tree.map(lambda x, j=j: x[j], steps)
            found = found.plus(own.combine(slope, slope)[0], *(each[j] for each in weights))
        return plus(into, factor * found.ratio(eps))

    def _each_layer(
        self, change: Callable[["LowRank", Array | None], Array], into: Array | None
    ) -> Array:
        """`change(direction of one matrix, its part of into)`, in the place of that part."""
        view = self.view
        depth, number = len(view.stack), math.prod(view.stack)
        flat = lambda x: x.reshape(len(x), number, *x.shape[1 + depth :])
        left, right = flat(self.left), flat(self.right)
        layers = jnp.zeros(view.shape, wide(left)) if into is None else into

        def put(i: Array, into: Array) -> Array:
            layer = LowRank(left[:, i], right[:, i], view.layer)
            return into.at[i].set(change(layer, into[i]))

        layers = layers.reshape(number, *view.layer.shape)
        return jax.lax.fori_loop(0, number, put, layers).reshape(view.shape)


def _query_axis(factor: Array, ndim: int) -> int | None:
    return 0 if factor.ndim > ndim else None


def _weigh(left: Array, right: Array, slope: Array, ndim: int) -> tuple[Array, Array]:
    """Factors `(*stack, m, K r)` and `(*stack, n, K r)` of the weighted sum over the queries."""
    weigh = lambda factor: factor * slope.reshape(-1, *(1,) * ndim)
    shared = [_query_axis(factor, ndim) is None for factor in (left, right)]
    if all(shared):
        return left * jnp.sum(slope), right
    if shared[0]:
        return left, jnp.sum(weigh(right), 0)
    if shared[1]:
        return jnp.sum(weigh(left), 0), right
    side_by_side = lambda factor: jnp.moveaxis(factor, 0, -1).reshape(*factor.shape[1:-1], -1)
    return side_by_side(weigh(left)), side_by_side(right)


def _write_out(left: Array, right: Array, view: MatrixView) -> Array:
    """The product as a sum of broadcast products, in the leaf's axis order."""

    def spread(factor: Array, own: tuple[int, ...]) -> Array:
        axes = view.stack_axes + own
        factor = factor.reshape([view.shape[i] for i in axes])
        factor = jnp.transpose(factor, [axes.index(i) for i in sorted(axes)])
        return jnp.expand_dims(factor, [i for i in range(len(view.shape)) if i not in axes])

    terms = [
        spread(left[..., i], view.fan_out) * spread(right[..., i], view.fan_in)
        for i in range(left.shape[-1])
    ]
    return sum(terms[1:], start=terms[0])


def _layer_by_layer(into: Array, left: Array, right: Array, view: MatrixView) -> Array:
    """`into` and the product, one matrix of a leading stack after another."""
    depth, number = len(view.stack), math.prod(view.stack)
    left, right = (x.reshape(number, *x.shape[depth:]) for x in (left, right))

    def add(i: Array, into: Array) -> Array:
        layer = view.layer.from_matrices(left[i] @ right[i].T)
        return into.at[i].set(plus(into[i], layer))

    flat = into.reshape(number, *into.shape[depth:])
    return jax.lax.fori_loop(0, number, add, flat).reshape(into.shape)
