"""`dot_general`: an activation times a perturbed weight, without the perturbed weight.

`x (W + L R^T) = x W + (x L) R^T`: the sum over the contracted axes goes through the factor that has
them, then the rank leads to the axes of the other one.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from loren_jax import scheduling
from loren_jax.directions.structured.seeded import over_blocks
from loren_jax.evaluation._perturbed.interpreter import Interpreter, bind
from loren_jax.evaluation._perturbed.leaves import (
    LEFT,
    RANK,
    RIGHT,
    STACK,
    Factored,
    Noisy,
    Perturbed,
    contract,
    is_perturbed,
)
from loren_jax.evaluation._perturbed.sums import squares, sum_leaves
from loren_jax.precision import wide
from loren_jax.types import Index

PART = -2
"""Number of the axis that tells the devices' parts of a sum apart."""


def dot_general(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Either side, any order of axes, stacks as batches, several contracted axes."""
    lhs, rhs = inputs
    if is_perturbed(lhs) and is_perturbed(rhs):
        product = _dot_of_two(equation, lhs, rhs)
        if product is not NotImplemented:
            return product
        name = equation.primitive.name  # keep the larger one
        if lhs.weight.size < rhs.weight.size:
            lhs = interpreter.dense_one(lhs, name)
        else:
            rhs = interpreter.dense_one(rhs, name)
    side = 0 if is_perturbed(lhs) else 1
    leaf, x = (lhs, rhs) if side == 0 else (rhs, lhs)
    x = jnp.asarray(x)  # a scalar that is written into the loss is no array yet
    if isinstance(leaf, Noisy):
        return _dot_noisy(equation, leaf, x, side)
    return _dot_factored(equation, leaf, x, side)


def _dot_noisy(equation: JaxprEqn, leaf: Noisy, x: Array, side: int) -> Array:
    """Draws not before the activation is there, so that the noise of one weight is alive.

    Where the sum is over the fan-in axes, block after block of the outputs: then no more than a
    block of noise is ever there, nor a perturbed weight.
    """
    leaf = replace(leaf, direction=leaf.direction.after(x))
    view = leaf.direction.view
    contracting, batch = equation.params["dimension_numbers"]
    summed = {leaf.order[i] for i in contracting[side]}
    if view.stack or batch[side] or summed != set(view.fan_in):
        return bind(equation, _operands(side, leaf.dense(), x))
    # Among the output's axes: the leaf's own that are left, and if it is the right one, behind x's.
    own = [i for i in leaf.order if i not in summed]
    place = own.index(leaf.direction.blocked_axis) + (0 if side == 0 else x.ndim - len(summed))

    def block(out: Array, start: Index, width: int) -> Array:
        part = bind(equation, _operands(side, leaf.block(start, width), x))
        if width == leaf.direction.blocked_size:
            return part
        return jax.lax.dynamic_update_slice_in_dim(out, part, start, place)

    out: Any = equation.outvars[0].aval
    zeros = jnp.full(out.shape, scheduling.zero_after(x), out.dtype)
    return over_blocks(leaf.direction, zeros, block)


def _operands(side: int, leaf: Array, x: Array) -> tuple[Array, Array]:
    return (leaf, x) if side == 0 else (x, leaf)


def _dot_factored(equation: JaxprEqn, leaf: Factored, x: Array, side: int) -> Any:
    contracting, batch = equation.params["dimension_numbers"]
    leaf_contracted, leaf_batch = contracting[side], batch[side]
    summed = {leaf.labels[i] for i in leaf_contracted}
    if summed <= {STACK}:
        return NotImplemented
    # The second product sums up whatever the first has left.
    inward = max(summed - {STACK}, key=lambda side: leaf.factor(side).size)
    outward = RIGHT if inward == LEFT else LEFT

    leaf_axes = list(range(leaf.weight.ndim))
    x_axes = [leaf.weight.ndim + i for i in range(x.ndim)]
    pairs = [*zip(contracting[1 - side], leaf_contracted, strict=True)]
    pairs += zip(batch[1 - side], leaf_batch, strict=True)
    for x_axis, leaf_axis in pairs:
        x_axes[x_axis] = leaf_axis
    free = lambda axes, own: [a for i, a in enumerate(axes) if i not in own]
    sides = [
        free(leaf_axes, (*leaf_contracted, *leaf_batch)),
        free(x_axes, (*contracting[1 - side], *batch[1 - side])),
    ]
    out_axes = [leaf_axes[i] for i in leaf_batch] + (
        sides[0] + sides[1] if side == 0 else sides[1] + sides[0]
    )

    if leaf.split_axes(inward) and not leaf_batch and len(leaf_contracted) == 1:
        return _dot_in_parts(equation, leaf, x, x_axes, out_axes)
    if leaf.split_axes(inward):
        return NotImplemented
    if leaf.split_axes(outward):
        # Both terms take the whole of x, as the bare product does; else one would add up parts.
        gone = (*contracting[1 - side], *batch[1 - side])
        spread = tuple(() if i in gone else scheduling.ANYHOW for i in range(x.ndim))
        x = scheduling.split_as(x, spread)
    inward_axes = [*leaf.axes(inward), RANK]
    done = [i for i in leaf_contracted if leaf.labels[i] == inward]
    reached = [a for a in dict.fromkeys(x_axes + inward_axes) if a not in done]
    projected = contract(_wide(x), x_axes, leaf.factor(inward), inward_axes, reached)
    outward_axes = [*leaf.axes(outward), RANK]
    delta = contract(projected, reached, leaf.factor(outward), outward_axes, out_axes)

    # In half precision the two terms are added before they are rounded.
    dtype = _out_dtype(equation)
    base = bind(equation, _operands(side, leaf.weight, x), preferred_element_type=wide(dtype))
    return (base + delta.astype(base.dtype)).astype(dtype)


def _dot_of_two(equation: JaxprEqn, lhs: Perturbed, rhs: Perturbed) -> Any:
    """A product of two weights, as of an adapter, which has a low-rank perturbation itself.

    `(A + P Q^T) (B + R S^T) = A B + P (Q^T B) + (A + P Q^T) R S^T`.
    """
    (lhs_gone, rhs_gone), (batch, _) = equation.params["dimension_numbers"]
    if lhs is rhs and sorted(lhs_gone) == list(range(len(lhs.shape))) and lhs_gone == rhs_gone:
        out: Any = equation.outvars[0].aval
        total = squares(lhs, [])
        return total if total is NotImplemented else total.astype(out.dtype)
    if not (isinstance(lhs, Factored) and isinstance(rhs, Factored)) or batch:
        return NotImplemented
    sides = []
    for leaf, gone in ((lhs, lhs_gone), (rhs, rhs_gone)):
        inward = {leaf.labels[i] for i in gone}
        left = {label for i, label in enumerate(leaf.labels) if i not in gone}
        if len(inward) != 1 or len(left) != 1 or STACK in inward | left or inward == left:
            return NotImplemented
        sides.append((*inward, *left))
    (a_in, a_out), (b_in, b_out) = sides
    weight = bind(equation, (lhs.weight, rhs.weight))
    n = lhs.weight.ndim
    a_axes, b_axes = list(range(n)), [n + i for i in range(rhs.weight.ndim)]
    for i, j in zip(lhs_gone, rhs_gone, strict=True):
        b_axes[j] = i
    of = lambda leaf, axes, side: (leaf.factor(side), [*(axes[i] for i in leaf.axes(side)), RANK])
    p, q = of(lhs, a_axes, a_out), of(lhs, a_axes, a_in)
    s, r = of(rhs, b_axes, b_out), of(rhs, b_axes, b_in)
    wide_a, wide_b = (x.weight.astype(wide(x.weight)) for x in (lhs, rhs))
    q_b = contract(wide_b, b_axes, *q, s[1])
    met = [*r[1][:-1], PART]  # the rank of the other
    q_r = contract(*q, r[0], met, [RANK, PART])
    a_r = contract(wide_a, a_axes, r[0], r[1], p[1])
    a_r += contract(*p, q_r, [RANK, PART], [*p[1][:-1], PART])
    free = len(p[1]) - 1
    labels = (LEFT,) * free + (RIGHT,) * (len(s[1]) - 1)
    product = Factored("", weight, p[0], q_b, labels)
    return sum_leaves(weight, [product, replace(product, left=a_r, right=s[0])])


def _wide(x: Array) -> Array:
    """The activation as a factor meets it.

    A factor cast to the type of integers, flags or 8-bit floats would be rounded away: it carries
    the perturbation's scale.
    """
    return x.astype(wide(x))


def _out_dtype(equation: JaxprEqn) -> Any:
    aval: Any = equation.outvars[0].aval
    return aval.dtype


def _dot_in_parts(
    equation: JaxprEqn, leaf: Factored, x: Array, x_axes: list[int], out_axes: list[int]
) -> Array:
    """A sum over an axis that is sharded: each device's part of both terms, added up together.

    The compiler would add up the projections `x L` among the devices first, and then the outputs:
    two exchanges where the bare weight has one.
    """
    (axis,) = set(range(leaf.weight.ndim)) & set(x_axes)
    inward = leaf.labels[axis]
    outward = RIGHT if inward == LEFT else LEFT
    names = leaf.split_axes(inward)
    parts = scheduling.parts(names)

    def divide(array: Array, axes: list[int]) -> tuple[Array, list[int]]:
        place = axes.index(axis)
        shape = (*array.shape[:place], parts, -1, *array.shape[place + 1 :])
        divided = [*axes[:place], PART, *axes[place:]]
        spread = tuple(names if a == PART else scheduling.ANYHOW for a in divided)
        return scheduling.split_as(array.reshape(shape), spread), divided

    weight, weight_axes = divide(leaf.weight, list(range(leaf.weight.ndim)))
    activation, activation_axes = divide(x, x_axes)
    factor, factor_axes = divide(leaf.factor(inward), [*leaf.axes(inward), RANK])
    base = contract(activation, activation_axes, weight, weight_axes, [PART, *out_axes])
    reached = [a for a in dict.fromkeys((*activation_axes, RANK)) if a != axis]
    projected = contract(_wide(activation), activation_axes, factor, factor_axes, reached)
    factor_axes = [*leaf.axes(outward), RANK]
    delta = contract(projected, reached, leaf.factor(outward), factor_axes, [PART, *out_axes])
    total = (base + delta).astype(_out_dtype(equation))
    # Not `jnp.sum`, which adds half precision up in float32: the devices would exchange twice that.
    return jax.lax.reduce(total, jnp.zeros((), total.dtype), jax.lax.add, (0,))
