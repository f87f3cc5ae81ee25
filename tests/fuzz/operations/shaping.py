"""Axes moved, cut, joined, added."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..drafts import Draft, Value, need
from .table import operation


@operation("transpose", keeps=True)
def transpose(draft: Draft, x: Value) -> Any:
    """Any order."""
    order = draft.permutation(x.ndim)
    return f"{order}", lambda t, v: lax.transpose(v, order), ()


@operation("reshape", keeps=True)
def reshape(draft: Draft, x: Value) -> Any:
    """Axes merged, split, of length one; rarely in another order of axes."""
    shape = list(x.shape)
    for _ in range(draft.integer(1, 3)):
        kind = draft.choice(["merge", "split", "one", "drop"])
        place = draft.integer(0, len(shape))
        if kind == "one":
            shape.insert(place, 1)
        elif kind == "drop" and 1 in shape:
            shape.remove(1)
        elif kind == "merge" and place + 1 < len(shape):
            shape[place : place + 2] = [shape[place] * shape[place + 1]]
        elif kind == "split" and place < len(shape) and shape[place] % 2 == 0:
            shape[place : place + 1] = draft.choice(
                [[2, shape[place] // 2], [shape[place] // 2, 2]]
            )
    if draft.flip(0.2):
        shape = [math.prod(shape)]
    order = draft.permutation(x.ndim) if draft.flip(0.1) else None
    return f"{shape} dimensions {order}", lambda t, v: lax.reshape(v, shape, order), ()


@operation("collapse", keeps=True)
def collapse(draft: Draft, x: Value) -> Any:
    """Neighbouring axes merged."""
    start = draft.axis(x)
    stop = draft.integer(start + 1, x.ndim)
    return f"{start} {stop}", lambda t, v: lax.collapse(v, start, stop), ()


@operation("squeeze", keeps=True)
def squeeze(draft: Draft, x: Value) -> Any:
    """Some axes of length one, which an axis cut to one makes sure of."""
    axis = draft.axis(x)
    start = draft.integer(0, x.shape[axis] - 1)
    cut = x.shape[axis] > 1
    ones = [i for i, s in enumerate(x.shape) if s == 1 or i == axis]
    gone = sorted(draft.subset(ones, 1))
    gone = gone if axis in gone or not cut else sorted({*gone, axis})

    def apply(t: Any, v: Any) -> Any:
        v = lax.slice_in_dim(v, start, start + 1, axis=axis) if cut else v
        return lax.squeeze(v, gone)

    return f"{gone} of [{start}] along {axis}", apply, ()


@operation("expand_dims", keeps=True)
def expand_dims(draft: Draft, x: Value) -> Any:
    """New axes anywhere."""
    need(x.ndim < 4)
    places = sorted(draft.subset(range(x.ndim + 1), 1, 2))
    return f"{places}", lambda t, v: lax.expand_dims(v, places), ()


@operation("broadcast", keeps=True)
def broadcast(draft: Draft, x: Value) -> Any:
    """New leading axes."""
    need(x.ndim < 4)
    sizes = draft.shape(1, 1)
    return f"{sizes}", lambda t, v: lax.broadcast(v, sizes), ()


@operation("broadcast_in_dim", "broadcast_in_dim", "broadcast_to_rank", keeps=True)
def broadcast_in_dim(draft: Draft, x: Value) -> Any:
    """To more axes, and axes of length one to longer ones."""
    need(x.ndim < 4)
    if draft.flip(0.2):
        return "to rank", lambda t, v: lax.broadcast_to_rank(v, x.ndim + 1), ()
    ndim = draft.integer(x.ndim, x.ndim + 1)
    places = sorted(draft.subset(range(ndim), x.ndim, x.ndim))
    shape = list(draft.shape(ndim, ndim))
    for i, place in enumerate(places):
        shape[place] = x.shape[i] if x.shape[i] != 1 or draft.flip() else shape[place]
    return f"{shape} {places}", lambda t, v: lax.broadcast_in_dim(v, shape, places), ()


@operation("broadcast_like")
def broadcast_like(draft: Draft, x: Value) -> Any:
    """As another."""
    y = draft.operand((2, *x.shape), x.dtype)
    return "", lambda t, v, y: lax.broadcast_like(v[None], y), (y,)


@operation("rev", keeps=True)
def rev(draft: Draft, x: Value) -> Any:
    """Some axes turned round."""
    axes = draft.subset(range(x.ndim), 1)
    return f"{axes}", lambda t, v: lax.rev(v, axes), ()


@operation("slice", "slice", keeps=True)
def slice_(draft: Draft, x: Value) -> Any:
    """Any part with any stride."""
    need(x.ndim)
    starts = [draft.integer(0, s - 1) if draft.flip() else 0 for s in x.shape]
    limits = [
        draft.integer(a + 1, s) if draft.flip() else s for a, s in zip(starts, x.shape, strict=True)
    ]
    strides = [draft.integer(1, 3) if draft.flip(0.3) else 1 for _ in x.shape]
    text = f"{starts} {limits} {strides}"
    return text, lambda t, v: lax.slice(v, starts, limits, strides), ()


@operation("slice_in_dim", "slice_in_dim", "index_in_dim", keeps=True)
def slice_in_dim(draft: Draft, x: Value) -> Any:
    """A part of one axis, or one index; negative ones count from the end."""
    axis = draft.axis(x)
    size = x.shape[axis]
    index = draft.integer(-size, size - 1)
    if draft.flip():
        keep = draft.flip()
        return f"[{index}] {axis}", lambda t, v: lax.index_in_dim(v, index, axis, keep), ()
    start = draft.integer(0, size - 1)
    return f"[{start}:] {axis}", lambda t, v: lax.slice_in_dim(v, start, None, 1, axis), ()


@operation("split", "split", keeps=True)
def split(draft: Draft, x: Value) -> Any:
    """In two or three pieces, of which some may be empty of use."""
    axis = draft.axis(x)
    need(x.shape[axis] > 1)
    first = draft.integer(1, x.shape[axis] - 1)
    sizes = [first, x.shape[axis] - first]
    return f"{sizes} {axis}", lambda t, v: lax.split(v, sizes, axis), ()


@operation("unstack", keeps=True)
def unstack(draft: Draft, x: Value) -> Any:
    """Every index of an axis."""
    axis = draft.axis(x)
    need(x.shape[axis] <= 4)
    return f"{axis}", lambda t, v: lax.unstack(v, axis), ()


@operation("tile", keeps=True)
def tile(draft: Draft, x: Value) -> Any:
    """Repeated."""
    need(x.ndim)
    counts = [draft.integer(1, 2) for _ in x.shape]
    return f"{counts}", lambda t, v: lax.tile(v, counts), ()


@operation("concatenate", keeps=True)
def concatenate(draft: Draft, x: Value) -> Any:
    """With itself, with another, or with a constant."""
    axis = draft.axis(x)
    y = draft.operand(x.shape, x.dtype, 0.6)
    twice = draft.flip(0.3)
    return f"{axis}", lambda t, v, y: lax.concatenate([y, v, v] if twice else [v, y], axis), (y,)


@operation("stack", "stack", keeps=True)
def stack(draft: Draft, x: Value) -> Any:
    """A new axis for several."""
    need(x.ndim < 4)
    axis = draft.integer(0, x.ndim)
    y = draft.operand(x.shape, x.dtype, 0.6)
    same = draft.flip(0.3)
    if not hasattr(lax, "stack"):
        return f"{axis}", lambda t, v, y: jnp.stack([v, v if same else y], axis), (y,)
    return f"{axis}", lambda t, v, y: lax.stack([v, v if same else y], axis), (y,)


@operation("pad")
def pad(draft: Draft, x: Value) -> Any:
    """Around and between; negative pads cut."""
    need(x.ndim)
    config = [
        (draft.integer(-1, 2), draft.integer(-1, 2), draft.integer(0, 1) if draft.flip(0.4) else 0)
        for _ in x.shape
    ]
    value = draft.operand((), x.dtype)
    return f"{config}", lambda t, v, p: lax.pad(v, p, config), (value,)


@operation("pad with the value", "pad")
def pad_with(draft: Draft, x: Value) -> Any:
    """A perturbed value as the padding."""
    y = draft.array((2, 3), x.dtype)
    config = [(1, 0, 1), (0, 2, 0)]
    return f"{config}", lambda t, v, y: lax.pad(y, v.reshape(-1)[0], config), (y,)


def is_small(x: Value) -> bool:
    """Whether a value may still grow."""
    return int(np.prod(x.shape)) <= 64
