"""Exchanges between devices: over a mesh of one device, or over a mapped axis."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from ..drafts import Draft, Value, need
from .table import add, operation

AXIS = "devices"


def mesh() -> Any:
    """One device."""
    return jax.make_mesh((1,), (AXIS,), axis_types=(jax.sharding.AxisType.Auto,))


def mapped(draft: Draft, x: Value, function: Any, *, square: bool = False) -> Any:
    """`function(types, value)` over one device, or over the value's first axis."""
    if draft.flip() and x.ndim > 1 and not square:
        apply = lambda t, v: jax.vmap(lambda y: function(t, y), axis_name=AXIS)(v)
        return f"vmap over {x.shape[0]}", apply, ()
    spec = PartitionSpec()

    def apply(t: Any, v: Any) -> Any:
        whole = lambda y: function(t, y)
        return jax.shard_map(whole, mesh=mesh(), in_specs=spec, out_specs=spec, check_vma=False)(v)

    return "on one device", apply, ()


def _plain(name: str) -> Any:
    function = getattr(lax, name, None)

    def make(draft: Draft, x: Value) -> Any:
        need(jnp.issubdtype(x.dtype, jnp.floating))
        return mapped(draft, x, lambda t, y: function(y, AXIS))

    return make


for _name in ("psum", "pmax", "pmin", "pmean", "all_gather"):
    add(_name, _plain(_name), (_name,))


@operation("axis_index", "axis_index", "axis_size")
def axis_index(draft: Draft, x: Value) -> Any:
    """Added to the value."""
    need(jnp.issubdtype(x.dtype, jnp.floating))
    number = lambda t, y: (lax.axis_index(AXIS) + lax.axis_size(AXIS)).astype(y.dtype)
    return mapped(draft, x, lambda t, y: y + number(t, y))


def _around(name: str) -> Any:
    function = getattr(lax, name, None)

    def make(draft: Draft, x: Value) -> Any:
        def turn(t: Any, y: Any) -> Any:
            size = lax.axis_size(AXIS)
            if name == "ppermute":
                return function(y, AXIS, [(i, (i + 1) % size) for i in range(size)])
            return function(y, AXIS, list(range(size))[::-1])

        return mapped(draft, x, turn)

    return make


for _name in ("ppermute", "pshuffle"):
    add(_name, _around(_name), (_name,))


def _across(name: str) -> Any:
    function = getattr(lax, name, None)

    def make(draft: Draft, x: Value) -> Any:
        need(x.ndim)
        keywords = {"psum_scatter": {"tiled": True}, "all_to_all": {}, "pswapaxes": {}}[name]
        need(name == "psum_scatter" or x.shape[0] == 1 or (x.ndim > 1 and x.shape[0] == x.shape[1]))
        axes = {"all_to_all": (0, 0), "pswapaxes": (0,), "psum_scatter": ()}[name]
        work = lambda t, y: function(y, AXIS, *axes, **keywords)
        if name != "psum_scatter" and x.ndim > 1 and x.shape[0] == x.shape[1]:
            return "vmap", lambda t, v: jax.vmap(lambda y: work(t, y), axis_name=AXIS)(v), ()
        return mapped(draft, x, work, square=True)

    return make


for _name in ("psum_scatter", "all_to_all", "pswapaxes"):
    add(_name, _across(_name), (_name,))


@operation("pcast", "pcast", keeps=True)
def pcast(draft: Draft, x: Value) -> Any:
    """A value that is the same everywhere, called one that is not."""
    dtype = x.dtype
    need(jnp.issubdtype(dtype, jnp.floating))
    rows = draft.array((2, x.shape[0]), dtype) if x.ndim else draft.array((), dtype)

    def apply(t: Any, v: Any, rows: Any) -> Any:
        def local(y: Any) -> Any:
            y = lax.pcast(y, AXIS, to="varying")
            return lax.psum(jnp.tensordot(rows, y, 1) if y.ndim else y * rows, AXIS)

        spec = PartitionSpec()
        return jax.shard_map(local, mesh=mesh(), in_specs=spec, out_specs=spec)(v)

    return "", apply, (rows,)


@operation("ragged_all_to_all", "ragged_all_to_all")
def ragged_all_to_all(draft: Draft, x: Value) -> Any:
    """From one device to itself."""
    need(x.ndim)
    number = np.asarray([x.shape[0]], np.int32)
    zero = np.zeros(1, np.int32)

    def move(t: Any, y: Any) -> Any:
        return lax.ragged_all_to_all(
            y, jnp.zeros_like(y), zero, number, zero, number, axis_name=AXIS
        )

    return mapped(draft, x, move, square=True)
