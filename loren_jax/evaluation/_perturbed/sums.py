"""Sums of perturbed leaves, with others and along their own axes: `add`, `pad`, `reduce_sum`, ...

A sum of low-rank perturbations is one of the sum of their ranks; what is joined along an axis is a
sum of what is padded to the whole. Of `|W + L R^T|^2`, as in weight decay or a norm, the factors
give all but the first term of `|W|^2 + 2 <W, L R^T> + |L R^T|^2`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from loren_jax.directions.structured.seeded import over_blocks
from loren_jax.evaluation._perturbed.interpreter import Interpreter, bind, passes
from loren_jax.evaluation._perturbed.leaves import (
    LEFT,
    RANK,
    RIGHT,
    STACK,
    Factored,
    Noisy,
    Perturbed,
    Squared,
    contract,
    dense,
    is_perturbed,
)
from loren_jax.precision import wide
from loren_jax.types import Index

OTHER_RANK = -2
"""Number of the rank axis of a factor that is met a second time."""


def add(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """`add` and `sub`: of two weights, of a weight and an array, of a table and what it joins."""
    signs = (1, -1 if equation.primitive.name == "sub" else 1)
    leaves = [(x, sign) for x, sign in zip(inputs, signs, strict=True) if is_perturbed(x)]
    out: Any = equation.outvars[0].aval
    if len(leaves) == 1 and leaves[0][0].shape != out.shape:
        return bind(equation, [dense(x) for x in inputs])  # it is larger than the leaf
    if any(x.shape != out.shape for x, _ in leaves):
        return NotImplemented
    plain = lambda x: x.weight.astype(x.dtype) if isinstance(x, Noisy) else x.weight
    if len(leaves) == 1 and isinstance(leaves[0][0], Noisy):
        ((leaf, sign),) = leaves
        leaf = leaf.settle() if leaf.transposed else leaf
        weight = bind(equation, [plain(leaf) if is_perturbed(x) else x for x in inputs])
        return replace(leaf, weight=weight, scale=sign * leaf.scale)
    if not all(isinstance(x, Factored) for x, _ in leaves):
        return NotImplemented
    weight = bind(equation, [plain(x) if is_perturbed(x) else x for x in inputs])
    return sum_leaves(weight, [replace(x, left=sign * x.left) for x, sign in leaves])


def pad(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Around, between, or cut: what is new is unperturbed."""
    leaf, value = inputs
    if not isinstance(leaf, Factored) or is_perturbed(value):
        return NotImplemented
    config = equation.params["padding_config"]
    return leaf.with_weight(
        bind(equation, (leaf.weight, value)), lambda x, side: _pad_factor(leaf, side, config)
    )


def _pad_factor(leaf: Factored, side: str, config: Sequence[Any]) -> Array:
    factor = leaf.factor(side)
    own = [*(config[i] for i in leaf.axes(side)), (0, 0, 0)]
    return jax.lax.pad(factor, jnp.zeros((), factor.dtype), own)


