"""Runs a jaxpr on inputs of which some are perturbed leaves.

Each equation goes to the rule of its primitive if one of its inputs is perturbed and there is a
rule; else the perturbed inputs are made dense, which is always right, and the primitive is bound
as it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from loren_jax.evaluation._perturbed.leaves import (
    OneMoved,
    OnMaterialise,
    Perturbed,
    Squared,
    Value,
    is_perturbed,
)

Rule: TypeAlias = Callable[..., Any]
"""`(interpreter, equation, inputs) -> outputs`, or NotImplemented where the structure is lost."""

KNOWN_BY: dict[type, set[Rule]] = {OneMoved: set(), Squared: set()}
"""Kinds of leaves that few rules know of, and those rules; see `passes`."""


def passes(*kinds: type) -> Callable[[Rule], Rule]:
    """Marks a rule that can be given such a leaf; for all others it is made dense."""

    def mark(rule: Rule) -> Rule:
        for kind in kinds:
            KNOWN_BY[kind].add(rule)
        return rule

    return mark


@dataclass(frozen=True)
class Interpreter:
    """The rules, and who is told when a leaf has to be made dense.

    Attributes:
      rules: by name of the primitive.
      on_materialise: called with the leaf's name and weight and the primitive that forced it, or
        the name of a kind of direction without structure.
      spread: arrays that were broadcast, by the result's variable, with the places of their axes.
    """

    rules: dict[str, Rule]
    on_materialise: OnMaterialise = lambda name, weight, primitive: None
    spread: dict[core.Var, tuple[Any, tuple[int, ...]]] = field(default_factory=dict)

    def run(self, jaxpr: core.Jaxpr, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """The outputs of a jaxpr, arrays or perturbed leaves."""
        values: dict[Any, Any] = {}
        read = lambda var: var.val if isinstance(var, core.Literal) else values[var]
        values.update(zip(jaxpr.constvars, map(_of_jax, consts), strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))
        for equation in jaxpr.eqns:
            outputs = self.equation(equation, [read(var) for var in equation.invars])
            values.update(zip(equation.outvars, outputs, strict=True))
        return [read(var) for var in jaxpr.outvars]

    def run_closed(self, closed: core.ClosedJaxpr | core.Jaxpr, inputs: Sequence[Any]) -> list[Any]:
        """The outputs of a jaxpr that carries its constants, or of one that has none."""
        if isinstance(closed, core.ClosedJaxpr):
            return self.run(closed.jaxpr, closed.consts, inputs)
        return self.run(closed, (), inputs)

    def equation(self, equation: core.JaxprEqn, inputs: list[Any]) -> list[Any]:
        """The outputs of one equation."""
        name = name_of(equation, self.rules)
        rule = self.rules.get(name)
        outputs = NotImplemented
        unknown = lambda x: type(x) in KNOWN_BY and rule not in KNOWN_BY[type(x)]
        inputs = [self.dense_one(x, name) if unknown(x) else x for x in inputs]
        own = name != equation.primitive.name  # a function with a rule of its own
        if rule is not None and (own or any(map(is_perturbed, inputs))):
            outputs = rule(self, equation, inputs)
        if outputs is NotImplemented:
            inputs = self.dense(inputs, name)
            outputs = bind(equation, inputs)
            if name == "broadcast_in_dim":
                places = equation.params["broadcast_dimensions"]
                self.spread[equation.outvars[0]] = (inputs[0], places)
        return list(outputs) if equation.primitive.multiple_results else [outputs]

    def unspread(self, var: core.Var | core.Literal, value: Any) -> Any:
        """An array with axes of length one wherever it is known to be the same all along."""
        if isinstance(var, core.Literal) or var not in self.spread:
            return value
        array, places = self.spread[var]
        shape = [1] * jnp.ndim(value)
        for place, size in zip(places, jnp.shape(array), strict=True):
            shape[place] = size
        return jnp.reshape(array, shape)

    def dense(self, values: Sequence[Any], primitive: str) -> list[Any]:
        """The values as arrays; tells which leaves that cost."""
        return [self.dense_one(value, primitive) for value in values]

    def dense_one(self, value: Value, primitive: str) -> Any:
        """The value as an array; tells if that cost a leaf."""
        if isinstance(value, Perturbed):
            if value.name:  # else it is a product of weights, which the program itself builds
                self.on_materialise(value.name, value.weight, primitive)
            return value.dense()
        return value


def name_of(equation: core.JaxprEqn, rules: dict[str, Rule]) -> str:
    """What the rule of an equation is called: its primitive, or the function that is called."""
    primitive = equation.primitive.name
    function = equation.params.get("name") if primitive in ("jit", "pjit") else None
    return function if function in rules else primitive


def _of_jax(constant: Value) -> Any:
    """A constant of the loss, which may be NumPy's, as an array that rules can index and cast."""
    is_numpy = isinstance(constant, np.ndarray) and constant.dtype != jax.dtypes.float0
    return jnp.asarray(constant) if is_numpy else constant


def bind(equation: core.JaxprEqn, inputs: Sequence[Any], **changes: Any) -> Any:
    """The equation's primitive on arrays, with some of its parameters changed."""
    params = equation.primitive.get_bind_params(equation.params) | changes
    bound = lambda *inputs: equation.primitive.bind(*inputs, **params)
    if equation.primitive.name != "shard_map":
        return bound(*inputs)
    # Over a part of a mesh JAX maps in compiled programs alone, and a query may run outside one.
    return jax.jit(lambda *inputs: [*bound(*inputs)])(*inputs)
