"""What every kind of direction is and does, so that a new kind is one file."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.covariance import DampedRankOne
from loren_jax.directions.apart import over_queries
from loren_jax.directions.matrices import MatrixView
from loren_jax.precision import wide
from loren_jax.types import Scalar


class Direction(ABC):
    """The perturbation of one leaf for one query: a small pytree, never assumed dense.

    A kind is a frozen dataclass with a field or property `view` and a method `to_dense`. All else
    has a default that works on dense arrays, one for each query: write it for speed and memory. A
    perturbed evaluation adds what it has no entry for (`enter` in
    `loren_jax.evaluation._perturbed.leaves`) to the weight, and `diagnostics.dense_leaves` says so.

    `view` is static, all other fields are children of the pytree. Those of their arrays that differ
    from query to query carry a leading axis of K queries when K are drawn. `to_dense` is for one
    query, `combine` and `squares` are for K, `moment_ratio` for those of several steps.

    Attributes:
      view: the leaf's matrix view.
      shares: whether `combine` and `squares` take arrays that all queries share without an axis K;
        else each query has a copy.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Constant(Direction):
    ...     number: Array
    ...     view: MatrixView
    ...
    ...     def to_dense(self):
    ...         return jnp.broadcast_to(self.number, self.view.shape)
    >>> two = Constant(jnp.asarray([1.0, 3.0]), MatrixView((2,), (0,)))
    >>> two.combine(jnp.ones(2), jnp.ones(2))[0].tolist()
    [4.0, 4.0]
    """

    shares: ClassVar[bool] = False

    if TYPE_CHECKING:  # read only; a dataclass would take a real property for its field's default

        @property
        def view(self) -> MatrixView: ...  # noqa: D102

    def __init_subclass__(cls, **options: Any) -> None:
        """Registers the kind as a pytree."""
        super().__init_subclass__(**options)
        jax.tree_util.register_pytree_with_keys(cls, _flatten, partial(_unflatten, cls))

    @abstractmethod
    def to_dense(self) -> Float[Array, "..."]:
        """Returns the direction as an array of the leaf's shape, float32."""

    def combine(
        self,
        slope: Array,
        score: Array,
        covariance: DampedRankOne | None = None,
        into: Array | None = None,
    ) -> tuple[Array, Array | None]:
        """`sum_k slope_k y_k`, and `sum_k score_k d/da log p(y_k)` of a learned covariance.

        Both come from one pass, because a seeded direction has to be drawn anew for it.

        Args:
          slope: factors of the first sum, `(K,)`.
          score: those of the second.
          covariance: of the fan-in vectors; None where nothing is learned.
          into: an array like the leaf that the first sum is added to, in its dtype and piece by
            piece, so that a donated array is changed in place and little is held beside it.

        Returns:
          The first sum, float32 or of the dtype of `into`, and the second, None without covariance.
        """
        dense = self._all_dense(len(slope))
        total = plus(into, over_queries(slope, dense))
        if covariance is None:
            return total, None
        scores = jax.vmap(lambda y: _score(covariance, y, self.view))(dense)
        return total, jnp.tensordot(score, scores, 1)

    def squares(self, score: Array) -> Array:
        """`sum_k score_k y_k^2`, entry by entry: what a diagonal learns from."""
        return jnp.tensordot(score, jnp.square(self._all_dense(len(score))), 1)

    def moment_ratio(
        self,
        slopes: Array,
        weights: tuple[Array, Array],
        eps: Scalar,
        into: Array | None,
        factor: Scalar,
    ) -> Array:
        r"""`into + factor * m / (sqrt(v) + eps)`, of the directions of several steps.

        .. math:: g_j = \sum_k s_{jk} y_{jk}, \qquad m = \sum_j a_j g_j, \qquad v = \sum_j b_j g_j^2

        Args:
          slopes: `s`, `(h, K)`; the directions are h K, those of a step side by side.
          weights: `a` and `b`, `(h,)` each.
          eps: added to the root.
          into: see `combine`.
          factor: of the ratio, a scalar.

        Returns:
          The sum, float32 or of the dtype of `into`.
        """
        steps = jax.tree.map(lambda x: x.reshape(*slopes.shape, *x.shape[1:]), self)

        def add(moments: Moments, step: tuple[Any, ...]) -> tuple[Moments, None]:
            own, slope, *weights = step
            return moments.plus(own.combine(slope, slope)[0], *weights), None

        zeros = jnp.zeros(self.view.shape, wide(slopes))
        found, _ = jax.lax.scan(add, Moments(zeros, zeros), (steps, slopes, *weights))
        return plus(into, factor * found.ratio(eps))

    def after(self, value: Array | None) -> "Direction":
        """The same direction; if it is still to be drawn, not before `value` is there.

        Leaf after leaf: a compiler would draw the noise of all at once, and hold it.
        """
        return self

    def _all_dense(self, number: int) -> Float[Array, "K ..."]:
        return jax.vmap(lambda query: query.to_dense(), axis_size=number)(self)


class Moments(NamedTuple):
    """Weighted sums of estimates and of their squares, entry by entry."""

    first: Array | float = 0.0
    second: Array | float = 0.0

    def plus(self, gradient: Array, first: Array, second: Array) -> "Moments":
        """With one estimate more, and its weights in the two sums."""
        return Moments(self.first + first * gradient, self.second + second * jnp.square(gradient))

    def ratio(self, eps: Scalar) -> Array:
        """The first over the root of the second; zero where nothing was found."""
        root = jnp.sqrt(self.second)
        return jnp.where(root > 0, self.first / (root + eps), 0.0)


def _flatten(node: Direction) -> tuple[Any, Any]:
    names = tuple(field.name for field in fields(node))  # type: ignore[arg-type]
    static = tuple((name, getattr(node, name)) for name in names if name == "view")
    names = tuple(name for name in names if name != "view")
    children = tuple((jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in names)
    return children, (names, static)


def _unflatten(kind: type, static: tuple[Any, ...], children: Sequence[Any]) -> Any:
    """Skips the constructor: transformations rebuild nodes around things that are no arrays."""
    node, (names, views) = object.__new__(kind), static
    for name, value in (*zip(names, children, strict=True), *views):
        object.__setattr__(node, name, value)
    return node


def plus(into: Array | None, total: Array) -> Array:
    """The sum, rounded once; `total` alone if there is nothing to add it to."""
    return total if into is None else (into.astype(wide(into)) + total).astype(into.dtype)


def _score(covariance: DampedRankOne, y: Array, view: MatrixView) -> Array:
    """Score of a dense direction, whose stack axes may stand anywhere."""
    layers = jnp.moveaxis(y, view.stack_axes, range(len(view.stack_axes)))
    offset = len(view.stack_axes)
    return covariance.score(layers, tuple(i + offset for i in view.layer.fan_in))
