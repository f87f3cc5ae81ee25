"""What acts on every entry alike: casts, factors, copies."""

import operator
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jax.typing import ArrayLike
from jaxtyping import Array

from loren_jax.evaluation._perturbed.interpreter import Interpreter, bind, passes
from loren_jax.evaluation._perturbed.leaves import (
    LEFT,
    RIGHT,
    Factored,
    Noisy,
    OneMoved,
    Squared,
    cast,
    is_perturbed,
)
from loren_jax.precision import wide


@passes(OneMoved, Squared)
def convert_element_type(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """A cast to another floating-point type: of the weight; the structure stays float32."""
    (leaf,) = inputs
    dtype = equation.params["new_dtype"]
    if not jnp.issubdtype(dtype, jnp.floating):
        return NotImplemented
    return cast(leaf, dtype)


def scale(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """`mul` and `div` by a scalar, a row, a column or a number for each layer; `neg`."""
    places = [i for i, x in enumerate(inputs) if is_perturbed(x)]
    place, leaf, name = places[0], inputs[places[0]], equation.primitive.name
    out: Any = equation.outvars[0].aval
    if len(places) > 1:
        same = name == "mul" and inputs[0] is inputs[1]
        return Squared(leaf, out.dtype) if same else NotImplemented
    others = [x for i, x in enumerate(inputs) if i != place]
    if (name == "div" and place == 1) or out.shape != leaf.shape:
        return NotImplemented
    multiply = {"mul": operator.mul, "div": operator.truediv, "neg": operator.neg}[name]
    weigh = lambda w: bind(equation, [w if i == place else x for i, x in enumerate(inputs)])
    return _multiply(leaf, weigh, multiply, *others)


def select_n(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """A weight of which the rows, columns or layers that a mask names are replaced."""
    places = [i for i, x in enumerate(inputs) if is_perturbed(x)]
    if len(places) > 1 or places == [0] or len(inputs) > 3:
        return NotImplemented
    which, (place,) = inputs[0], places
    mask = interpreter.unspread(equation.invars[0], which)
    weigh = lambda w: bind(equation, [w if i == place else x for i, x in enumerate(inputs)])
    kept = jnp.asarray(mask, int) == place - 1
    return _multiply(inputs[place], weigh, operator.mul, kept.astype(jnp.float32))


def _multiply(
    leaf: Factored | Noisy,
    weigh: Callable[[Array], Array],
    multiply: Callable[..., Any],
    *by: ArrayLike,
) -> Any:
    """The leaf with its weight changed, and its perturbation multiplied by an array or a scalar."""
    factors = tuple(jnp.asarray(x, wide(x)) for x in by)
    scalar = not factors or not factors[0].shape
    if isinstance(leaf, Noisy):
        leaf = leaf.settle() if leaf.transposed and not scalar else leaf
        weight = weigh(leaf.weight.astype(leaf.dtype))
        if scalar:
            return replace(leaf, weight=weight, scale=multiply(leaf.scale, *factors))
        std = 1.0 if leaf.direction.std is None else leaf.direction.std
        std = jnp.broadcast_to(multiply(std, *factors), weight.shape)
        return replace(leaf, weight=weight, direction=replace(leaf.direction, std=std))
    if scalar:
        return replace(leaf, weight=weigh(leaf.weight), left=multiply(leaf.left, *factors))
    along = {i for i, size in enumerate(factors[0].shape) if size != 1}
    for side in (LEFT, RIGHT):
        axes = leaf.axes(side)
        if along <= set(axes):
            other = factors[0].reshape(*(factors[0].shape[i] for i in axes), 1)
            factor = multiply(leaf.factor(side), other)
            return replace(leaf, weight=weigh(leaf.weight), **{side: factor})
    return NotImplemented


def each_part(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """What says something of a value and changes no number, as `pvary`: of every part."""
    (leaf,) = inputs
    if not isinstance(leaf, Factored):
        return NotImplemented
    return leaf.with_weight(bind(equation, (leaf.weight,)), lambda x, side: bind(equation, (x,)))


def identity(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """`copy`, `stop_gradient`, names: the value as it is."""
    (leaf,) = inputs
    return leaf
