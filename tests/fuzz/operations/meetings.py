"""Weights of different kinds in one operation, and one weight in several places."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..drafts import Draft, Value, need
from ..precision import is_floating
from ..sums import summary
from .table import operation


def _partner(draft: Draft, x: Value, fits: Any) -> Value:
    """Another value with a weight in it, if there is one that fits; the same one if not."""
    found = [v for v in draft.values if v.touched and is_floating(v.dtype) and fits(v)]
    return draft.choice([v for v in found if v.number != x.number] or found)


@operation("product of weights", "dot_general", keeps=True, wants="pair")
def product_of_weights(draft: Draft, x: Value) -> Any:
    """Over any axes of one length, stacks as batches; also of a weight with itself."""
    need(is_floating(x.dtype))
    y = _partner(draft, x, lambda v: v.ndim and set(v.shape) & set(x.shape))
    pairs = [(i, j) for i, s in enumerate(x.shape) for j, r in enumerate(y.shape) if s == r]
    chosen: list[tuple[int, int]] = []
    for number in draft.permutation(len(pairs))[: draft.choice([1, 1, 2, 3])]:
        i, j = pairs[number]
        if all(i != a and j != b for a, b in chosen):
            chosen.append((i, j))
    batched = draft.integer(0, min(1, len(chosen) - 1))
    split = lambda pairs: (tuple(i for i, _ in pairs), tuple(j for _, j in pairs))
    numbers = (split(chosen[batched:]), split(chosen[:batched]))
    return f"{numbers}", lambda t, v, w: lax.dot_general(v, w.astype(v.dtype), numbers), (y,)


@operation("weights together", "mul", "add", "select", "concatenate", keeps=True, wants="pair")
def together(draft: Draft, x: Value) -> Any:
    """Two of one shape, entry by entry or one behind the other."""
    need(is_floating(x.dtype) and x.ndim)
    y = _partner(draft, x, lambda v: v.shape == x.shape)
    axis = draft.axis(x)
    place = np.asarray(draft.integer(0, x.shape[axis] - 1), np.int32)
    start = [0] * x.ndim
    take = lambda v, i: lax.dynamic_slice_in_dim(v, i, 1, axis)
    functions = {
        "add": lambda v, w, i: v + w,
        "mul": lambda v, w, i: v * w,
        "half of each": lambda v, w, i: lax.select(jnp.full(v.shape, i > 0), v, w),
        "concatenate": lambda v, w, i: jnp.concatenate([v, w], axis),
        "stack": lambda v, w, i: jnp.stack([v, w], axis),
        "one into the other": lambda v, w, i: lax.dynamic_update_slice(v, take(w, i), start),
        "added in place": lambda v, w, i: v.at[i % x.shape[0]].add(w[i % x.shape[0]]),
    }
    kind = draft.choice(list(functions))
    run = lambda t, v, w, i: functions[kind](v, w.astype(v.dtype), i)
    return f"{kind} axis {axis} place {place}", run, (y, place)


@operation("in scan over two", "scan", keeps=True, wants="stacks")
def scan_over_two(draft: Draft, x: Value) -> Any:
    """Two stacks run over together, whatever their kinds; perhaps one of them carried too."""
    need(x.ndim >= 2)
    y = _partner(draft, x, lambda v: v.ndim >= 2 and v.shape[0] == x.shape[0])
    inner = lambda v: Value(0, v.shape[1:], v.dtype, True)
    body = draft.body([inner(x), inner(y)], 3)
    reverse, carried = draft.flip(0.2), draft.flip(0.25)

    def apply(t: Any, v: Any, w: Any) -> Any:
        def step(carry: Any, layers: Any) -> Any:
            total, kept = carry
            more = summary(t, [kept]) if carried else 0
            made = body(t, *layers)
            total = jnp.tanh(total * 0.5 + summary(t, [made]) + more).astype(total.dtype)
            return (total, kept), made

        start = (jnp.zeros((), t(np.float32)), w if carried else 0)
        (total, _), every = lax.scan(step, start, (v, w), reverse=reverse)
        return total, every

    options = " reverse" * reverse + " carried too" * carried
    return f"{options} {body.text}", apply, (y,)


@operation("one weight twice", "cond", "dot_general", keeps=True, wants="pair")
def twice(draft: Draft, x: Value) -> Any:
    """In several branches, in both parts of a step, as a tied embedding."""
    need(x.ndim >= 2 and is_floating(x.dtype))
    rows, columns = (draft.array((2, x.shape[i]), x.dtype) for i in (-2, -1))
    down = lambda v, r: jnp.einsum("bi,...io->b...o", r, v)
    up = lambda v, c: jnp.einsum("bo,...io->b...i", c, v)
    kind = draft.choice(["branches", "branches by the value", "branches by itself", "tied", "both"])

    def apply(t: Any, v: Any, r: Any, c: Any) -> Any:
        if kind == "tied":
            return up(v, c), down(v, up(v, c).reshape(-1, x.shape[-2])[:2])
        if kind == "both":
            return down(v, r), up(v, c), jnp.swapaxes(v, -1, -2)
        one = lambda v, w: summary(t, [down(v, r), up(w, c)])
        two = lambda v, w: summary(t, [jnp.tanh(down(w, r)), v[0]])
        test = {"branches": r[0, 0] > 0, "branches by the value": summary(t, [down(v, r)]) > 0}
        return lax.cond(test.get(kind, v[(0,) * v.ndim] > 0), one, two, v, v)

    return kind, apply, (rows, columns)


@operation("in cond between two", "cond", keeps=True, wants="pair")
def between_two(draft: Draft, x: Value) -> Any:
    """A branch hands on the one weight or the other, of whatever kinds."""
    need(is_floating(x.dtype))
    y = _partner(draft, x, lambda v: v.shape == x.shape)
    index = np.asarray(draft.integer(0, 1), np.int32)
    mapped = draft.flip(0.3)

    def apply(t: Any, v: Any, w: Any, i: Any) -> Any:
        w = w.astype(v.dtype)
        pick = lambda i: lax.cond(i > 0, lambda a, b: a, lambda a, b: b, v, w)
        return jax.vmap(pick)(jnp.arange(2) + i * 0) if mapped else pick(i)

    return f"{index}{' mapped' * mapped}", apply, (y, index)
