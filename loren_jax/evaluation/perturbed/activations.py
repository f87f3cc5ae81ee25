"""How large the values are that each query computes for itself, read off its jaxpr."""

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core

from loren_jax.evaluation.perturbed.control_flow import CALLS
from loren_jax.evaluation.perturbed.interpreter import name_of
from loren_jax.evaluation.perturbed.one_layer import PUT_LAYER, scan_counts
from loren_jax.evaluation.perturbed.rules import RULES

STRUCTURAL = (
    "transpose",
    "reshape",
    "broadcast_in_dim",
    "convert_element_type",
    "slice",
    "dynamic_slice",
    "squeeze",
    "copy",
    "stop_gradient",
)


BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
"""What a call names the jaxpr of the function that it calls."""


class Kind(enum.IntEnum):
    """What a value is to the queries of a step."""

    SHARED = 0
    """The same for all: a constant, or what is computed from constants alone."""
    WEIGHT = 1
    """A perturbed weight, perhaps reshaped or cast: its array is shared."""
    OWN = 2
    """Another one for each."""


def largest_activation(jaxpr: core.Jaxpr) -> int:
    """Bytes of the largest value that a query computes for itself.

    A weight that is only reshaped or cast does not count, nor what the loss computes from its
    constants alone, such as the features that a frozen network hands to a trained head: the queries
    share them.

    Args:
      jaxpr: of the loss; its inputs are the weights.

    Returns:
      Bytes of one query's largest value.
    """
    return _flow(jaxpr, [Kind.WEIGHT] * len(jaxpr.invars))[0]


def _flow(jaxpr: core.Jaxpr, kinds: Sequence[Kind]) -> tuple[int, list[Kind]]:
    """Bytes of the largest value of a query's own, and the kinds of the outputs."""
    known = dict(zip(jaxpr.invars, kinds, strict=True))
    kind = lambda v: Kind.SHARED if isinstance(v, core.Literal) else known.get(v, Kind.SHARED)
    largest = 0
    for equation in jaxpr.eqns:
        inputs = [kind(v) for v in equation.invars]
        if all(k is Kind.SHARED for k in inputs):
            continue
        within, outputs = _equation(equation, inputs)
        known.update(zip(equation.outvars, outputs, strict=True))
        own = [bytes_of(v.aval) for v in equation.outvars if known[v] is Kind.OWN]
        largest = max(largest, within, *own)
    return largest, [kind(v) for v in jaxpr.outvars]


def _equation(equation: core.JaxprEqn, kinds: list[Kind]) -> tuple[int, list[Kind]]:
    """`_flow` through one equation, of whose inputs some are not shared."""
    params, name = equation.params, equation.primitive.name
    if name_of(equation, RULES) == PUT_LAYER or (name in STRUCTURAL and kinds[0] is Kind.WEIGHT):
        return 0, [Kind.WEIGHT]
    if name == "scan":
        consts, carry = scan_counts(params)
        before, start, behind = kinds[:consts], kinds[consts:][:carry], kinds[consts + carry :]
        body = _body(params["jaxpr"])
        return _settled(lambda carry: _flow(body, [*before, *carry, *behind]), start)
    if name == "while":
        return _while(params, kinds)
    if name == "cond":
        return _branches(params, kinds)
    for body in (params[word] for word in BODIES if name in CALLS and word in params):
        return _flow(_body(body), kinds)
    return 0, [Kind.OWN] * len(equation.outvars)


def _while(params: dict[str, Any], kinds: list[Kind]) -> tuple[int, list[Kind]]:
    first, second = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts = kinds[:first], kinds[first:][:second]

    def turn(carry: list[Kind]) -> tuple[int, list[Kind]]:
        _, verdict = _flow(_body(params["cond_jaxpr"]), [*cond_consts, *carry])
        size, outputs = _flow(_body(params["body_jaxpr"]), [*body_consts, *carry])
        # Each query takes as many turns as it wants.
        return size, [Kind.OWN] * len(outputs) if verdict[0] is Kind.OWN else outputs

    return _settled(turn, kinds[first + second :])


def _branches(params: dict[str, Any], kinds: list[Kind]) -> tuple[int, list[Kind]]:
    flows = [_flow(_body(branch), kinds[1:]) for branch in params["branches"]]
    index = Kind.OWN if kinds[0] is not Kind.SHARED else Kind.SHARED
    columns = zip(*(outputs for _, outputs in flows), strict=True)
    return max(size for size, _ in flows), [max(index, *column) for column in columns]


def _settled(
    turn: Callable[[list[Kind]], tuple[int, list[Kind]]], carry: list[Kind]
) -> tuple[int, list[Kind]]:
    """A turn of a loop, once its carry has become what it will be."""
    while True:
        size, outputs = turn(carry)
        later = [max(pair) for pair in zip(carry, outputs, strict=False)]
        if later == carry:
            return size, outputs
        carry = later


def _body(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> core.Jaxpr:
    return jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr


def bytes_of(aval: jax.core.AbstractValue) -> int:
    """Bytes of an array of this shape and type."""
    dtype = getattr(aval, "dtype", None)
    return math.prod(getattr(aval, "shape", ())) * getattr(dtype, "itemsize", 0)
