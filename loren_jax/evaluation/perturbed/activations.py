"""How large the values are that a forward pass makes, read off its jaxpr."""

import math
from typing import Any

from jax.extend import core

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


def largest_activation(jaxpr: Any, weights: "frozenset[Any] | None" = None) -> int:
    """Bytes of the largest value that the forward pass computes.

    A weight that is only reshaped or cast does not count: K queries share it, and as well what the
    loss closes over.

    Args:
      jaxpr: of the loss.
      weights: the inputs that are weights; by default all, and the constants.

    Returns:
      Bytes of one query's largest intermediate value.
    """
    shared = set((*jaxpr.invars, *jaxpr.constvars) if weights is None else weights)
    largest = 0
    for equation in jaxpr.eqns:
        inputs = [v for v in equation.invars if not isinstance(v, core.Literal)]
        if equation.primitive.name in STRUCTURAL and all(v in shared for v in inputs):
            shared.update(equation.outvars)
            continue
        inner = _inner(equation)
        for body in inner:
            aligned = len(body.invars) == len(equation.invars)
            pairs = zip(body.invars, equation.invars, strict=True) if aligned else ()
            handed = frozenset(
                b for b, v in pairs if not isinstance(v, core.Literal) and v in shared
            )
            largest = max(largest, largest_activation(body, handed))
        if not inner:
            largest = max([largest, *(_bytes(v.aval) for v in equation.outvars)])
    return largest


def _inner(equation: Any) -> list[Any]:
    """The jaxprs that an equation carries."""
    found = []
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                found.append(item.jaxpr)
            elif isinstance(item, core.Jaxpr):
                found.append(item)
    return found


def _bytes(aval: Any) -> int:
    dtype = getattr(aval, "dtype", None)
    return math.prod(getattr(aval, "shape", ())) * getattr(dtype, "itemsize", 0)
