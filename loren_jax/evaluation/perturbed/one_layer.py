"""A scan over stacks of which one layer is perturbed.

Three parts: the layers before it, the layer, the layers behind it. The first part does not depend
on the query, so under `vmap` over queries it runs once for all of them.
"""

from typing import Any

import jax
import jax.numpy as jnp

from loren_jax.evaluation.perturbed.interpreter import Interpreter
from loren_jax.evaluation.perturbed.leaves import OneMoved


def scan(interpreter: Interpreter, equation: Any, inputs: list[Any]) -> Any:
    """The outputs of the loop; NotImplemented unless all moved stacks are run over, forwards."""
    number, carried = scan_counts(equation.params)
    consts, start, xs = inputs[:number], inputs[number:][:carried], inputs[number + carried :]
    moved = [x for x in xs if isinstance(x, OneMoved)]
    if any(isinstance(x, OneMoved) for x in (*consts, *start)) or equation.params["reverse"]:
        return NotImplemented
    start = interpreter.dense(start, "scan")
    xs = [x if isinstance(x, OneMoved) else interpreter.dense_one(x, "scan") for x in xs]
    which, length = moved[0].direction.number, equation.params["length"]

    def still(x: Any, i: Any) -> Any:
        if isinstance(x, OneMoved):
            return x.still(i)
        return jax.lax.dynamic_index_in_dim(x, i, keepdims=False)

    def layer(i: Any, sums: Any, perturbed: bool) -> Any:
        carry, ys = sums
        pick = lambda x: x.moved() if perturbed and isinstance(x, OneMoved) else still(x, i)
        outputs = interpreter.closed(equation.params["jaxpr"], [*consts, *carry, *map(pick, xs)])
        outputs = interpreter.dense(outputs, "output of a loop or branch")
        put = lambda y, out: jax.lax.dynamic_update_index_in_dim(y, out, i, 0)
        return outputs[:carried], [*map(put, ys, outputs[carried:])]

    ys = [jnp.zeros(v.aval.shape, v.aval.dtype) for v in equation.outvars[carried:]]
    run = lambda first, end, sums: jax.lax.fori_loop(
        first, end, lambda i, s: layer(i, s, False), sums
    )
    sums = run(0, which, (list(start), ys))
    carry, ys = run(which + 1, length, layer(which, sums, True))
    return [*carry, *ys]


def scan_counts(params: dict[str, Any]) -> tuple[int, int]:
    """How many inputs of a scan are constants, and how many are carried."""
    if "num_consts" in params:
        return params["num_consts"], params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()  # jax 0.12
    return len(consts), len(carry)
