"""When numbers are computed, how many at a time, and on which device; never which numbers.

A compiler is free to draw the noise of all layers before the first one runs, to fuse a draw into
whatever reads it, or to draw on one device and send to the others. What is said here leaves it no
such choice. Nothing in this module changes a value.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array, Float, Integer, Shaped

FEW = 4096
"""Numbers that are not worth a loop."""

ANYHOW = jax.sharding.PartitionSpec.UNCONSTRAINED
"""For an axis that the compiler may shard as it likes."""

_SHARDED_OVER: ContextVar[Mapping[str, int]] = ContextVar("shard_over", default={})  # noqa: B039
"""Sizes of the mesh axes that one query's values may be sharded over; empty outside of a mesh.

`shard_over` sets it while `evaluation.sharded` traces a step. It is no argument, as the user's
own loss and all rules of the interpreter stand between who knows the mesh and who draws a block.
Where it is not empty, no loop runs over an axis that may be sharded, as that would gather the
axis; nothing waits for the first number of an array, which is on one device; and arrays are told
where they lie.
"""


@contextlib.contextmanager
def shard_over(axes: Mapping[str, int]) -> Iterator[None]:
    """Draws noise so that the compiler can divide it among devices; the same bits.

    Args:
      axes: names and sizes of those axes of a mesh that one query's values may be sharded over.
    """
    token = _SHARDED_OVER.set({name: size for name, size in axes.items() if size > 1})
    try:
        yield
    finally:
        _SHARDED_OVER.reset(token)


def may_be_sharded() -> bool:
    """Whether the values of a query may be divided among devices."""
    return bool(_SHARDED_OVER.get())


def devices_of_a_query() -> int:
    """How many devices the values of one query may be divided among."""
    return math.prod(_SHARDED_OVER.get().values())


def parts(names: Sequence[str]) -> int:
    """Into how many parts an axis is divided that is sharded over these axes of the mesh."""
    return math.prod(_SHARDED_OVER.get().get(name, 1) for name in names)


def split_as(x: Shaped[Array, "..."], names: Sequence[Any]) -> Shaped[Array, "..."]:
    """The same array, each device having its part alone.

    The generator makes every number by itself, so that a device makes no others.

    Args:
      x: an array.
      names: for each of its axes those of the mesh that it is sharded over, or `ANYHOW`; empty to
        leave it as it is.

    Returns:
      The array.
    """
    if not any(names) or not may_be_sharded():
        return x
    return jax.lax.with_sharding_constraint(x, jax.sharding.PartitionSpec(*names))


def whole(x: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """The same array, all of it on every device."""
    if not may_be_sharded():
        return x
    return jax.lax.with_sharding_constraint(x, jax.sharding.PartitionSpec())


def after(x: Shaped[Array, "..."], value: Shaped[Array, "..."]) -> Shaped[Array, "..."]:
    """The same numbers, but not before `value` is there.

    Noise depends on keys alone, so a compiler may draw that of all layers before the first one
    runs, and hold it; with keys that wait it cannot.
    """
    if may_be_sharded():
        return jax.lax.optimization_barrier((x, value))[0]
    return x + zero_after(value).astype(x.dtype)


def zero_after(value: Shaped[Array, "..."]) -> Float[Array, ""]:
    """Zero, but not before `value` is there: a buffer filled with it is not allocated earlier.

    An optimisation barrier is not kept by every backend; this is a dependence that none can
    remove: no number is infinite and unequal to itself. Where the value may lie on several devices
    it would have to be sent from the one that has its first number; there it is just zero.
    """
    if may_be_sharded():
        return jnp.zeros((), jnp.float32)
    one = jax.lax.convert_element_type(value[(0,) * value.ndim], jnp.float32)
    return (jnp.isinf(one) & jnp.isnan(one)).astype(jnp.float32)


def in_blocks(
    draw: Callable[..., Array],
    rows: Shaped[Array, " rows"],
    length: int,
    zero: Float[Array, ""] | float = 0.0,
) -> Shaped[Array, "rows length"]:
    """`draw(rows, length)`, an array in memory that is computed once.

    Otherwise a compiler may fuse the generator into whatever reads the numbers, and compute them
    again for every entry of a weight that a factor is multiplied into. Where there are no calls,
    more than a few numbers come from a loop of two turns at least: what a loop returns is an array.

    Args:
      draw: a function of the module, so that it is traced once for all places of equal shapes.
      rows: what it makes a row of each.
      length: of a row.
      zero: zero, once the loop may begin.

    Returns:
      The numbers.
    """
    if _has_calls():
        return by_itself(draw, rows, length=length)
    size = rows.size * length
    blocks = max(-(-size // numbers_at_once()), 2 if size > FEW else 1)
    if blocks == 1:
        return draw(rows, length)
    height = -(-rows.size // blocks)
    padded = rows[np.arange(blocks * height) % rows.size]
    put = lambda i, out: out.at[i].set(draw(padded.reshape(blocks, height)[i], length))
    dtype = jax.eval_shape(lambda some: draw(some, length), rows).dtype
    drawn = jnp.full((blocks, height, length), zero, dtype)
    return jax.lax.fori_loop(0, blocks, put, drawn).reshape(-1, length)[: rows.size]


def by_itself(fn: Callable[..., Any], *arrays: Array, **static: Any) -> Any:
    """`fn(*arrays, **static)`, fused with nothing: on a CPU a function that is not inlined.

    So calls that differ in their arrays alone, if the compiler does not know these, are compiled
    once.

    Args:
      fn: a function of the module, so that it is traced once.
      *arrays: its arguments.
      **static: what its program depends on.

    Returns:
      What it returns.
    """
    if not _has_calls():
        return fn(*arrays, **static)
    with set_xla_metadata(inlineable="false"):
        return _called(fn, tuple(static.items()), *arrays)


def unknown_zero(value: Shaped[Array, "..."]) -> Integer[Array, ""]:
    """Zero, where the first of the things begins that are cut from one array.

    A compiler that knew it would know where all the others begin, and compile a cut of each place,
    with whatever it is fused with: once a leaf, where leaves of one shape can share a program.
    """
    zero = zero_after(value) if _has_calls() else jnp.zeros((), jnp.float32)
    return zero.astype(jnp.int32)


def _has_calls() -> bool:
    """Elsewhere, and on a mesh, a function is always inlined."""
    return jax.default_backend() == "cpu" and not may_be_sharded()


@partial(jax.jit, static_argnums=(0, 1))
def _called(fn: Callable[..., Any], static: tuple[tuple[str, Any], ...], *arrays: Array) -> Any:
    return fn(*arrays, **dict(static))


def numbers_at_once() -> int:
    """64 thousand numbers on a CPU, 4 million on anything with a kernel to launch."""
    return 2**16 if jax.default_backend() == "cpu" else 2**22


def block_numbers() -> int:
    """Numbers of a matrix that are held at once: enough for an efficient matrix product."""
    return 4 * numbers_at_once()
