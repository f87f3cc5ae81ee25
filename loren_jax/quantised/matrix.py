"""A matrix of few bits as a pytree: codes that no step changes, and scales that may be trained."""

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from loren_jax import scheduling
from loren_jax.quantised.forms import FORMS, Form
from loren_jax.types import PyTree

AT_ONCE = 1 << 22
"""Numbers that are floats at the same time; a larger matrix is multiplied in several parts."""

FIELDS = ("codes", "high", "scales", "parts", "minima", "floors", "down", "up")


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=FIELDS, meta_fields=["name", "dtype", "kernel"]
)
@dataclass(frozen=True)
class Quantised:
    """A stack of quantised matrices, each of which is multiplied with a vector from its fan-in.

    All arrays have the layers in front, if there are any, and then one row for each fan-out unit.
    Its leaves are called `codes`, `scales` and so on, below the path that the matrix would have;
    only the scales are to be trained. A leaf that the form has not is None.

    Attributes:
      codes: The packed codes.
      high: Two more bits of each.
      scales: `s` of each block.
      parts: `p` of each group.
      minima: `m` of each block.
      floors: `b` of each group.
      down: First factor `(fan_in, r)` of what is added, by `loren_jax.lora`.
      up: The second `(r, fan_out)`.
      name: The form; see `loren_jax.quantised.forms`.
      dtype: Element type of the floats that it becomes.
      kernel: Whether the matrix that it stands for is `(fan_in, fan_out)`, as a kernel is, and
        not a table of rows.

    >>> import numpy as np
    >>> from loren_jax.quantised.absmax import quantise_rows
    >>> form, fields = quantise_rows(np.eye(2, 32), "int8")
    >>> matrix = Quantised(**{n: jnp.asarray(x) for n, x in fields.items()}, name=form.name)
    >>> matrix.shape, float(matrix.to_dense()[1, 1].round(3))
    ((32, 2), 1.0)
    """

    codes: Any
    scales: Any = None
    high: Any = None
    parts: Any = None
    minima: Any = None
    floors: Any = None
    down: Any = None
    up: Any = None
    name: str = "Q8_0"
    dtype: str = "float32"
    kernel: bool = True

    @property
    def form(self) -> Form:
        """How it is packed."""
        return FORMS[self.name]

    @property
    def fan_in(self) -> int:
        """Numbers of a row."""
        return self.codes.shape[-1] * (2 if self.form.nibbles else 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array that it stands for."""
        *stack, rows = self.codes.shape[:-1]
        return (*stack, self.fan_in, rows) if self.kernel else (*stack, rows, self.fan_in)

    @property
    def size(self) -> int:
        """How many numbers it stands for."""
        return self.codes.size * (2 if self.form.nibbles else 1)

    def rows(self) -> Float[Array, "*stack out in"]:
        """All rows as floats, without what is added."""
        stack, form = self.codes.shape[:-1], self.form
        if self.scales is None:
            return _floats(self.codes).astype(self.dtype)
        blocks, groups = form.block // form.group, self.fan_in // form.group
        level = lambda outer, inner: (
            outer.astype(jnp.float32)
            if inner is None
            else outer.astype(jnp.float32)[..., None]
            * inner.reshape(*stack, -1, blocks).astype(jnp.float32)
        ).reshape(*stack, groups, 1)
        numbers = _integers(form, self.codes, self.high).reshape(*stack, groups, form.group)
        values = level(self.scales, self.parts) * numbers
        if self.minima is not None:
            values = values - level(self.minima, self.floors)
        return values.reshape(*stack, -1).astype(self.dtype)

    def to_dense(self) -> Float[Array, "..."]:
        """The array that it stands for, with what is added."""
        rows = self.rows()
        if self.down is not None:
            added = jnp.matmul(self.down.astype(jnp.float32), self.up.astype(jnp.float32))
            added = jnp.swapaxes(added, -1, -2)
            rows = (rows.astype(jnp.float32) + added).astype(self.dtype)
        return jnp.swapaxes(rows, -1, -2) if self.kernel else rows

    def take(self, index: Int[Array, "..."]) -> "Quantised":
        """Some rows of one matrix; one that is not there is not a number."""
        taken = self._each_row(lambda field: jnp.take(field, index, axis=0))
        if self.down is None:
            return taken
        return dataclasses.replace(taken, down=self.down, up=jnp.take(self.up, index, axis=1))

    def look_up(self, index: Int[Array, "..."]) -> Float[Array, "... in"]:
        """Some rows as floats, with what is added."""
        taken = self.take(index)
        if taken.down is None:
            return taken.rows()
        return taken.rows() + (jnp.moveaxis(taken.up, 0, -1) @ taken.down.T).astype(self.dtype)

    def product(self, x: Float[Array, "... in"], *, wide: bool = False) -> Float[Array, "... out"]:
        """`x @ W`, of one matrix; no more than `AT_ONCE` of its numbers are floats at a time.

        The result is of the wider of the two types, or if it is to be `wide` of float32 at least.
        """
        dtype = jnp.promote_types(x.dtype, self.dtype)
        out = jnp.promote_types(dtype, jnp.float32) if wide else dtype
        several = (((x.ndim - 1,), (1,)), ((), ()))
        times = lambda part: jax.lax.dot_general(
            x.astype(dtype), part.rows().astype(dtype), several, preferred_element_type=out
        )
        count, at_once = self.codes.shape[0], max(1, AT_ONCE // self.fan_in)
        # A part that each device has some rows of, so that none is sent where they are divided.
        devices = math.gcd(scheduling.devices_of_a_query(), count)
        count //= devices
        if count <= at_once:
            made = times(self)
        else:
            split = self._each_row(lambda f: f.reshape(devices, count, *f.shape[1:]))

            def put(made: Array, start: Array) -> tuple[Array, None]:
                # The last part begins earlier where it would not be whole, and says some twice.
                cut = lambda f: jax.lax.dynamic_slice_in_dim(f, start, at_once, 1)
                part = times(split._each_row(lambda f: cut(f).reshape(-1, *f.shape[2:])))
                part = part.reshape(*x.shape[:-1], devices, at_once)
                return jax.lax.dynamic_update_slice_in_dim(made, part, start, x.ndim), None

            starts = jnp.minimum(jnp.arange(0, count, at_once), count - at_once)
            empty = jnp.zeros((*x.shape[:-1], devices, count), out)
            made = jax.lax.scan(put, empty, starts)[0].reshape(*x.shape[:-1], -1)
        if self.down is None:
            return made
        detour = (x @ self.down.astype(dtype)) @ self.up.astype(dtype)
        return made + detour.astype(out)

    def _each_row(self, change: Any) -> "Quantised":
        """With a change to all that has rows, and nothing added."""
        own = {n: getattr(self, n) for n in FIELDS[:-2] if getattr(self, n) is not None}
        changed = {name: change(field) for name, field in own.items()}
        return dataclasses.replace(self, **changed, down=None, up=None)


def _floats(codes: Array) -> Array:
    """Codes that are floats of 16 bits; those of bfloat16 lie as the bits that they are.

    Whatever is done to a bfloat16 array, a CPU does in float32, and XLA converts it beforehand:
    with a stack of layers that is a copy of all.
    """
    if codes.dtype != jnp.uint16:
        return codes
    return jax.lax.bitcast_convert_type(codes.astype(jnp.uint32) << 16, jnp.float32)


def _integers(form: Form, codes: Array, high: Array | None) -> Float[Array, "*stack in"]:
    """The codes without the offset, unpacked, as floats."""
    if not form.nibbles:
        return codes.astype(jnp.float32)
    found = _spread(codes, form.nibbles, (0, 4), 15)
    if high is not None:
        found = found | _spread(high, form.quarters, (0, 2, 4, 6), 3) << 4
    return found.astype(jnp.float32) - form.offset


def _spread(packed: Array, width: int, shifts: tuple[int, ...], mask: int) -> Array:
    """What so many bytes hold at each shift, one behind the other."""
    stack = packed.shape[:-1]
    together = packed.reshape(*stack, -1, 1, width)
    by = jnp.array(shifts, jnp.uint8).reshape(*[1] * (together.ndim - 2), -1, 1)
    return (together >> by & mask).reshape(*stack, -1)


def is_quantised(leaf: Any) -> bool:
    """Whether something is a quantised matrix; to be `is_leaf` of a map over parameters.

    Args:
      leaf: anything.

    Returns:
      Whether it is one.
    """
    return isinstance(leaf, Quantised)


def is_frozen(path: str) -> bool:
    """Whether a leaf of this path is a part of a quantised matrix that no step is to change.

    >>> is_frozen("layers/up/kernel/codes"), is_frozen("layers/up/kernel/scales")
    (True, False)
    """
    above, _, name = path.rpartition("/")
    return name in FIELDS and name not in ("scales", "down", "up") and "/" in above


def as_shapes(params: PyTree) -> PyTree:
    """Parameters with the shape and type alone of every quantised matrix, which is one leaf then.

    Args:
      params: any tree.

    Returns:
      The tree; its other leaves are the same ones.

    >>> table = Quantised(jnp.ones((4, 32), jnp.int8), jnp.ones((4, 1)), kernel=False)
    >>> as_shapes({"table": table, "bias": jnp.ones(4)})["table"].shape
    (4, 32)
    """
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, jnp.dtype(x.dtype)) if is_quantised(x) else x,
        params,
        is_leaf=is_quantised,
    )


def as_dense(params: PyTree) -> PyTree:
    """Parameters with an array in place of every quantised matrix.

    Args:
      params: any tree.

    Returns:
      The tree; its other leaves are the same ones.

    >>> table = Quantised(jnp.ones((4, 32), jnp.int8), jnp.full((4, 1), 2.0), kernel=False)
    >>> float(as_dense({"table": table})["table"][0, 0])
    2.0
    """
    return jax.tree.map(lambda x: _dense(x) if is_quantised(x) else x, params, is_leaf=is_quantised)


@jax.jit
def _dense(matrix: Quantised) -> Array:
    return matrix.to_dense()
