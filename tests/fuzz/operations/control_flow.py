"""Functions within functions: loops, branches, calls and transformations of drawn bodies."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..drafts import Body, Draft, Value, need
from ..precision import is_floating
from ..sums import summary
from .table import operation


def like(t: Any, made: Any, x: Any) -> Any:
    """A value of the carry's shape and type, in which all of what a body made matters."""
    if made.shape == x.shape and made.dtype == x.dtype:
        return made
    return x * jnp.asarray(0.5, x.dtype) + jnp.tanh(summary(t, [made])).astype(x.dtype)


def slice_of(x: Value, axis: int = 0) -> Any:
    """What a loop over an axis sees."""
    need(x.ndim and axis < x.ndim)
    return Value(0, x.shape[:axis] + x.shape[axis + 1 :], x.dtype, x.touched)


@operation("in jit", "jax.jit", keeps=True)
def in_jit(draft: Draft, x: Value) -> Any:
    """A function called."""
    y = draft.other()
    body = draft.body([x, y], 3)
    return body.text, lambda t, v, y: jax.jit(lambda *xs: body(t, *xs))(v, y), (y,)


@operation("in checkpoint", "jax.checkpoint", keeps=True)
def in_checkpoint(draft: Draft, x: Value) -> Any:
    """Computed again in a backward pass."""
    y = draft.other()
    body = draft.body([x, y], 3)
    return body.text, lambda t, v, y: jax.checkpoint(lambda *xs: body(t, *xs))(v, y), (y,)


@operation("in custom derivative", "jax.custom_jvp", keeps=True)
def in_custom(draft: Draft, x: Value) -> Any:
    """`custom_jvp` or `custom_vjp`, with a derivative that is not the body's."""
    body = draft.body([x], 3)
    forward = draft.flip()

    def apply(t: Any, v: Any) -> Any:
        run = lambda z: body(t, z)
        if forward:
            function = jax.custom_jvp(run)
            function.defjvp(lambda p, s: (run(*p), jnp.zeros_like(run(*p))))
        else:
            function = jax.custom_vjp(run)
            function.defvjp(lambda z: (run(z), z), lambda z, g: (z,))
        return function(v)

    return f"{'jvp' if forward else 'vjp'} {body.text}", apply, ()


@operation("in grad", "jax.grad")
def in_grad(draft: Draft, x: Value) -> Any:
    """A derivative inside the loss."""
    need(is_floating(x.dtype))
    y = draft.other()
    body = draft.body([x, y])
    kind = draft.choice(["grad", "jvp"])

    def apply(t: Any, v: Any, y: Any) -> Any:
        function = lambda z: summary(t, [body(t, z, y)])
        if kind == "grad":
            return jax.grad(function)(v)
        return jax.jvp(function, (v,), (jnp.ones_like(v),))[1]

    return f"{kind} {body.text}", apply, (y,)


@operation("in vmap", "jax.vmap", keeps=True)
def in_vmap(draft: Draft, x: Value) -> Any:
    """Over any axis of the value, or of an activation; the result's axis anywhere."""
    y = draft.other()
    if draft.flip(0.3):
        rows = draft.array((3, *draft.shape(1, 2)), draft.dtype(np.float32))
        inner = Value(0, rows.shape[1:], rows.dtype, False)
        body = draft.body([x, inner, y])
        mapped = lambda t, v, r, y: jax.vmap(lambda z: body(t, v, z, y))(r)
        return f"over an activation {body.text}", mapped, (rows, y)
    axis = draft.axis(x)
    body = draft.body([slice_of(x, axis), y])
    out = draft.integer(0, body.last.ndim)
    both = y.ndim and y.shape[0] == x.shape[axis] and draft.flip()
    if both:
        body = draft.body([slice_of(x, axis), slice_of(y)])
        out = draft.integer(0, body.last.ndim)
    axes = (axis, 0 if both else None)

    def apply(t: Any, v: Any, y: Any) -> Any:
        return jax.vmap(lambda *xs: body(t, *xs), in_axes=axes, out_axes=out)(v, y)

    return f"in_axes {axes} out_axes {out} {body.text}", apply, (y,)


@operation("in map", "map")
def in_map(draft: Draft, x: Value) -> Any:
    """`lax.map` over the first axis, in batches too."""
    y = draft.other()
    body = draft.body([slice_of(x), y])
    size = draft.choice([None, 2])
    apply = lambda t, v, y: lax.map(lambda z: body(t, z, y), v, batch_size=size)
    return f"batch_size {size} {body.text}", apply, (y,)


