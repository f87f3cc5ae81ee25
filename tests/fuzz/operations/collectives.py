"""Exchanges between devices: over a mesh, or over a mapped axis."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from ..drafts import Draft, Value, need
from .meshes import AXIS, kind_for, map_over, mesh, sharded_axis, size, spec
from .table import add, operation


def mapped(
    draft: Draft, x: Value, function: Any, *, square: bool = False, how: str | None = None
) -> Any:
    """`function(types, value)` on every device, or over the value's first axis."""
    if draft.flip() and x.ndim > 1 and not square:
        apply = lambda t, v: jax.vmap(lambda y: function(t, y), axis_name=AXIS)(v)
        return f"vmap over {x.shape[0]}", apply, ()
    axis = None if square else sharded_axis(draft, x)
    how = how or kind_for(draft, x.dtype)
    apply = lambda t, v: map_over(how, lambda y: function(t, y), [spec(x, axis)])(v)
    return f"{how} mesh, axis {axis} sharded", apply, ()


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
        how = kind_for(draft, x.dtype)
        parts = size(how)
        divided = x.shape[0] % parts == 0 if name == "psum_scatter" else x.shape[0] == parts
        need(divided or (x.ndim > 1 and x.shape[0] == x.shape[1]))
        axes = {"all_to_all": (0, 0), "pswapaxes": (0,), "psum_scatter": ()}[name]
        work = lambda t, y: function(y, AXIS, *axes, **keywords)
        if name != "psum_scatter" and x.ndim > 1 and x.shape[0] == x.shape[1]:
            return "vmap", lambda t, v: jax.vmap(lambda y: work(t, y), axis_name=AXIS)(v), ()
        return mapped(draft, x, work, square=True, how=how)

    return make


for _name in ("psum_scatter", "all_to_all", "pswapaxes"):
    add(_name, _across(_name), (_name,))


@operation("pcast", "pcast", keeps=True)
def pcast(draft: Draft, x: Value) -> Any:
    """A value that is the same everywhere, called one that is not."""
    dtype = x.dtype
    need(jnp.issubdtype(dtype, jnp.floating))
    rows = draft.array((2, x.shape[0]), dtype) if x.ndim else draft.array((), dtype)

    how = "whole" if draft.meshes else "single"

    def apply(t: Any, v: Any, rows: Any) -> Any:
        def local(y: Any) -> Any:
            y = lax.pcast(y, AXIS, to="varying")
            return lax.psum(jnp.tensordot(rows, y, 1) if y.ndim else y * rows, AXIS)

        spec = PartitionSpec()
        return jax.shard_map(local, mesh=mesh(how), in_specs=spec, out_specs=spec)(v)

    return "", apply, (rows,)


@operation("ragged_all_to_all", "ragged_all_to_all")
def ragged_all_to_all(draft: Draft, x: Value) -> Any:
    """Every device's rows to all; CPUs cannot, so that it is skipped there."""
    need(x.ndim)
    how = kind_for(draft, x.dtype)
    number = np.full(size(how), x.shape[0], np.int32)
    zero = np.zeros(size(how), np.int32)

    def move(t: Any, y: Any) -> Any:
        return lax.ragged_all_to_all(
            y, jnp.zeros_like(y), zero, number, zero, number, axis_name=AXIS
        )

    return mapped(draft, x, move, square=True, how=how)
