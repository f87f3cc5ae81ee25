"""Calls, loops and branches: the rules go on inside.

A stacked leaf that a `scan` runs over is perturbed in the loop's body, layer by layer. A leaf that
is constant in a loop, or carried through it unchanged, stays lazy; any other carry is made dense.

Of a query only the value is wanted, so `call` runs the body of whatever it is given. Where the
result is to be differentiated, `checkpoint` and `custom_derivative` take its place: they keep what
the user said of the derivative.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from jax.sharding import PartitionSpec

from loren_jax.evaluation._perturbed import one_layer
from loren_jax.evaluation._perturbed.interpreter import Interpreter, bind, passes
from loren_jax.evaluation._perturbed.leaves import (
    LEFT,
    RIGHT,
    Factored,
    OneMoved,
    Squared,
    Value,
    dense,
    is_perturbed,
)

CHECKPOINTS = ("checkpoint", "remat", "remat2")
CUSTOM = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")
CALLS = (
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "core_closed_call",
    "call",
    *CHECKPOINTS,
    *CUSTOM,
)
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""What a call names the jaxpr of the function that it calls."""


@passes(OneMoved, Squared)
def call(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """A function called in the middle: its body, in place. No derivative is needed of it."""
    for name in BODIES:
        if name in equation.params:
            return interpreter.run_closed(equation.params[name], inputs)
    return NotImplemented


def checkpoint(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """What is computed again in a backward pass is so here too, with the weights still lazy."""
    params = equation.params
    if not _all_factored(inputs):
        return NotImplemented

    body = lambda parts: _arrays(interpreter, params["jaxpr"], _with_parts(inputs, parts))
    again = jax.checkpoint(body, prevent_cse=params["prevent_cse"], policy=params["policy"])
    return again(_parts(inputs))


def custom_derivative(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """`custom_jvp` and `custom_vjp`: the value lazily, the derivative as defined, on dense weights.

    What the body would give as a derivative is not what the user asked for.
    """
    if not _all_factored(inputs):
        return NotImplemented
    # There is no derivative by what the function closed over; it comes first.
    closed_over = inputs[: equation.params.get("num_consts", 0)]
    own = inputs[len(closed_over) :]

    @jax.custom_jvp
    def lazy(parts: list[Any]) -> list[Any]:
        outputs = call(interpreter, equation, [*closed_over, *_with_parts(own, parts)])
        return [_dense(interpreter, o) for o in outputs]

    def original(parts: list[Any]) -> list[Any]:
        return bind(equation, [dense(x) for x in (*closed_over, *_with_parts(own, parts))])

    lazy.defjvp(lambda primals, tangents: jax.jvp(original, primals, tangents))
    return lazy(_parts(own))


@passes(OneMoved)
def scan(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Over layers, or over anything else with the leaf as a constant or an unchanged carry."""
    if any(isinstance(x, OneMoved) for x in inputs):
        return one_layer.scan(interpreter, equation, inputs)
    body = equation.params["jaxpr"]
    consts, start, xs = one_layer.scan_inputs(equation, inputs)
    carried = len(start)
    kept = _unchanged_carries(start, body.jaxpr.invars[len(consts) :][:carried], body.jaxpr.outvars)
    moving = _others(interpreter, equation, start, kept)
    layers = [x.layers() if is_perturbed(x) else None for x in xs]
    pairs = zip(xs, layers, strict=True)
    flat = [interpreter.dense_one(x, "scan") if own is None else own for x, own in pairs]

    def step(carry: list[Any], flat_x: list[Any]) -> tuple[list[Any], list[Any]]:
        rows = zip(xs, layers, flat_x, strict=True)
        x = [slices if own is None else leaf.layer(slices) for leaf, own, slices in rows]
        outputs = interpreter.run_closed(body, [*consts, *_merge(carry, kept), *x])
        outputs = [o if i in kept else _dense(interpreter, o) for i, o in enumerate(outputs)]
        carry = [o for i, o in enumerate(outputs[:carried]) if i not in kept]
        return carry, outputs[carried:]

    options = {k: equation.params[k] for k in ("length", "reverse", "unroll")}
    end, ys = jax.lax.scan(step, moving, flat, **options)
    return [*_merge(end, kept), *ys]


def while_(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """`while_loop` and `fori_loop`."""
    params = equation.params
    first, second = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts = inputs[:first], inputs[first : first + second]
    start, body = inputs[first + second :], params["body_jaxpr"]
    kept = _unchanged_carries(start, body.jaxpr.invars[second:], body.jaxpr.outvars)

    def proceed(carry: list[Any]) -> Any:
        inner = [*cond_consts, *_merge(carry, kept)]
        (verdict,) = interpreter.run_closed(params["cond_jaxpr"], inner)
        return verdict

    def step(carry: list[Any]) -> list[Any]:
        outputs = interpreter.run_closed(body, [*body_consts, *_merge(carry, kept)])
        return [_dense(interpreter, o) for i, o in enumerate(outputs) if i not in kept]

    moving = _others(interpreter, equation, start, kept)
    return _merge(jax.lax.while_loop(proceed, step, moving), kept)


@passes(OneMoved)
def cond(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """`cond` and `switch`: each branch on the same lazy operands."""
    index, *operands = inputs

    take = lambda branch: lambda: _arrays(interpreter, branch, operands)
    return jax.lax.switch(index, [take(branch) for branch in equation.params["branches"]])


def shard_map(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Each factor is sharded as the axes of the weight that it has."""
    params = equation.params
    lazy = lambda x: x if isinstance(x, Factored) else interpreter.dense_one(x, "shard_map")
    inputs = [*map(lazy, inputs)]
    if not any(map(is_perturbed, inputs)):
        return NotImplemented
    pairs = zip(inputs, params["in_specs"], strict=True)
    specs = [_factor_specs(x, spec) if is_perturbed(x) else spec for x, spec in pairs]

    mapped = jax.shard_map(
        lambda *local: _arrays(interpreter, params["jaxpr"], _with_parts(inputs, local)),
        mesh=params["mesh"],
        in_specs=tuple(specs),
        out_specs=list(params["out_specs"]),
        axis_names=set(params["newly_manual_axes"]),
        check_vma=params["check_vma"],
    )
    return jax.jit(mapped)(*_parts(inputs))  # compiled, as in `bind`


def _arrays(
    interpreter: Interpreter, jaxpr: ClosedJaxpr | Jaxpr, inputs: Sequence[Any]
) -> list[Any]:
    """What the body of a call, branch or map returns, as arrays."""
    return [_dense(interpreter, output) for output in interpreter.run_closed(jaxpr, inputs)]


def _all_factored(inputs: list[Any]) -> bool:
    return all(isinstance(x, Factored) for x in inputs if is_perturbed(x))


def _parts(inputs: Sequence[Any]) -> list[Any]:
    """The arrays of each input, as they can go into a function of JAX's."""
    return [(x.weight, x.left, x.right) if is_perturbed(x) else x for x in inputs]


def _with_parts(inputs: Sequence[Any], parts: Sequence[Any]) -> list[Any]:
    """The inputs, made of other arrays."""
    return [
        replace(x, weight=own[0], left=own[1], right=own[2]) if is_perturbed(x) else own
        for x, own in zip(inputs, parts, strict=True)
    ]


def _factor_specs(leaf: Factored, spec: PartitionSpec) -> tuple[PartitionSpec, ...]:
    axes = [*spec, *[None] * (len(leaf.labels) - len(spec))]
    own = lambda side: PartitionSpec(*(axes[i] for i in leaf.axes(side)), None)
    return spec, own(LEFT), own(RIGHT)


def _unchanged_carries(
    start: list[Any], invars: Sequence[Var], outvars: Sequence[Var | Literal]
) -> dict[int, Any]:
    """Perturbed carries that the body hands on as they came, by place."""
    return {
        i: value for i, value in enumerate(start) if is_perturbed(value) and outvars[i] is invars[i]
    }


def _others(
    interpreter: Interpreter, equation: JaxprEqn, start: list[Any], kept: dict
) -> list[Any]:
    name = equation.primitive.name
    return [interpreter.dense_one(x, name) for i, x in enumerate(start) if i not in kept]


def _merge(moving: list[Any], kept: dict[int, Any]) -> list[Any]:
    """The whole carry, from what moves and what was kept out of the loop."""
    rest = iter(moving)
    return [kept[i] if i in kept else next(rest) for i in range(len(moving) + len(kept))]


def _dense(interpreter: Interpreter, value: Value) -> Any:
    return interpreter.dense_one(value, "output of a loop or branch")
