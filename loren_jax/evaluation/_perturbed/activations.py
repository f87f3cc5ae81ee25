"""What a query computes for itself and what all of them read alike, off the loss's jaxpr."""

import enum
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
from jax.extend import core

from loren_jax.evaluation._perturbed.control_flow import BODIES, CALLS
from loren_jax.evaluation._perturbed.interpreter import name_of
from loren_jax.evaluation._perturbed.one_layer import PUT_LAYER, scan_inputs
from loren_jax.evaluation._perturbed.rules import RULES

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
"""What moves numbers and makes none."""

SOME_ROWS = ("gather", "dynamic_slice")
"""What reads a part of an array, whatever its size is."""


class Kind(enum.IntEnum):
    """What a value is to the queries of a step."""

    SHARED = 0
    """The same for all: a constant, or what is computed from constants alone."""
    WEIGHT = 1
    """A perturbed weight, perhaps reshaped or cast: its array is shared."""
    OWN = 2
    """Another one for each."""


class Traffic(NamedTuple):
    """What a forward pass makes and reads; bytes.

    Attributes:
      own: the largest value that a query computes for itself.
      shared: what it reads that is the same for all queries, as often as it does. Of a weight that
        is gathered from, that is nothing: a few rows.
    """

    own: int = 0
    shared: int = 0


Flow: TypeAlias = tuple[Traffic, list[Kind]]


def traffic(jaxpr: core.Jaxpr) -> Traffic:
    """What a query of this loss makes and reads.

    A weight that is only reshaped or cast is no value of the query's own, nor is what the loss
    computes from its constants alone, such as the features that a frozen network hands to a trained
    head: the queries share them. The inputs of the jaxpr are the weights.
    """
    return _flow(jaxpr, [Kind.WEIGHT] * len(jaxpr.invars))[0]


def _flow(jaxpr: core.Jaxpr, kinds: Sequence[Kind]) -> Flow:
    """The traffic, and the kinds of the outputs."""
    known = dict(zip(jaxpr.invars, kinds, strict=True))
    kind = lambda v: Kind.SHARED if isinstance(v, core.Literal) else known.get(v, Kind.SHARED)
    largest = shared = 0
    for equation in jaxpr.eqns:
        inputs = [kind(v) for v in equation.invars]
        within, outputs = _equation(equation, inputs)
        known.update(zip(equation.outvars, outputs, strict=True))
        own = [bytes_of(v.aval) for v in equation.outvars if known[v] is Kind.OWN]
        largest, shared = max(largest, within.own, *own), shared + within.shared
    return Traffic(largest, shared), [kind(v) for v in jaxpr.outvars]


def _equation(equation: core.JaxprEqn, kinds: list[Kind]) -> Flow:
    """`_flow` through one equation."""
    params, name = equation.params, equation.primitive.name
    if name_of(equation, RULES) == PUT_LAYER:
        return Traffic(), [Kind.WEIGHT]
    if name in STRUCTURAL and Kind.OWN not in kinds:
        return Traffic(), [max(kinds)]
    if name == "scan":
        return _scan(equation, kinds)
    if name == "while":
        return _while(params, kinds)
    if name == "cond":
        return _branches(params, kinds)
    called = name in CALLS or name == "shard_map"
    for body in (params[word] for word in BODIES if called and word in params):
        return _flow(_body(body), kinds)
    pairs = [] if name in SOME_ROWS else zip(equation.invars, kinds, strict=True)
    shared = sum(bytes_of(v.aval) for v, kind in pairs if kind is not Kind.OWN)
    alike = all(kind is Kind.SHARED for kind in kinds)
    return Traffic(0, shared), [Kind.SHARED if alike else Kind.OWN] * len(equation.outvars)


def _scan(equation: core.JaxprEqn, kinds: list[Kind]) -> Flow:
    before, start, behind = scan_inputs(equation, kinds)
    body = _body(equation.params["jaxpr"])
    one, outputs = _fixed_point(lambda carry: _flow(body, [*before, *carry, *behind]), start)
    return one._replace(shared=one.shared * equation.params["length"]), outputs


def _while(params: dict[str, Any], kinds: list[Kind]) -> Flow:
    """One turn of it: how many there are is not known."""
    first, second = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts = kinds[:first], kinds[first:][:second]

    def turn(carry: list[Kind]) -> Flow:
        _, verdict = _flow(_body(params["cond_jaxpr"]), [*cond_consts, *carry])
        one, outputs = _flow(_body(params["body_jaxpr"]), [*body_consts, *carry])
        # Each query takes as many turns as it wants.
        return one, [Kind.OWN] * len(outputs) if verdict[0] is Kind.OWN else outputs

    return _fixed_point(turn, kinds[first + second :])


def _branches(params: dict[str, Any], kinds: list[Kind]) -> Flow:
    flows = [_flow(_body(branch), kinds[1:]) for branch in params["branches"]]
    index = Kind.SHARED if kinds[0] is Kind.SHARED else Kind.OWN
    columns = zip(*(outputs for _, outputs in flows), strict=True)
    most = Traffic(*map(max, zip(*(one for one, _ in flows), strict=True)))
    return most, [max(index, *column) for column in columns]


def _fixed_point(turn: Callable[[list[Kind]], Flow], carry: list[Kind]) -> Flow:
    """A turn of a loop, once its carry has become what it will be."""
    while True:
        one, outputs = turn(carry)
        later = [max(pair) for pair in zip(carry, outputs, strict=False)]
        if later == carry:
            return one, outputs
        carry = later


def _body(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> core.Jaxpr:
    return jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr


def bytes_of(aval: jax.core.AbstractValue) -> int:
    """Bytes of an array of this shape and type."""
    dtype = getattr(aval, "dtype", None)
    return math.prod(getattr(aval, "shape", ())) * getattr(dtype, "itemsize", 0)
