"""Stacks of which one layer is perturbed: how they arise, and a scan over them.

The scan has three parts: the layers before it, the layer, the layers behind it. The first part does
not depend on the query, so under `vmap` over queries it runs once for all of them.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from loren_jax.evaluation._perturbed.interpreter import Interpreter, passes
from loren_jax.evaluation._perturbed.leaves import OneMoved, Value, is_perturbed
from loren_jax.types import Index


def put_layer(stack: jax.Array, layer: jax.Array, number: Index) -> jax.Array:
    """The stack with another layer in the place of one.

    A function with a name of its own, by which the interpreter knows that the stack may stay apart
    from the layer, be that perturbed or an array of the query's own.

    >>> import jax.numpy as jnp
    >>> put_layer(jnp.zeros((3, 2)), jnp.ones(2), 1).tolist()
    [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    """
    return _put_layer(stack, layer, number)


def _put(stack: jax.Array, layer: jax.Array, number: Index) -> jax.Array:
    return jax.lax.dynamic_update_index_in_dim(stack, layer, number, 0)


# No function of a user's can be called so.
_put.__name__ = PUT_LAYER = "loren_jax.put_layer"
_put_layer = jax.jit(_put)


@passes(OneMoved)
def moved_stack(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """What `put_layer` gives, with the layer still apart; not under a `vmap` of the loss's own."""
    stack, layer, number = inputs
    # A call that was mapped keeps its name, but puts a layer into each of several stacks, by a
    # scatter in place of the update.
    if "scatter" in _primitives(equation.params["jaxpr"]) or layer.shape != stack.shape[1:]:
        return NotImplemented
    if is_perturbed(stack):
        stack = interpreter.dense_one(stack, PUT_LAYER)
    return [OneMoved(stack, layer, jnp.asarray(number), stack.dtype)]


def _primitives(called: Any) -> set[str]:
    """Names of all that a function does, the functions that it calls included."""
    found = set()
    for equation in called.jaxpr.eqns:
        found.add(equation.primitive.name)
        for inner in equation.params.values():
            found |= _primitives(inner) if hasattr(inner, "jaxpr") else set()
    return found


def scan(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """The outputs of the loop; NotImplemented unless all moved stacks are run over, forwards."""
    consts, start, xs = scan_inputs(equation, inputs)
    carried = len(start)
    moved = [x for x in xs if isinstance(x, OneMoved)]
    if any(isinstance(x, OneMoved) for x in (*consts, *start)) or equation.params["reverse"]:
        return NotImplemented
    start = interpreter.dense(start, "scan")
    xs = [x if isinstance(x, OneMoved) else interpreter.dense_one(x, "scan") for x in xs]
    which, length = moved[0].number, equation.params["length"]

    def still(x: Value, i: Index) -> Any:
        if isinstance(x, OneMoved):
            return x.still(i)
        return jax.lax.dynamic_index_in_dim(x, i, keepdims=False)

    def layer(i: Index, sums: tuple[list[Any], list[Any]], perturbed: bool) -> Any:
        carry, ys = sums
        pick = lambda x: x.layer() if perturbed and isinstance(x, OneMoved) else still(x, i)
        inner = [*consts, *carry, *map(pick, xs)]
        outputs = interpreter.run_closed(equation.params["jaxpr"], inner)
        outputs = interpreter.dense(outputs, "output of a loop or branch")
        put = lambda y, out: jax.lax.dynamic_update_index_in_dim(y, out, i, 0)
        return outputs[:carried], [*map(put, ys, outputs[carried:])]

    avals: list[Any] = [var.aval for var in equation.outvars[carried:]]
    ys = [jnp.zeros(aval.shape, aval.dtype) for aval in avals]
    run = lambda first, end, sums: jax.lax.fori_loop(
        first, end, lambda i, s: layer(i, s, False), sums
    )
    sums = run(0, which, (list(start), ys))
    carry, ys = run(which + 1, length, layer(which, sums, True))
    return [*carry, *ys]


def scan_inputs(equation: JaxprEqn, inputs: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """The inputs of a scan: the constants, what is carried, what is run over."""
    if "ft_in" in equation.params:  # jax 0.12
        consts, carry = map(len, equation.params["ft_in"].unpack()[:2])
    else:
        consts, carry = equation.params["num_consts"], equation.params["num_carry"]
    return inputs[:consts], inputs[consts:][:carry], inputs[consts + carry :]
