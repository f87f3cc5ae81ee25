"""How a leaf is read as a stack of matrices with a fan-in and a fan-out axis.

Directions have their structure on matrices, parameters come as leaves of any shape and axis order.
A `MatrixView` is the static bridge between the two.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped

from loren_jax import noise
from loren_jax.types import Leaf, MatrixAxes, PyTree

AxesOf: TypeAlias = Callable[[str, tuple[int, ...]], MatrixAxes | None]
"""`(path, shape) -> MatrixAxes`, or None for the default of that leaf."""


@dataclass(frozen=True)
class MatrixView:
    """A leaf as a stack of matrices `(*stack, m, n)`: m fan-out, n fan-in. Static, hashable.

    Attributes:
      shape: the leaf's shape.
      fan_in: its fan-in axes, in the order that numbers the fan-in units.
      fan_out: its fan-out axes, likewise; empty for a stack of vectors (m = 1).
      split: for each axis the names of the mesh axes that it is sharded over; empty where the leaf
        is whole on every device, or where nobody said how it is placed.

    >>> view = MatrixView((6, 384, 1536), fan_in=(1,), fan_out=(2,))
    >>> view.stack, view.m, view.n
    ((6,), 1536, 384)
    """

    shape: tuple[int, ...]
    fan_in: tuple[int, ...]
    fan_out: tuple[int, ...] = ()
    split: tuple[tuple[str, ...], ...] = ()

    @property
    def is_split(self) -> bool:
        """Whether a device holds only a part of each matrix."""
        return any(self.split_axes(i) for i in (*self.fan_in, *self.fan_out))

    def split_axes(self, axis: int) -> tuple[str, ...]:
        """Names of the mesh axes that an axis of the leaf is sharded over."""
        return self.split[axis] if self.split else ()

    @property
    def stack_axes(self) -> tuple[int, ...]:
        """The axes that number the matrices."""
        return tuple(i for i in range(len(self.shape)) if i not in self.fan_in + self.fan_out)

    @property
    def stack(self) -> tuple[int, ...]:
        """Shape of the stack; `()` for a single matrix."""
        return tuple(self.shape[i] for i in self.stack_axes)

    @property
    def stack_leads(self) -> bool:
        """Whether there is a stack and its axes come first, so that a layer is one block."""
        return bool(self.stack) and self.stack_axes == tuple(range(len(self.stack_axes)))

    @property
    def m(self) -> int:
        """Fan-out."""
        return math.prod(self.shape[i] for i in self.fan_out)

    @property
    def n(self) -> int:
        """Fan-in."""
        return math.prod(self.shape[i] for i in self.fan_in)

    @property
    def is_vector(self) -> bool:
        """Whether the leaf is a stack of vectors."""
        return not self.fan_out

    @property
    def layer(self) -> "MatrixView":
        """The view of one matrix, its axes in the leaf's order."""
        return self.arrange([i for i in range(len(self.shape)) if i not in self.stack_axes])

    def arrange(self, order: Iterable[int]) -> "MatrixView":
        """The view of a leaf that has these axes of this one, in this order."""
        number = {axis: i for i, axis in enumerate(order)}
        return MatrixView(
            tuple(self.shape[i] for i in number),
            tuple(number[i] for i in self.fan_in),
            tuple(number[i] for i in self.fan_out),
            tuple(self.split[i] for i in number) if self.split else (),
        )

    def from_matrices(self, matrices: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        """The leaf whose matrices are `(*stack, m, n)`."""
        order = self.stack_axes + self.fan_out + self.fan_in
        leaf = matrices.reshape([self.shape[i] for i in order])
        return jnp.transpose(leaf, [order.index(i) for i in range(len(order))])

    def from_layers(self, layers: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
        """The leaf whose layers, each in the leaf's own axis order, are `(*stack, *layer)`."""
        order = self.stack_axes + tuple(sorted(self.fan_in + self.fan_out))
        return jnp.transpose(layers, [order.index(i) for i in range(len(order))])


def view_of(path: noise.KeyPath, leaf: Leaf, matrix_axes: AxesOf | None = None) -> MatrixView:
    """The matrix view of the leaf at `path`.

    By default the last name of the path decides, by Flax's names: `bias` and `scale` are (stacks
    of) vectors, a name with `embedding` in it has its fan-in last, and everything else of two or
    more dimensions is a kernel `(..., fan_in, fan_out)`; `matrix_axes` may say otherwise. A scalar
    is a vector of length one. Only the leaf's shape matters.

    Raises:
      ValueError: axes that do not exist or that overlap.
    """
    names = noise.path_names(path)
    shape = jnp.shape(leaf)
    name = "/".join(names)
    axes = matrix_axes(name, shape) if matrix_axes is not None else None
    if axes is None:
        axes = _default_axes(names[-1] if names else "", len(shape))
    fan_in, fan_out = (_as_tuple(a) for a in axes)
    if any(not -len(shape) <= i < len(shape) for i in fan_in + fan_out):
        raise ValueError(f"matrix_axes gives {axes} for leaf {name!r} of shape {shape}.")
    fan_in, fan_out = (tuple(sorted(i % len(shape) for i in a)) for a in (fan_in, fan_out))
    if len(set(fan_in + fan_out)) < len(fan_in + fan_out) or (shape and not fan_in):
        raise ValueError(
            f"matrix_axes gives {axes} for leaf {name!r} of shape {shape}: fan_in and fan_out "
            "must name different axes, and fan_in at least one."
        )
    if 0 in shape:  # nothing is drawn: one vector without numbers, as which every method takes it
        return MatrixView(shape, tuple(range(len(shape))))
    return MatrixView(shape, fan_in, fan_out, _split_of(leaf))


def _split_of(leaf: Leaf) -> tuple[tuple[str, ...], ...]:
    """How a described leaf is sharded; an array under compilation does not tell."""
    if not isinstance(leaf, jax.ShapeDtypeStruct):
        return ()
    sharding = leaf.sharding
    if not isinstance(sharding, jax.sharding.NamedSharding):
        return ()
    sizes = sharding.mesh.shape
    every = [e if isinstance(e, tuple) else () if e is None else (e,) for e in sharding.spec]
    names = [tuple(name for name in entry if sizes[name] > 1) for entry in every]
    if not any(names):
        return ()
    return (*names, *[()] * (len(leaf.shape) - len(names)))


def attention_axes(path: str, shape: tuple[int, ...]) -> MatrixAxes | None:
    """Matrix axes of the kernels of Flax's attention modules, NNX and Linen.

    Their `query`, `key` and `value` are `(fan_in, heads, size)` and their `out` is `(heads, size,
    fan_out)`. By shape they look like a stack of plain kernels, as many networks keep theirs under
    the same names, so this is not the default: give it as `matrix_axes=attention_axes`.

    Args:
      path: of a leaf, by names.
      shape: of the leaf.

    Returns:
      Its axes; None where the default is right.

    >>> attention_axes("attention/out/kernel", (4, 16, 64))
    MatrixAxes(fan_in=(-3, -2), fan_out=-1)
    """
    module, name = (["", *path.split("/")])[-2:]
    if name != "kernel" or len(shape) < 3:
        return None
    if module in ("query", "key", "value"):
        return MatrixAxes(fan_in=-3, fan_out=(-2, -1))
    return MatrixAxes(fan_in=(-3, -2), fan_out=-1) if module == "out" else None


def _default_axes(name: str, ndim: int) -> MatrixAxes:
    if ndim == 0:
        return MatrixAxes(fan_in=())
    if ndim == 1 or name in ("bias", "scale"):
        return MatrixAxes(fan_in=-1)
    if "embedding" in name:
        return MatrixAxes(fan_in=-1, fan_out=-2)
    return MatrixAxes(fan_in=-2, fan_out=-1)


def _as_tuple(axes: int | tuple[int, ...]) -> tuple[int, ...]:
    return (axes,) if isinstance(axes, int) else tuple(axes)


def views_of(params: PyTree, matrix_axes: AxesOf | None = None) -> Any:
    """The matrix view of every leaf, as a tree like `params`."""
    return jax.tree_util.tree_map_with_path(lambda p, x: view_of(p, x, matrix_axes), params)
