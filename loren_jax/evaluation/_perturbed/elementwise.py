"""What acts on every entry alike: casts, factors, copies."""

import operator
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from loren_jax.evaluation._perturbed.interpreter import Interpreter, bind, stacks_pass
from loren_jax.evaluation._perturbed.leaves import Factored, Noisy, cast, is_perturbed
from loren_jax.precision import wide


@stacks_pass
def convert_element_type(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """A cast to another floating-point type: of the weight; the structure stays float32."""
    (leaf,) = inputs
    dtype = equation.params["new_dtype"]
    if not jnp.issubdtype(dtype, jnp.floating):
        return NotImplemented
    return cast(leaf, dtype)


def scale(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """`mul` and `div` by a scalar, `neg`: of the weight, and of one factor or the noise's scale."""
    places = [i for i, x in enumerate(inputs) if is_perturbed(x)]
    place, leaf = places[0], inputs[places[0]]
    others = [x for i, x in enumerate(inputs) if i != place]
    divides_by_leaf = equation.primitive.name == "div" and place == 1
    if len(places) > 1 or any(jnp.shape(x) for x in others) or divides_by_leaf:
        return NotImplemented
    weight = leaf.weight.astype(leaf.dtype) if isinstance(leaf, Noisy) else leaf.weight
    weight = bind(equation, [weight if i == place else x for i, x in enumerate(inputs)])
    functions = {"mul": operator.mul, "div": operator.truediv, "neg": operator.neg}
    multiplied = functions[equation.primitive.name]
    by = [jnp.asarray(x, wide(x)) for x in others]
    if isinstance(leaf, Noisy):
        return replace(leaf, weight=weight, scale=multiplied(leaf.scale, *by))
    return replace(leaf, weight=weight, left=multiplied(leaf.left, *by))


def each_part(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """What says something of a value and changes no number, as `pvary`: of every part."""
    (leaf,) = inputs
    if not isinstance(leaf, Factored):
        return NotImplemented
    return leaf.changed(bind(equation, (leaf.weight,)), lambda x, side: bind(equation, (x,)))


def identity(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """`copy`, `stop_gradient`, names: the value as it is."""
    (leaf,) = inputs
    return leaf
