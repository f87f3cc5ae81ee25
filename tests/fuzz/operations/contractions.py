"""Sums of products: `dot_general`, convolutions, ragged products."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..drafts import Draft, Value, need
from ..precision import FLOATS, is_floating, text_of
from .table import add, operation


def preferred(draft: Draft, *dtypes: Any) -> Any:
    """A type for the sums: mostly none, float32 or the widest."""
    if draft.flip(0.6) or not all(map(is_floating, dtypes)):
        return None
    names = ["f32", "f32", "f64"] if np.float64 in dtypes else ["f32", "f32", "bf16", "f16"]
    return FLOATS[draft.choice(names)]


@operation("dot_general", "dot_general", keeps=True)
def dot_general(draft: Draft, x: Value) -> Any:
    """Either side; any batch and contracted axes, of an operand of any type."""
    axes = list(draft.permutation(x.ndim))
    batch = axes[: draft.choice([0, 0, 0, 1, 1, 2])]
    rest = axes[len(batch) :]
    contracted = rest[: draft.choice([0, 1, 1, 1, 1, 2])]
    own = [x.shape[i] for i in (*batch, *contracted)] + list(draft.shape(0, 2))
    order = list(draft.permutation(len(own)))  # y's axis n is own[order[n]]
    y = draft.operand(tuple(own[i] for i in order), draft.dtype(x.dtype), 0.4)
    place = [order.index(i) for i in range(len(own))]
    y_batch, y_contracted = place[: len(batch)], place[len(batch) :][: len(contracted)]
    wanted = preferred(draft, x.dtype, y.dtype)
    left = draft.flip()
    pairs = [(contracted, y_contracted), (batch, y_batch)]
    numbers = tuple((a, b) if left else (b, a) for a, b in pairs)

    def apply(t: Any, v: Any, y: Any) -> Any:
        kind = None if wanted is None else t(wanted)
        operands = (v, y) if left else (y, v)
        return lax.dot_general(*operands, numbers, preferred_element_type=kind)

    kind = "" if wanted is None else f" preferred {text_of(wanted, ())}"
    return f"{'left' if left else 'right'} {numbers}{kind}", apply, (y,)


@operation("product", "dot", "batch_matmul", keeps=True)
def product(draft: Draft, x: Value) -> Any:
    """As models write it, with an activation of any type; the last axis or the one before it."""
    need(x.ndim >= 2)
    kind = draft.choice(["x @ w", "w @ x", "x @ w.T", "vmap", "dot", "einsum"])
    dtype = draft.dtype(x.dtype)
    if kind in ("x @ w", "dot"):
        rows = draft.array((3, x.shape[-2]), dtype)
        if kind == "dot":
            need(x.ndim == 2)
            return kind, lambda t, v, y: lax.dot(y, v), (rows,)
        return kind, lambda t, v, y: jnp.matmul(y, v), (rows,)
    rows = draft.array((3, x.shape[-1]), dtype)
    if kind == "w @ x":
        return kind, lambda t, v, y: jnp.matmul(v, y.T), (rows,)
    if kind == "x @ w.T":
        return kind, lambda t, v, y: jnp.matmul(y, jnp.swapaxes(v, -1, -2)), (rows,)
    if kind == "vmap":
        import jax

        return kind, lambda t, v, y: jax.vmap(lambda r: jnp.matmul(v, r))(y), (rows,)
    return kind, lambda t, v, y: jnp.einsum("bi,...oi->b...o", y, v), (rows,)


@operation("batch_matmul")
def batch_matmul(draft: Draft, x: Value) -> Any:
    """A stack of products; a weight may meet itself."""
    need(x.ndim >= 3)
    shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
    y = draft.operand(shape, x.dtype, 0.6)
    return "", lambda t, v, y: lax.batch_matmul(v, y), (y,)


@operation("with itself", "dot_general")
def with_itself(draft: Draft, x: Value) -> Any:
    """One weight on both sides."""
    need(x.ndim >= 1)
    axis = draft.axis(x)
    return f"{axis}", lambda t, v: lax.dot_general(v, v, (((axis,), (axis,)), ((), ()))), ()


def _as_images(x: Value, rank: int) -> Any:
    """The value with just `rank` axes: leading ones merged, or axes of length one added."""
    need(x.ndim >= 1)

    def change(v: Any) -> Any:
        while v.ndim > rank:
            v = v.reshape(v.shape[0] * v.shape[1], *v.shape[2:])
        return v.reshape((1,) * (rank - v.ndim) + v.shape)

    return change


def _shape_of(x: Value, rank: int) -> tuple[int, ...]:
    shape = x.shape
    while len(shape) > rank:
        shape = (shape[0] * shape[1], *shape[2:])
    return (1,) * (rank - len(shape)) + shape


@operation("conv_general_dilated")
def conv(draft: Draft, x: Value) -> Any:
    """The value as the kernel or the image; any numbers of axes, strides, dilations, groups."""
    rank = draft.choice([3, 4])
    change, shape = _as_images(x, rank), _shape_of(x, rank)
    spatial = rank - 2
    letters = "HW"[:spatial]
    image, kernel, out = (
        "".join(a[i] for i in draft.permutation(rank))
        for a in ("NC" + letters, "OI" + letters, "NC" + letters)
    )
    as_kernel = draft.flip(0.6)
    groups, batch_groups = 1, 1
    if as_kernel:
        size = dict(zip(kernel, shape, strict=True))
        if size["O"] % 2 == 0 and draft.flip(0.4):
            groups, batch_groups = draft.choice([(2, 1), (1, 2)])
        own = {"N": 2 * batch_groups, "C": size["I"] * groups}
        other_shape = [own.get(c) or size[c] + draft.integer(0, 2) for c in image]
    else:
        size = dict(zip(image, shape, strict=True))
        own = {"O": 2, "I": size["C"]}
        other_shape = [own.get(c) or draft.integer(1, size[c]) for c in kernel]
    y = draft.operand(tuple(other_shape), x.dtype)
    options = {
        "window_strides": [draft.integer(1, 2) for _ in letters],
        "padding": draft.choice(["SAME", "VALID", [(1, 0)] * spatial]),
        "lhs_dilation": [draft.integer(1, 2) if draft.flip(0.3) else 1 for _ in letters],
        "rhs_dilation": [draft.integer(1, 2) if draft.flip(0.3) else 1 for _ in letters],
        "dimension_numbers": (image, kernel, out),
        "feature_group_count": groups,
        "batch_group_count": batch_groups,
    }
    if options["padding"] in ("SAME",):
        options["lhs_dilation"] = [1] * spatial

    def apply(t: Any, v: Any, y: Any) -> Any:
        pair = (y, change(v)) if as_kernel else (change(v), y)
        return lax.conv_general_dilated(*pair, **options)

    return f"{'kernel' if as_kernel else 'image'} {options}", apply, (y,)


def _simple_convolution(name: str) -> Any:
    function = getattr(lax, name, None)

    def make(draft: Draft, x: Value) -> Any:
        change, shape = _as_images(x, 4), _shape_of(x, 4)
        image = draft.array((1, shape[1], shape[2] + 1, shape[3] + 1), x.dtype)

        def apply(t: Any, v: Any, y: Any) -> Any:
            v = change(v)
            if name == "conv":
                return function(y, v, (1, 1), "SAME")
            if name == "conv_with_general_padding":
                return function(y, v, (1, 1), [(0, 1), (1, 0)], (2, 1), (1, 1))
            if name == "conv_transpose":
                return function(y, v, (2, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
            if name == "conv_general_dilated_patches":
                return function(v, (1, shape[3]), (1, 1), "VALID")
            sizes = (shape[2], shape[3])
            local = jnp.broadcast_to(
                v.reshape(shape[0], shape[1] * sizes[0] * sizes[1], 1, 1),
                (shape[0], shape[1] * sizes[0] * sizes[1], 2, 2),
            )
            return function(y, local, (1, 1), "VALID", sizes)

        return "", apply, (image,)

    return make


for _name in [
    "conv",
    "conv_with_general_padding",
    "conv_transpose",
    "conv_general_dilated_patches",
    "conv_general_dilated_local",
]:
    add(_name, _simple_convolution(_name), (_name,))


@operation("ragged_dot", "ragged_dot", "ragged_dot_general")
def ragged_dot(draft: Draft, x: Value) -> Any:
    """The value as the stack of experts, or as the rows."""
    need(x.ndim >= 2)
    general = draft.flip(0.4)
    if x.ndim == 3 and draft.flip(0.8):
        rows = draft.operand((5, x.shape[1]), x.dtype)
        ends = np.sort(draft.rng.integers(0, 6, x.shape[0] - 1))
        sizes = np.diff([0, *ends, 5]).astype(np.int32)
        pair = lambda v, y: (y, v)
    else:
        need(x.ndim == 2)
        rows = draft.operand((2, x.shape[1], 3), x.dtype)
        first = draft.integer(0, x.shape[0])
        sizes = np.asarray([first, x.shape[0] - first], np.int32)
        pair = lambda v, y: (v, y)
    numbers = lax.RaggedDotDimensionNumbers((((1,), (1,)), ((), ())), [0], [0])

    def apply(t: Any, v: Any, y: Any, s: Any) -> Any:
        if general:
            return lax.ragged_dot_general(*pair(v, y), s, numbers)
        return lax.ragged_dot(*pair(v, y), s)

    return f"{sizes.tolist()}{' general' if general else ''}", apply, (rows, sizes)


@operation("scaled_dot")
def scaled_dot(draft: Draft, x: Value) -> Any:
    """Blocks with a scale each."""
    need(x.ndim == 2 and x.shape[1] % 2 == 0)
    y = draft.array((3, x.shape[1]), x.dtype)
    scales = np.abs(draft.array((x.shape[0], x.shape[1] // 2), np.float32)) + np.float32(0.5)

    def apply(t: Any, v: Any, y: Any, s: Any) -> Any:
        return lax.scaled_dot(
            v[None], y[None], lhs_scale=s[None].astype(v.dtype),
            dimension_numbers=(((2,), (2,)), ((0,), (0,))),
        )  # fmt: skip

    return "", apply, (y, scales)


@operation("einsum", "dot_general", keeps=True)
def einsum(draft: Draft, x: Value) -> Any:
    """Two letters of the value summed, kept or shared with an operand."""
    need(1 <= x.ndim <= 4)
    own = "abcd"[: x.ndim]
    shared = "".join(own[i] for i in draft.subset(range(x.ndim), 1))
    sizes = dict(zip(own, x.shape, strict=True))
    y = draft.operand((*(sizes[c] for c in shared), 2), draft.dtype(x.dtype))
    kept = [c for c in own + "z" if c not in shared or draft.flip(0.3)]
    out = "".join(kept[i] for i in draft.permutation(len(kept)))
    text = f"{own},{shared}z->{out}"
    return text, lambda t, v, y: jnp.einsum(text, v, y), (y,)
