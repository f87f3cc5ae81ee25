"""Sums, extremes, orders and windows."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..drafts import Draft, Value, need
from ..precision import is_floating
from .elementwise import converted
from .table import add, operation


def _reduce(name: str) -> Any:
    function = getattr(lax, name, None)

    def make(draft: Draft, x: Value) -> Any:
        axes = draft.subset(range(x.ndim), 1)
        cast, _ = converted(draft, x, name)
        return f"{axes}", lambda t, v: function(cast(v), tuple(axes)), ()

    return make


for _name in [
    "reduce_sum",
    "reduce_prod",
    "reduce_max",
    "reduce_min",
    "reduce_and",
    "reduce_or",
    "reduce_xor",
]:
    add(_name, _reduce(_name), (_name,))


@operation("reduce", "reduce")
def reduce(draft: Draft, x: Value) -> Any:
    """With a function that JAX knows, one that it does not, or over two arrays at once."""
    axes = tuple(draft.subset(range(x.ndim), 1))
    need(is_floating(x.dtype))
    kind = draft.choice(["add", "max", "mul", "own", "two"])
    y = draft.operand(x.shape, x.dtype)

    def apply(t: Any, v: Any, y: Any) -> Any:
        zero = jnp.zeros((), v.dtype)
        if kind == "two":
            first = lambda a, b: (a[0] + b[0], lax.max(a[1], b[1]))
            return lax.reduce((v, y), (zero, zero), first, axes)
        if kind == "own":
            return lax.reduce(v, zero, lambda a, b: a + b + a * b, axes)
        start = {"add": zero, "max": zero, "mul": zero + 1}[kind]
        return lax.reduce(v, start, getattr(lax, kind), axes)

    return f"{kind} {axes}", apply, (y,)


def _index(name: str) -> Any:
    function = getattr(lax, name)

    def make(draft: Draft, x: Value) -> Any:
        axis = draft.axis(x)
        return f"{axis}", lambda t, v: function(v, axis, np.int32), ()

    return make


for _name in ("argmax", "argmin"):
    add(_name, _index(_name), (_name,))


def _cumulative(name: str) -> Any:
    function = getattr(lax, name, None)

    def make(draft: Draft, x: Value) -> Any:
        axis, reverse = draft.axis(x), draft.flip()
        text = f"{axis}{' reverse' if reverse else ''}"
        return text, lambda t, v: function(v, axis, reverse), ()

    return make


for _name in ["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"]:
    add(_name, _cumulative(_name), (_name,))


@operation("associative_scan")
def associative_scan(draft: Draft, x: Value) -> Any:
    """Of a product of sums, which depends on the order."""
    axis, reverse = draft.axis(x), draft.flip()
    function = lambda a, b: (a[0] * b[0], a[1] * b[0] + b[1])
    apply = lambda t, v: lax.associative_scan(function, (v, v), reverse, axis)
    return f"{axis}", apply, ()


@operation("reduce_window")
def reduce_window(draft: Draft, x: Value) -> Any:
    """Sum, extremes, or a function of one's own."""
    need(x.ndim and is_floating(x.dtype))
    window = [draft.integer(1, s) for s in x.shape]
    strides = [draft.integer(1, 2) for _ in x.shape]
    padding = draft.choice(["SAME", "VALID", [(1, 0)] * x.ndim])
    kind = draft.choice(["add", "max", "min", "own"])

    def apply(t: Any, v: Any) -> Any:
        start = {"add": 0, "max": -np.inf, "min": np.inf, "own": 0}[kind]
        function = getattr(lax, kind) if kind != "own" else lambda a, b: a + b + a * b
        return lax.reduce_window(v, np.asarray(start, v.dtype), function, window, strides, padding)

    return f"{kind} {window} {strides} {padding}", apply, ()


@operation("sort", "sort", "sort_key_val")
def sort(draft: Draft, x: Value) -> Any:
    """One array, or several by the first."""
    axis = draft.axis(x)
    kind = draft.choice(["one", "key", "value", "several"])
    y = draft.operand(x.shape, x.dtype)

    def apply(t: Any, v: Any, y: Any) -> Any:
        if kind == "one":
            return lax.sort(v, axis)
        if kind == "several":
            return lax.sort((v, y, v * v), axis, num_keys=2)
        return lax.sort_key_val(*((v, y) if kind == "key" else (y, v)), axis)

    return f"{kind} {axis}", apply, (y,)


def _top(name: str) -> Any:
    function = getattr(lax, name, None)

    def make(draft: Draft, x: Value) -> Any:
        need(x.ndim)
        count = draft.integer(1, x.shape[-1])
        return f"{count}", lambda t, v: function(v, count), ()

    return make


for _name in ("top_k", "approx_max_k", "approx_min_k"):
    add(_name, _top(_name), (_name,))


@operation("fft")
def fft(draft: Draft, x: Value) -> Any:
    """All kinds, along the last axes."""
    need(x.ndim and np.dtype(x.dtype).name in ("float32", "float64", "complex64"))
    count = draft.integer(1, min(2, x.ndim))
    lengths = x.shape[-count:]
    kind = draft.choice(["FFT", "IFFT", "RFFT", "IRFFT"])
    real = not jnp.issubdtype(x.dtype, jnp.complexfloating)

    def apply(t: Any, v: Any) -> Any:
        if kind == "RFFT":
            return lax.fft(v if real else v.real, kind, lengths)
        v = v.astype(t(np.complex64)) if real else v
        sizes = lengths if kind != "IRFFT" else (*lengths[:-1], 2 * (lengths[-1] - 1) or 1)
        return lax.fft(v, kind, sizes)

    return f"{kind} {lengths}", apply, ()
