"""Functions on several devices, into which weights go lazily, whole or sharded along any axis."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec

from ..drafts import Draft, Value, need
from ..precision import is_floating
from .meshes import AXIS, kind_for, local, map_over, sharded_axis, spec
from .table import operation

ENDS = {
    "parts": lambda y: y,
    "psum": lambda y: lax.psum(y, AXIS),
    "all_gather": lambda y: lax.all_gather(y, AXIS),
    "ppermute": lambda y: lax.ppermute(y, AXIS, [(i, i ^ 1) for i in range(lax.axis_size(AXIS))]),
    "axis_index": lambda y: y * (1 + lax.axis_index(AXIS)).astype(y.dtype),
}
"""What devices do with their results before these are put side by side."""


def _end(name: str) -> Any:
    """One of these; a single device has no neighbour."""

    def end(y: Any) -> Any:
        if name == "ppermute" and lax.axis_size(AXIS) == 1:
            return y
        return ENDS[name](y)

    return end


@operation("in shard_map", "jax.shard_map", keeps=True, wants="even")
def in_shard_map(draft: Draft, x: Value) -> Any:
    """Any function of two values, each whole or sharded."""
    y = draft.other()
    how, end = kind_for(draft, x.dtype, y.dtype), draft.choice(list(ENDS))
    axes = (sharded_axis(draft, x, 0.75), sharded_axis(draft, y))
    body = draft.body([local(x, axes[0], how), local(y, axes[1], how)])
    need(end == "parts" or body.last.dtype in (np.float32, np.float64))
    finish = _end(end)

    def apply(t: Any, v: Any, y_: Any) -> Any:
        specs = [spec(x, axes[0]), spec(y, axes[1])]
        return map_over(how, lambda *xs: finish(body(t, *xs)), specs)(v, y_)

    return f"{how} axes {axes} then {end} {body.text}", apply, (y,)


@operation("product on a mesh", "jax.shard_map", "dot_general", keeps=True, wants="even")
def product_on_a_mesh(draft: Draft, x: Value) -> Any:
    """Parts of sums added up, parts of outputs side by side, layers of a stack apart."""
    need(x.ndim >= 2 and is_floating(x.dtype))
    axis = sharded_axis(draft, x, 0.9)
    turned = draft.flip(0.4)
    inward, outward = (x.ndim - 1, x.ndim - 2) if turned else (x.ndim - 2, x.ndim - 1)
    rows = draft.array((2, x.shape[inward]), draft.dtype(x.dtype))
    need(is_floating(rows.dtype))
    how = kind_for(draft, x.dtype, rows.dtype)
    reduced, placed = axis == inward, axis is not None and axis != inward and draft.flip()
    of_rows = spec(Value(0, rows.shape, rows.dtype, False), 1 if reduced else None)
    # Of the product the rows stand before the output's axis, and stacks before both.
    place = x.ndim - 1 if axis == outward else axis
    out = PartitionSpec(*[None] * place, AXIS) if placed else PartitionSpec() if reduced else None
    formula = "bi,...oi->...bo" if turned else "bi,...io->...bo"
    deep = draft.flip(0.3)

    def work(v: Any, r: Any) -> Any:
        made = jnp.einsum(formula, r, v)
        return lax.psum(made, AXIS) if reduced else made

    def apply(t: Any, v: Any, r: Any) -> Any:
        inner = jax.jit(work) if deep else work
        return map_over(how, inner, [spec(x, axis), of_rows], out)(v, r)

    ends = "summed" if reduced else "placed" if placed else "side by side"
    return f"{how} axis {axis} {'turned ' * turned}{ends}", apply, (rows,)


@operation("layers on a mesh", "jax.shard_map", "scan", keeps=True, wants="even stacks")
def layers_on_a_mesh(draft: Draft, x: Value) -> Any:
    """A scan over a device's layers, whose inputs and outputs go round."""
    need(x.ndim >= 3 and is_floating(x.dtype))
    axis, how = sharded_axis(draft, x, 0.85), kind_for(draft, x.dtype)
    seen = local(x, axis, how)
    rows = draft.array((2, seen.shape[-2]), x.dtype)
    end = _end(draft.choice(list(ENDS)))

    def work(v: Any, r: Any) -> Any:
        def layer(carry: Any, w: Any) -> Any:
            made = jnp.einsum("bi,...io->...bo", jnp.tanh(carry), w)
            more = jnp.sum(made).astype(carry.dtype)
            return (carry + more * jnp.asarray(0.5, carry.dtype)), end(made)

        return lax.scan(layer, r, v)[1]

    def apply(t: Any, v: Any, r: Any) -> Any:
        return map_over(how, work, [spec(x, axis), PartitionSpec()])(v, r)

    return f"{how} axis {axis}", apply, (rows,)
