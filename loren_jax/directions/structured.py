"""The kinds of structured directions: `LowRank`, `Seeded`, `Dense` and `Zero`.

A direction is the perturbation of one leaf for one query. It is a pytree whose arrays may carry a
leading axis of K queries, as `vmap` makes them; `to_dense` is for one query, `combine` for K.

`combine(slope, score, covariance, into)` is the update side of every kind: it returns
`sum_k slope_k y_k`, float32, and `sum_k score_k d/da log p(y_k)` where the direction has a learned
covariance. Both come from one pass, because a seeded direction has to be drawn anew for it. With
`into`, an array like the leaf, the first sum is added to it, in its dtype and layer by layer, so
that a donated array is changed in place and no more than one matrix is held beside it.
"""

import math
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from loren_jax import noise
from loren_jax.covariance import DampedRankOne
from loren_jax.directions.matrices import MatrixView

Sum = tuple[Array, Array | None]
Kind = TypeVar("Kind")


def _pytree(cls: type[Kind]) -> type[Kind]:
    """Registers a dataclass as a pytree: `view` is static, all else are children.

    Unflattening skips the constructor, as transformations rebuild nodes around things that are no
    arrays.
    """
    names = [field.name for field in fields(cls) if field.name != "view"]  # type: ignore[arg-type]

    def flatten(node):
        children = tuple((jax.tree_util.GetAttrKey(n), getattr(node, n)) for n in names)
        return children, node.view

    def unflatten(view, children):
        node = object.__new__(cls)
        for name, child in zip((*names, "view"), (*children, view), strict=True):
            object.__setattr__(node, name, child)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    return cls


@_pytree
@dataclass(frozen=True)
class Zero:
    """No perturbation: a frozen leaf, an inactive block.

    Attributes:
      view: the leaf's matrix view.
    """

    view: MatrixView

    def to_dense(self) -> Float[Array, "..."]:
        """Zeros of the leaf's shape."""
        return jnp.zeros(self.view.shape, jnp.float32)

    def combine(
        self,
        slope: Array,
        score: Array,
        covariance: DampedRankOne | None = None,
        into: Array | None = None,
    ) -> Sum:
        """Zeros, or `into` as it is."""
        return self.to_dense() if into is None else into, None


@_pytree
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
    ) -> Sum:
        """The sums over K of the module's docstring; O(K times the leaf) work and memory."""
        total = _plus(into, jnp.tensordot(slope, self.array, 1))
        if covariance is None:
            return total, None
        scores = jax.vmap(lambda y: _score(covariance, y, self.view))(self.array)
        return total, jnp.tensordot(score, scores, 1)


@_pytree
@dataclass(frozen=True)
class LowRank:
    """`left @ right^T` for each matrix of the stack, in the fan-out x fan-in view.

    Attributes:
      left: fan-out factor, `(*stack, m, r)`, float32.
      right: fan-in factor, `(*stack, n, r)`, float32: its columns are samples of the covariance.
      view: the leaf's matrix view.
    """

    left: Any
    right: Any
    view: MatrixView

    def to_dense(self) -> Float[Array, "..."]:
        """The product, in the leaf's shape and axis order."""
        return self.view.from_matrices(jnp.einsum("...mr,...nr->...mn", self.left, self.right))

    def combine(
        self,
        slope: Array,
        score: Array,
        covariance: DampedRankOne | None = None,
        into: Array | None = None,
    ) -> Sum:
        """One product of inner size K r, and the score of the fan-in factor.

        Given `left`, the columns of `right` are independent samples of `N(0, Sigma)` and the only
        part of the density that depends on `a`. Their score is therefore the exact one, unbiased
        for any loss; it costs r vectors where a full Gaussian direction costs m.
        """
        weighted = self.left * slope.reshape(-1, *(1,) * (self.left.ndim - 1))
        if into is not None and self.view.stack_leads:
            total, _ = _layer_by_layer(into, self.view, lambda i: (self._layer(weighted, i), None))
        else:
            matrices = jnp.einsum("k...mr,k...nr->...mn", weighted, self.right)
            total = _plus(into, self.view.from_matrices(matrices))
        if covariance is None:
            return total, None
        scores = jax.vmap(lambda y: covariance.score(y, axis=-2))(self.right)
        return total, jnp.tensordot(score, scores, 1)

    def _layer(self, weighted: Array, number: Array) -> Array:
        """The weighted sum over K of one layer, in the leaf's axis order."""
        one = lambda x: x.reshape(x.shape[0], -1, *x.shape[-2:])[:, number]
        matrix = jnp.einsum("kmr,knr->mn", one(weighted), one(self.right))
        return self.view.layer.from_matrices(matrix)