@operation("in scan", "scan", keeps=True)
def in_scan(draft: Draft, x: Value) -> Any:
    """The value run over, carried unchanged, carried and changed, or a constant."""
    kind = draft.choice(["xs", "xs", "const", "carry unchanged", "carry changed"])
    reverse, unroll = draft.flip(0.3), draft.choice([1, 1, 2])
    y = draft.other()
    start = draft.array(draft.shape(1, 2), np.float32)
    carry = Value(0, start.shape, start.dtype, True)
    seen = slice_of(x) if kind == "xs" else x
    body = draft.body([carry, seen, y], 3)

    def apply(t: Any, v: Any, y: Any, start: Any) -> Any:
        options = {"reverse": reverse, "unroll": unroll}

        def step(c: Any, z: Any, w: Any) -> Any:
            made = body(t, c, z, w)
            return like(t, made, c), summary(t, [made])

        if kind == "xs":
            return lax.scan(lambda c, z: step(c, z, y), start, v, **options)
        if kind == "const":
            return lax.scan(lambda c, _: step(c, v, y), start, length=3, **options)

        def carried(both: Any, _: Any) -> Any:
            c, out = step(both[0], both[1], y)
            if kind == "carry unchanged":
                return (c, both[1]), out
            return (c, (both[1] * jnp.asarray(0.5, x.dtype)).astype(both[1].dtype)), out

        return lax.scan(carried, (start, v), length=3, **options)

    options = f"{' reverse' if reverse else ''}{f' unroll {unroll}' if unroll > 1 else ''}"
    return f"{kind}{options} {body.text}", apply, (y, start)


@operation("in while_loop", "while_loop", "fori_loop", keeps=True)
def in_while(draft: Draft, x: Value) -> Any:
    """The value in the condition and the body; carried, or a constant."""
    kind = draft.choice(["const", "carried", "fori", "fori over layers", "fori traced"])
    y = draft.other()
    start = draft.array(draft.shape(1, 2), np.float32)
    carry = Value(0, start.shape, start.dtype, True)
    seen = slice_of(x) if kind == "fori over layers" else x
    body = draft.body([carry, seen, y], 2)
    step = lambda t, c, z, y: like(t, body(t, c, z, y), c)

    def apply(t: Any, v: Any, y: Any, start: Any) -> Any:
        if kind == "fori":
            return lax.fori_loop(0, 3, lambda i, c: step(t, c, v, y), start)
        if kind == "fori traced":
            end = jnp.asarray(2) + (summary(t, [y]) > 1e6)
            return lax.fori_loop(0, end, lambda i, c: step(t, c, v, y), start)
        if kind == "fori over layers":
            return lax.fori_loop(0, x.shape[0], lambda i, c: step(t, c, v[i], y), start)
        if kind == "const":
            proceed = lambda c: (c[0] < 3) & (summary(t, [v]) < 1e6)
            return lax.while_loop(proceed, lambda c: (c[0] + 1, step(t, c[1], v, y)), (0, start))
        proceed = lambda c: (c[0] < 3) & (summary(t, [c[2]]) < 1e6)
        turn = lambda c: (c[0] + 1, step(t, c[1], c[2], y), c[2])
        return lax.while_loop(proceed, turn, (0, start, v))

    return f"{kind} {body.text}", apply, (y, start)


def branches(draft: Draft, x: Value, y: Value, number: int) -> list[Body]:
    """Functions of the same two values."""
    return [draft.body([x, y]) for _ in range(number)]


@operation("in cond", "cond", "switch", "platform_dependent", keeps=True)
def in_cond(draft: Draft, x: Value) -> Any:
    """By a constant, by a number of the value, or by the platform."""
    y = draft.other()
    kind = draft.choice(["cond", "switch", "by the value", "platform", "lazy"])
    index = np.asarray(draft.integer(-1, 3), np.int32)
    if kind == "lazy":
        turn = lambda v: v * jnp.asarray(0.5, v.dtype)
        same = lambda v: v
        body = draft.body([x])
        pick = lambda t, v, i: body(t, lax.cond(i > 0, turn, same, v))
        return f"{kind} {body.text}", pick, (index,)
    bodies = branches(draft, x, y, 3 if kind == "switch" else 2)

    def apply(t: Any, v: Any, y: Any, i: Any) -> Any:
        functions = [lambda *xs, b=b: summary(t, [b(t, *xs)]) for b in bodies]
        if kind == "platform":
            return lax.platform_dependent(v, y, cpu=functions[0], default=functions[1])
        if kind == "switch":
            return lax.switch(i, functions, v, y)
        chosen = i > 0 if kind == "cond" else summary(t, [v]) > 0.25
        return lax.cond(chosen, *functions, v, y)

    return f"{kind} {index} {' '.join(b.text for b in bodies)}", apply, (y, index)


@operation("in composite", "composite", keeps=True)
def in_composite(draft: Draft, x: Value) -> Any:
    """A function with a name for the compiler."""
    body = draft.body([x])
    return body.text, lambda t, v: lax.composite(lambda z: body(t, z), name="fuzz.body")(v), ()
