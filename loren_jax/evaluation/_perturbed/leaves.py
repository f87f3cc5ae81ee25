"""Perturbed leaves: a weight and its structured perturbation, while nothing has forced their sum.

`Factored` is `weight + sum_r left[..., r] right[..., r]`, whatever has been transposed, sliced or
reshaped since it was `left @ right^T`: every axis of the weight belongs to the stack, to the left
factor or to the right one. `Noisy` is a weight and the key of its noise, `OneMoved` a stack of
which one layer is perturbed, `Squared` the squares of one of these. All can always be made `dense`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array

from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.structured import Dense, Direction, LowRank, Scaled, Seeded, Zero
from loren_jax.precision import wide
from loren_jax.types import HasShapeAndDtype, Index

STACK, LEFT, RIGHT = "stack", "left", "right"
RANK = -1
"""Number of the rank axis among axis numbers."""


@dataclass(frozen=True)
class Factored:
    """A weight with a low-rank perturbation.

    Attributes:
      name: path of the leaf it comes from.
      weight: the unperturbed value, as transformed so far.
      left: axes of the weight that are labelled STACK or LEFT, in their order, then the rank;
        float32; carries the scale.
      right: the same with RIGHT.
      labels: for each axis of the weight, which factor has it; the stack's axes are in both.
      left_split: names of the mesh axes that the left factor's side of the weight is sharded over.
      right_split: the same of the right factor's.
    """

    name: str
    weight: Array
    left: Array
    right: Array
    labels: tuple[str, ...]
    left_split: tuple[str, ...] = ()
    right_split: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.weight.shape

    def axes(self, side: str) -> list[int]:
        """Axes of the weight that a factor has, in order."""
        return [i for i, label in enumerate(self.labels) if label in (STACK, side)]

    def factor(self, side: str) -> Array:
        """The left or the right one."""
        return self.left if side == LEFT else self.right

    def split_axes(self, side: str) -> tuple[str, ...]:
        """Names of the mesh axes that a side of the weight is sharded over."""
        return self.left_split if side == LEFT else self.right_split

    def with_weight(
        self, weight: Array, change: Callable[[Array, str], Array], labels: Any = None
    ) -> "Factored":
        """With the weight changed, and `change(factor, side)` made in both factors."""
        left, right = change(self.left, LEFT), change(self.right, RIGHT)
        labels = self.labels if labels is None else tuple(labels)
        return replace(self, weight=weight, left=left, right=right, labels=labels)

    def dense(self) -> Array:
        """The sum, cast last."""
        left, right = [*self.axes(LEFT), RANK], [*self.axes(RIGHT), RANK]
        delta = contract(self.left, left, self.right, right, list(range(len(self.labels))))
        return (self.weight.astype(wide(self.weight)) + delta).astype(self.weight.dtype)

    def layers(self) -> tuple[Any, ...] | None:
        """Arrays to scan over the leading axis; None where that axis is no stack."""
        if not self.labels or self.labels[0] != STACK:
            return None
        return (self.weight, self.left, self.right)

    def layer(self, arrays: tuple[Any, ...]) -> "Factored":
        """One layer, from one slice of `layers()`."""
        weight, left, right = arrays
        return replace(self, weight=weight, left=left, right=right, labels=self.labels[1:])


@dataclass(frozen=True)
class Noisy:
    """A weight whose noise is drawn where the weight is used.

    Attributes:
      name: path of the leaf it comes from.
      weight: the unperturbed value.
      direction: keys of the noise.
      scale: factor of the direction.
      dtype: of the value, where a cast is still to be made.
      order: permutation of the weight's axes, where a transposition is still to be made. Made
        early it would be a copy of the weight, which a loop over its blocks would hold.
    """

    name: str
    weight: Array
    direction: Seeded
    scale: Array
    dtype: Any
    order: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return tuple(self.weight.shape[i] for i in self.order)

    @property
    def transposed(self) -> bool:
        """Whether a transposition is still to be made."""
        return self.order != tuple(range(len(self.order)))

    def dense(self) -> Array:
        """The sum, cast last; drawn block by block into a copy of the weight."""
        direction = replace(self.direction, keys=self.direction.keys[None])
        scale = jnp.asarray(self.scale, wide(self.scale))[None]
        value = direction.combine(scale, scale, None, self.weight)[0].astype(self.dtype)
        return jnp.transpose(value, self.order)

    def block(self, start: Index, width: int) -> Array:
        """`width` entries along the fan-out axis that a single matrix is drawn along."""
        weight, axis = self.weight, self.direction.blocked_axis
        if not self.direction.view.is_split:
            weight = jax.lax.dynamic_slice_in_dim(weight, start, width, axis)
        value = weight.astype(wide(weight)) + self.scale * self.direction.block(start, width)
        return jnp.transpose(value.astype(weight.dtype).astype(self.dtype), self.order)

    def with_weight(
        self, weight: Array, view: MatrixView, change: Callable[[Array, list[int]], Array]
    ) -> "Noisy":
        """With the weight changed, and `change(array, axes)` made in all that has its axes.

        The view is that of the changed weight. RANK stands for an axis that is none of the weight.
        """
        old, stack = self.direction, self.direction.view.stack_axes
        covariance = old.covariance
        if covariance is not None:
            covariance = covariance._replace(vector=change(covariance.vector, [*stack, RANK]))
        std = None if old.std is None else change(old.std, list(range(len(old.view.shape))))
        keys = change(old.keys, list(stack))
        direction = replace(old, keys=keys, covariance=covariance, view=view, std=std)
        return replace(self, weight=weight, direction=direction, order=tuple(range(weight.ndim)))

    def settle(self) -> "Noisy":
        """With the transposition made: noise is drawn by units, wherever their axes stand."""
        order = (*self.order, RANK)
        change = lambda x, axes: jnp.transpose(x, [axes.index(i) for i in order if i in axes])
        weight = jnp.transpose(self.weight, self.order)
        return self.with_weight(weight, self.direction.view.arrange(self.order), change)

    def layers(self) -> tuple[Any, ...] | None:
        """Arrays to scan over the leading axis; None where that axis is no stack."""
        if self.transposed or 0 not in self.direction.view.stack_axes:
            return None
        covariance = self.direction.covariance
        vector = None if covariance is None else covariance.vector
        return (self.weight, self.direction.keys, vector, self.direction.std)

    def layer(self, arrays: tuple[Any, ...]) -> "Noisy":
        """One layer, from one slice of `layers()`."""
        weight, keys, vector, std = arrays
        covariance = self.direction.covariance
        if covariance is not None:
            covariance = covariance._replace(vector=vector)
        view = self.direction.view
        view = view.arrange(range(1, len(view.shape)))
        old = self.direction
        direction = replace(old, keys=keys, covariance=covariance, view=view, std=std)
        return replace(self, weight=weight, direction=direction, order=self.order[:-1])


@dataclass(frozen=True)
class OneMoved:
    """A stack of which one layer is perturbed; it stays so until a loop runs over it.

    Attributes:
      weight: the unperturbed stack.
      moved: the layer, an array or a perturbed leaf of its own.
      number: which layer.
      dtype: of the value, where a cast is still to be made.
    """

    weight: Array
    moved: Any
    number: Array
    dtype: Any

    @property
    def name(self) -> str:
        """Path of the leaf it comes from; of a layer that is an array it is not known."""
        return self.moved.name if is_perturbed(self.moved) else "one layer of a stack"

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.weight.shape

    def still(self, number: Index) -> Array:
        """A layer that is not perturbed."""
        layer = jax.lax.dynamic_index_in_dim(self.weight, number, keepdims=False)
        return layer.astype(self.dtype)

    def layer(self) -> Any:
        """The layer that is."""
        return cast(self.moved, self.dtype)

    def dense(self) -> Array:
        """The stack, with one layer replaced."""
        whole = self.weight.astype(self.dtype)
        return jax.lax.dynamic_update_index_in_dim(whole, dense(self.layer()), self.number, 0)


@dataclass(frozen=True)
class Squared:
    """The squares of a weight's entries, until they are summed up.

    Attributes:
      leaf: the weight with its perturbation.
      dtype: of the squares.
    """

    leaf: Factored | Noisy
    dtype: Any

    @property
    def name(self) -> str:
        """Path of the leaf it comes from."""
        return self.leaf.name

    @property
    def weight(self) -> Array:
        """The unperturbed value."""
        return self.leaf.weight

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.leaf.shape

    def dense(self) -> Array:
        """The squares of the sum."""
        return jnp.square(self.leaf.dense()).astype(self.dtype)


Perturbed: TypeAlias = Factored | Noisy | OneMoved | Squared
Value: TypeAlias = ArrayLike | HasShapeAndDtype | Perturbed
"""What the interpreter hands on: an array, a literal of the program, or a perturbed leaf."""


OnMaterialise: TypeAlias = Callable[[str, Array, str], None]
"""Called with name and weight of a leaf that has to be made dense, and with what forced it."""


@singledispatch
def enter(direction: Direction, name: str, weight: Array, scale: Array, note: OnMaterialise) -> Any:
    """The leaf as the interpreter first sees it: an array, or a perturbed leaf.

    A kind without an entry here is made dense before anything reads it, which is always right.

    Args:
      direction: of one query, any kind.
      name: path of the leaf.
      weight: the unperturbed value.
      scale: factor of the direction.
      note: called with the kind's name if it has no entry.

    Returns:
      The value.
    """
    note(name, weight, type(direction).__name__)
    return _sum(direction, weight, scale)


@enter.register(Zero)
def _(direction: Zero, name: str, weight: Array, scale: Array, note: OnMaterialise) -> Array:
    return weight


@enter.register(Dense)
def _(direction: Dense, name: str, weight: Array, scale: Array, note: OnMaterialise) -> Array:
    return _sum(direction, weight, scale)


@enter.register(Scaled)
def _(direction: Scaled, name: str, weight: Array, scale: Array, note: OnMaterialise) -> Any:
    return enter(direction.inner, name, weight, scale * direction.radius, note)


@enter.register(Seeded)
def _(direction: Seeded, name: str, weight: Array, scale: Array, note: OnMaterialise) -> Noisy:
    return Noisy(name, weight, direction, scale, weight.dtype, tuple(range(weight.ndim)))


@enter.register(LowRank)
def _(direction: LowRank, name: str, weight: Array, scale: Array, note: OnMaterialise) -> Factored:
    view = direction.view
    labels = tuple(
        LEFT if i in view.fan_out else RIGHT if i in view.fan_in else STACK
        for i in range(len(view.shape))
    )
    left = _in_leaf_order(direction.left * scale, view, view.fan_out)
    right = _in_leaf_order(direction.right, view, view.fan_in)
    names = lambda own: tuple(name for i in own for name in view.split_axes(i))
    return Factored(name, weight, left, right, labels, names(view.fan_out), names(view.fan_in))


def _sum(direction: Direction, weight: Array, scale: Array) -> Array:
    """The perturbed weight, cast last."""
    return (weight.astype(wide(weight)) + scale * direction.to_dense()).astype(weight.dtype)


def cast(value: Array | Perturbed, dtype: DTypeLike) -> Any:
    """A cast that keeps the structure."""
    if isinstance(value, Factored):
        return replace(value, weight=value.weight.astype(dtype))
    return replace(value, dtype=dtype) if isinstance(value, Perturbed) else value.astype(dtype)


def dense(value: Value) -> Any:
    """The value as an array."""
    return value.dense() if isinstance(value, Perturbed) else value


def is_perturbed(value: Value) -> bool:
    """Whether a value is a perturbed leaf."""
    return isinstance(value, Perturbed)


def contract(
    a: Array, a_axes: list[int], b: Array, b_axes: list[int], out_axes: list[int]
) -> Array:
    """Einstein's sum over everything that is not in `out_axes`, the rank above all; in a wide type.

    A rank of one is a product with broadcasting, which XLA fuses into what follows; as a matrix
    product of inner size one it would cost a pass over the result.
    """
    if RANK in a_axes and a.shape[a_axes.index(RANK)] == 1 and RANK in b_axes:
        a = jnp.squeeze(a, a_axes.index(RANK))
        b = jnp.squeeze(b, b_axes.index(RANK))
        a_axes, b_axes = ([i for i in axes if i != RANK] for axes in (a_axes, b_axes))
        if set(out_axes) == set(a_axes) | set(b_axes):
            return _spread(a, a_axes, out_axes) * _spread(b, b_axes, out_axes)
    number = {axis: i for i, axis in enumerate(sorted({*a_axes, *b_axes}))}
    numbers = lambda axes: [number[axis] for axis in axes]
    return jnp.einsum(
        a, numbers(a_axes), b, numbers(b_axes), numbers(out_axes),
        preferred_element_type=wide(a, b),
    )  # fmt: skip


def _spread(x: Array, axes: list[int], out_axes: list[int]) -> Array:
    """`x` with its axes in the order of `out_axes` and size one where it has none."""
    x = jnp.transpose(x, [axes.index(i) for i in out_axes if i in axes])
    return jnp.expand_dims(x, [n for n, i in enumerate(out_axes) if i not in axes])


def _in_leaf_order(factor: Array, view: MatrixView, own: tuple[int, ...]) -> Array:
    """A factor `(*stack, size, r)` with one axis for each axis of the leaf, in the leaf's order."""
    axes = view.stack_axes + own
    factor = factor.reshape(*(view.shape[i] for i in axes), factor.shape[-1])
    order = [axes.index(i) for i in sorted(axes)]
    return jnp.transpose(factor, [*order, len(axes)])
