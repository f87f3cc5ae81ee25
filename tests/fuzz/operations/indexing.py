"""Parts whose place is data: `gather`, `scatter` and dynamic slices."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from loren_jax.evaluation._perturbed.one_layer import put_layer

from ..drafts import Draft, Value, need
from .table import add, operation

MODES = ["clip", "fill", "promise_in_bounds"]
INDEX_TYPES = [np.int32, np.int32, np.int8, np.uint8, np.int16, np.uint32]


def starts_of(draft: Draft, limits: list[int], shape: tuple[int, ...], mode: str) -> np.ndarray:
    """Starting indices, out of range too where the mode allows; the last axis numbers `limits`."""
    dtype = draft.index_type(INDEX_TYPES)
    outside = mode != "promise_in_bounds" and draft.flip(0.6)
    low = -2 if outside and not np.issubdtype(dtype, np.unsignedinteger) else 0
    columns = [draft.rng.integers(low, limit + (4 if outside else 1), shape) for limit in limits]
    return np.stack(columns, -1).astype(dtype) if columns else np.zeros((*shape, 0), dtype)


@operation("gather", keeps=True)
def gather(draft: Draft, x: Value) -> Any:
    """Whole rows or windows, dimensions collapsed or kept, batching dimensions, all modes."""
    need(x.ndim)
    axes = list(range(x.ndim))
    batching = sorted(draft.subset(axes, 0, 1)) if draft.flip(0.25) and x.ndim > 1 else []
    rest = [i for i in axes if i not in batching]
    indexed = draft.subset(rest, 1, 2)
    sizes = [1 if i in batching else s for i, s in enumerate(x.shape)]
    for i in rest:
        if i in indexed:
            sizes[i] = 1 if draft.flip(0.7) else draft.integer(1, x.shape[i])
        elif draft.flip(0.2):
            sizes[i] = draft.integer(1, x.shape[i])
    ones = [i for i in indexed if sizes[i] == 1]
    collapsed = sorted(ones if draft.flip(0.7) else draft.subset(ones))
    mode = draft.choice(MODES)
    batch = draft.shape(0, 2)
    batch = tuple(x.shape[i] for i in batching) + batch
    indices = starts_of(draft, [x.shape[i] - sizes[i] for i in indexed], batch, mode)
    offsets = x.ndim - len(collapsed) - len(batching)
    offset_dims = sorted(draft.subset(range(offsets + len(batch)), offsets, offsets))
    numbers = lax.GatherDimensionNumbers(
        offset_dims=tuple(offset_dims),
        collapsed_slice_dims=tuple(collapsed),
        start_index_map=tuple(indexed),
        operand_batching_dims=tuple(batching),
        start_indices_batching_dims=tuple(range(len(batching))),
    )
    fill = draft.choice([None, 0, 1, 2]) if mode == "fill" else None
    apply = lambda t, v, i: lax.gather(v, i, numbers, sizes, mode=mode, fill_value=fill)
    where = f"{indices.dtype}{indices.tolist()}"
    text = f"{where} {_numbers_text(numbers)} sizes {sizes} mode {mode} fill {fill}"
    return text, apply, (indices,)


def _numbers_text(numbers: Any) -> str:
    batching = f", batching {numbers.operand_batching_dims}" * bool(numbers.operand_batching_dims)
    return (
        f"(offset {numbers.offset_dims}, collapsed {numbers.collapsed_slice_dims}, "
        f"indexed {numbers.start_index_map}{batching})"
    )


@operation("take", "index_take", keeps=True)
def take(draft: Draft, x: Value) -> Any:
    """As `jnp` writes it: `take`, `x[i]`, `x.at[i].get`, `take_along_axis`."""
    axis = draft.axis(x)
    size, mode = x.shape[axis], draft.choice(["clip", "fill", "wrap"])
    shape = draft.shape(0, 2)
    index = np.asarray(draft.rng.integers(-size - 1, size + 2, shape), np.int32)
    kind = draft.choice(["take", "index", "get", "along", "index_take"])
    where = f"{kind} axis {axis} {index.tolist()}"
    if kind == "take":
        return f"{where} {mode}", lambda t, v, i: jnp.take(v, i, axis, mode=mode), (index,)
    if kind == "index":
        return where, lambda t, v, i: v[(slice(None),) * axis + (i,)], (index,)
    if kind == "get":
        fill = draft.choice([0, 1, None])
        get = lambda t, v, i: v.at[(slice(None),) * axis + (i,)].get(mode="fill", fill_value=fill)
        return f"{where} fill {fill}", get, (index,)
    if kind == "along":
        index = np.asarray(draft.rng.integers(0, size, x.shape), np.int32)
        return kind, lambda t, v, i: jnp.take_along_axis(v, i, axis), (index,)
    index = np.abs(index.reshape(-1)) % size
    return where, lambda t, v, i: lax.index_take(v, (i,), (axis,)), (index,)


@operation("dynamic_slice", "dynamic_slice", keeps=True)
def dynamic_slice(draft: Draft, x: Value) -> Any:
    """A part at a traced place, out of range too."""
    need(x.ndim)
    sizes = [s if draft.flip() else draft.integer(1, s) for s in x.shape]
    kinds = [draft.index_type([np.int32, np.int8, np.uint8, np.int16])] * x.ndim
    if draft.flip(0.3):
        kinds = [draft.index_type([np.int32, np.int8, np.int16]) for _ in x.shape]
    starts = [
        np.asarray(draft.integer(0 if kind == np.uint8 else -2, s), kind)
        for s, kind in zip(x.shape, kinds, strict=True)
    ]
    text = f"{[f'{s.dtype} {s}' for s in starts]} {sizes}"
    return text, lambda t, v, *i: lax.dynamic_slice(v, i, sizes), starts


@operation("dynamic_index", "dynamic_slice_in_dim", "dynamic_index_in_dim", keeps=True)
def dynamic_index(draft: Draft, x: Value) -> Any:
    """One index of an axis, or a part."""
    axis = draft.axis(x)
    size = x.shape[axis]
    index = np.asarray(draft.integer(-size, size), np.int32)
    if draft.flip():
        part = draft.integer(1, size)
        apply = lambda t, v, i: lax.dynamic_slice_in_dim(v, i, part, axis)
        return f"[{index}:+{part}] {axis}", apply, (index,)
    keep = draft.flip()
    apply = lambda t, v, i: lax.dynamic_index_in_dim(v, i, axis, keep)
    return f"[{index}] {axis} keep {keep}", apply, (index,)


@operation(
    "dynamic_update",
    "dynamic_update_slice",
    "dynamic_update_slice_in_dim",
    "dynamic_update_index_in_dim",
)
def dynamic_update(draft: Draft, x: Value) -> Any:
    """The value as what is changed, or as the change."""
    axis = draft.axis(x)
    index = np.asarray(draft.integer(0, x.shape[axis]), np.int32)
    if draft.flip():
        shape = tuple(s + (i == axis) for i, s in enumerate(x.shape))
        y = draft.operand(shape, x.dtype)
        apply = lambda t, v, y, i: lax.dynamic_update_slice_in_dim(y, v, i, axis)
        return f"as update {axis}", apply, (y, index)
    part = tuple(1 if i == axis else s for i, s in enumerate(x.shape))
    y = draft.operand(part, x.dtype)
    if draft.flip():
        apply = lambda t, v, y, i: lax.dynamic_update_index_in_dim(v, y, i, axis)
        return f"{axis}", apply, (y, index)
    starts = lambda i: [i if n == axis else jnp.zeros_like(i) for n in range(x.ndim)]
    return f"{axis}", lambda t, v, y, i: lax.dynamic_update_slice(v, y, starts(i)), (y, index)


@operation("put_layer", "dynamic_update_index_in_dim", keeps=True)
def layer_put(draft: Draft, x: Value) -> Any:
    """The value as one layer of a stack, as `blockwise` moves one."""
    depth = draft.integer(2, 3)
    stack = draft.operand((depth, *x.shape), x.dtype)
    index = np.asarray(draft.integer(0, depth - 1), np.int32)
    return f"{index} of {depth}", lambda t, v, s, i: put_layer(s, v, i), (stack, index)


def _scatter(name: str) -> Any:
    function = getattr(lax, name, None)

    def make(draft: Draft, x: Value) -> Any:
        """Rows or windows of the value changed, or the value as the rows."""
        axis = draft.axis(x)
        as_updates = draft.flip(0.4) and name != "scatter_apply"
        size = x.shape[axis] if not as_updates else draft.integer(2, 4)
        count = x.shape[axis] if as_updates else draft.integer(1, 3)
        mode = draft.choice(["clip", "drop", "promise_in_bounds"])
        # Which of several updates of one place comes last is not defined.
        unique = name in ("scatter", "scatter_apply")
        low, high = (0, size - 1) if mode == "promise_in_bounds" or unique else (-1, size)
        if unique:
            need(count <= size)
            index = draft.rng.permutation(size)[:count]
        else:
            index = draft.rng.integers(low, high + 1, count)
        index = np.asarray(index, draft.index_type([np.int32, np.int16, np.int8]))[:, None]
        window = tuple(i for i in range(x.ndim) if i != axis)
        numbers = lax.ScatterDimensionNumbers(
            update_window_dims=window,
            inserted_window_dims=(axis,),
            scatter_dims_to_operand_dims=(axis,),
        )
        text = f"axis {axis} {index.tolist()} {mode}{' as updates' if as_updates else ''}"
        if name == "scatter_apply":
            update = tuple(count if i == axis else s for i, s in enumerate(x.shape))
            apply = lambda t, v, i: function(
                v, i, lambda y: y * y, numbers, update_shape=update, mode=mode
            )
            return text, apply, (index,)
        shape = tuple(
            (size if as_updates else count) if i == axis else s for i, s in enumerate(x.shape)
        )
        y = draft.operand(shape, x.dtype)
        pair = lambda v, y: (y, v) if as_updates else (v, y)

        def apply(t: Any, v: Any, y: Any, i: Any) -> Any:
            operand, updates = pair(v, y)
            return function(operand, i, updates, numbers, mode=mode)

        return text, apply, (y, index)

    return make


for _name in [
    "scatter",
    "scatter_add",
    "scatter_sub",
    "scatter_mul",
    "scatter_min",
    "scatter_max",
    "scatter_apply",
]:
    add(_name, _scatter(_name), (_name,))