@_pytree
@dataclass(frozen=True)
class Seeded:
    """Full Gaussian noise that is never stored: drawn on demand from one key a matrix.

    Attributes:
      keys: `(*stack,)` typed keys.
      covariance: of the fan-in vectors, over the same stack; None for isotropic noise.
      view: the leaf's matrix view.
    """

    keys: Key[Array, "*stack"]
    covariance: DampedRankOne | None
    view: MatrixView

    def to_dense(self) -> Float[Array, "..."]:
        """All layers, drawn."""
        layers = _over_stack(self._draw, len(self.view.stack), self.keys, self.covariance)
        return self.view.from_layers(layers)

    def combine(
        self,
        slope: Array,
        score: Array,
        covariance: DampedRankOne | None = None,
        into: Array | None = None,
    ) -> Sum:
        """Draws query after query and layer after layer: one layer's noise is alive at a time."""
        combine = lambda keys, covariance: self._combine_layer(keys, slope, score, covariance)
        if into is not None and self.view.stack_leads:
            keys = self.keys.reshape(self.keys.shape[0], -1)
            return _layer_by_layer(
                into, self.view, lambda i: combine(keys[:, i], _of_layer(covariance, i))
            )
        keys = jnp.moveaxis(self.keys, 0, -1)
        layers, scores = _over_stack(combine, len(self.view.stack), keys, covariance)
        return _plus(into, self.view.from_layers(layers)), scores

    def _combine_layer(self, keys, slope, score, covariance):
        layer = self.view.layer
        learned = None if covariance is None else jnp.zeros_like(covariance.vector)

        def add(sums, query):
            key, slope, score = query
            y = self._draw(key, covariance)
            total = sums[0] + slope * y
            if covariance is None:
                return (total, None), None
            return (total, sums[1] + score * covariance.score(y, layer.fan_in)), None

        start = (jnp.zeros(layer.shape, jnp.float32), learned)
        return jax.lax.scan(add, start, (keys, slope, score))[0]

    def _draw(self, key, covariance):
        layer = self.view.layer
        standard = noise.normal(key, layer.shape)
        return standard if covariance is None else covariance.apply_sqrt(standard, layer.fan_in)


def _plus(into: Array | None, total: Array) -> Array:
    """The sum, rounded once; `total` alone if there is nothing to add it to."""
    return total if into is None else (into.astype(jnp.float32) + total).astype(into.dtype)


def _layer_by_layer(into: Array, view: MatrixView, layer: Any) -> Sum:
    """Adds `layer(i)[0]` to each layer of `into`; collects `layer(i)[1]`, the scores, if any."""
    depth, number = len(view.stack), math.prod(view.stack)
    shape = jax.eval_shape(layer, 0)[1]
    scores = None if shape is None else jnp.zeros((number, *shape.shape), shape.dtype)

    def add(i, sums):
        into, scores = sums
        total, score = layer(i)
        into = into.at[i].set(_plus(into[i], total))
        return into, None if scores is None else scores.at[i].set(score)

    flat = into.reshape(number, *into.shape[depth:])
    flat, scores = jax.lax.fori_loop(0, number, add, (flat, scores))
    return flat.reshape(into.shape), None if scores is None else scores.reshape(*view.stack, -1)


def _of_layer(covariance: DampedRankOne | None, number: Array) -> DampedRankOne | None:
    if covariance is None:
        return None
    vectors = covariance.vector.reshape(-1, covariance.vector.shape[-1])
    return covariance._replace(vector=vectors[number])


def _score(covariance: DampedRankOne, y: Array, view: MatrixView) -> Array:
    """Score of a dense direction, whose stack axes may stand anywhere."""
    layers = jnp.moveaxis(y, view.stack_axes, range(len(view.stack_axes)))
    offset = len(view.stack_axes)
    return covariance.score(layers, tuple(i + offset for i in view.layer.fan_in))


def _over_stack(fn, depth: int, keys: Array, covariance: DampedRankOne | None):
    """Maps `fn(key, covariance)` over the stack axes, one matrix after another."""
    if depth == 0:
        return fn(keys, covariance)

    def one(matrix):
        key, vector = matrix
        one_covariance = None if covariance is None else covariance._replace(vector=vector)
        return _over_stack(fn, depth - 1, key, one_covariance)

    return jax.lax.map(one, (keys, None if covariance is None else covariance.vector))