def concatenate(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Weights side by side, of which each perturbs its own part of the axis."""
    axis = equation.params["dimension"]
    leaves = [x for x in inputs if is_perturbed(x)]
    size = sum(x.weight.size for x in leaves)
    if sum(jnp.size(x) for x in inputs if not is_perturbed(x)) > size:
        return bind(equation, [dense(x) for x in inputs])  # what they join is larger than they
    if not all(isinstance(x, Factored) for x in leaves):
        return NotImplemented
    weight = bind(equation, [x.weight if is_perturbed(x) else x for x in inputs])
    parts, start = [], 0
    for x in inputs:
        end = start + x.shape[axis]
        if is_perturbed(x):
            around = (start, weight.shape[axis] - end, 0)
            config = [around if i == axis else (0, 0, 0) for i in range(weight.ndim)]
            change = lambda _, side, x=x, config=config: _pad_factor(x, side, config)
            parts.append(x.with_weight(weight, change))
        start = end
    return sum_leaves(weight, parts)


def sum_leaves(weight: Array, leaves: Sequence[Factored]) -> Any:
    """A weight with the perturbations of all leaves; NotImplemented where that saves nothing."""
    first = leaves[0]
    leaves = [x if x.labels == first.labels else _swap_factors(x) for x in leaves]
    if any(x.labels != first.labels for x in leaves):
        return NotImplemented
    left, right = (jnp.concatenate([x.factor(s) for x in leaves], -1) for s in (LEFT, RIGHT))
    if len(leaves) > 1 and left.size + right.size > weight.size:
        return NotImplemented
    name = "+".join(dict.fromkeys(x.name for x in leaves if x.name))
    return replace(first, name=name, weight=weight, left=left, right=right)


def _swap_factors(leaf: Factored) -> Factored:
    """The same with its factors called the other way round."""
    other = {LEFT: RIGHT, RIGHT: LEFT, STACK: STACK}
    return replace(
        leaf, left=leaf.right, right=leaf.left, labels=tuple(other[x] for x in leaf.labels),
        left_split=leaf.right_split, right_split=leaf.left_split,
    )  # fmt: skip


def square(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """`square` and the second power, to be summed up."""
    (leaf,) = inputs
    if isinstance(leaf, Squared) or equation.params.get("y", 2) != 2:
        return NotImplemented
    return Squared(leaf, leaf.weight.dtype if isinstance(leaf, Factored) else leaf.dtype)


@passes(Squared)
def reduce_sum(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Over some or all axes of a weight or of its squares."""
    (leaf,) = inputs
    out: Any = equation.outvars[0].aval
    kept = [i for i in range(len(leaf.shape)) if i not in equation.params["axes"]]
    if isinstance(leaf, Squared):
        total = squares(leaf.leaf, kept)
        if total is NotImplemented:
            return bind(equation, [interpreter.dense_one(leaf, equation.primitive.name)])
        return total.astype(out.dtype)
    if not isinstance(leaf, Factored):
        return NotImplemented
    labels = [leaf.labels[i] for i in kept]
    weight = bind(equation, (leaf.weight,))
    left, right = [*leaf.axes(LEFT), RANK], [*leaf.axes(RIGHT), RANK]
    if LEFT not in labels or RIGHT not in labels:
        delta = contract(leaf.left, left, leaf.right, right, kept)
        return (weight.astype(wide(weight)) + delta).astype(out.dtype)
    if labels.count(STACK) < leaf.labels.count(STACK):
        return NotImplemented
    gone = lambda axes: tuple(n for n, i in enumerate(axes) if i not in (*kept, RANK))
    own = lambda factor, side: factor.sum(gone([*leaf.axes(side), RANK]))
    return leaf.with_weight(weight, own, labels)


def squares(leaf: Perturbed, kept: list[int]) -> Any:
    """The sum of a weight's squares over all but some axes; NotImplemented where it has no rule."""
    if isinstance(leaf, Factored):
        return _factored_squares(leaf, kept)
    if isinstance(leaf, Noisy) and not kept:
        return _noisy_squares(leaf)
    return NotImplemented


def _factored_squares(leaf: Factored, kept: list[int]) -> Any:
    """The sum of squares over all but some axes, if they leave one of the factors alone."""
    labels = [leaf.labels[i] for i in kept]
    if LEFT in labels and RIGHT in labels:
        return NotImplemented
    gone, other = (LEFT, RIGHT) if LEFT not in labels else (RIGHT, LEFT)
    axes = list(range(len(leaf.labels)))
    stack = [i for i in axes if leaf.labels[i] == STACK]
    first, second = [*leaf.axes(gone), RANK], [*leaf.axes(other), RANK]
    x, y = leaf.factor(gone), leaf.factor(other)
    weight = leaf.weight.astype(wide(leaf.weight))
    # One product more with y is all that both terms still need: 2 W^T x + y (x^T x).
    again = [*leaf.axes(gone), OTHER_RANK]
    gram = contract(x, first, x, again, [*stack, RANK, OTHER_RANK])
    met = [*leaf.axes(other), OTHER_RANK]
    terms = 2 * contract(weight, axes, x, first, second)
    terms += contract(gram, [*stack, RANK, OTHER_RANK], y, met, second)
    base = jnp.sum(jnp.square(weight), [i for i in axes if i not in kept])
    return base + contract(terms, second, y, second, kept)


def _noisy_squares(leaf: Noisy) -> Any:
    """The sum of squares over all axes, block by block of the noise."""
    layers = leaf.layers()
    if layers is not None and leaf.shape[0]:
        return jnp.sum(jax.lax.map(lambda arrays: _noisy_squares(leaf.layer(arrays)), layers))
    if leaf.direction.view.stack:
        return NotImplemented

    def block(total: Array, start: Index, width: int) -> Array:
        part = leaf.block(start, width)
        return total + jnp.sum(jnp.square(part.astype(wide(part))))

    return over_blocks(leaf.direction, jnp.zeros((), wide(leaf.weight)), block)
