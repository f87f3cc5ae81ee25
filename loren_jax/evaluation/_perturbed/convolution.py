"""`conv_general_dilated`: an image convolved with a perturbed kernel, without that kernel.

A kernel is a matrix from (place, channel in) to channel out, or a stack over places of matrices
from channel in to channel out. Either way the image's channels meet the inward factor, one plane
for each place and rank; a convolution with zeros and ones shifts the planes and adds them up; the
outward factor leads to the channels out. That convolution's kernel is the same for all queries,
which a convolution with the inward factor, though one step less, has not: many kernels at once are
slow everywhere.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from loren_jax.evaluation._perturbed.interpreter import Interpreter, bind
from loren_jax.evaluation._perturbed.leaves import LEFT, RANK, RIGHT, STACK, Factored
from loren_jax.precision import wide

PLANES = 4
"""Planes for each channel of the image from which on the image meets the inward factor as a kernel:
those of a first layer with a wide window would take more memory than all else."""


def conv_general_dilated(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """A perturbed kernel; any strides, dilations, groups and order of axes."""
    x, leaf = inputs
    numbers, groups = equation.params["dimension_numbers"], equation.params["feature_group_count"]
    if not isinstance(leaf, Factored) or equation.params["batch_group_count"] != 1:
        return NotImplemented
    out_axis, in_axis, *places = numbers.rhs_spec
    inward, outward = leaf.labels[in_axis], leaf.labels[out_axis]
    kinds = {leaf.labels[i] for i in places} or {inward}
    stacked = kinds == {STACK}
    if {inward, outward} != {LEFT, RIGHT} or not (stacked or kinds == {inward}):
        return NotImplemented
    count, rank = math.prod(leaf.shape[i] for i in places), leaf.left.shape[-1]
    ways = count * rank if stacked else rank
    if ways * groups >= leaf.shape[out_axis]:
        return NotImplemented
    x = jnp.asarray(interpreter.dense_one(x, equation.primitive.name))
    dtype, channel = wide(x, leaf.weight), numbers.lhs_spec[1]
    own = _arrange(leaf, inward, [*places, in_axis, RANK]).reshape(count, -1, rank).astype(dtype)
    # Of the plane of a place and rank, the way on: a rank, or in a stack a place and rank.
    onward = jnp.eye(ways, dtype=dtype).reshape(-1, rank, ways)
    onward = jnp.broadcast_to(onward, (count, rank, ways))
    image = x.astype(dtype)
    if count * rank <= PLANES * leaf.shape[in_axis]:
        image = _through(image, channel, groups, jnp.moveaxis(own, 1, 0).reshape(-1, count * rank))
        kernel = jnp.eye(count, dtype=dtype)[:, :, None, None] * onward[None]
    else:
        kernel = jnp.einsum("pir,prw->piw", own, onward)
    kernel = kernel.reshape(*(leaf.shape[i] for i in places), -1, ways)
    order = [*places, in_axis, out_axis]
    kernel = jnp.transpose(kernel, [order.index(i) for i in range(len(order))])
    kernel = jnp.concatenate([kernel] * groups, out_axis)  # all groups meet the same one
    ranks = bind(equation, (image, kernel), preferred_element_type=dtype)
    far = _arrange(leaf, outward, [*(places if stacked else ()), RANK, out_axis]).astype(dtype)
    delta = _through(ranks, numbers.out_spec[1], groups, far.reshape(ways, -1), apart=True)
    aval: Any = equation.outvars[0].aval
    base = bind(equation, (x, leaf.weight), preferred_element_type=wide(aval))
    return (base + delta.astype(base.dtype)).astype(aval.dtype)


def _arrange(leaf: Factored, side: str, order: list[int]) -> Array:
    """A factor with its axes in this order."""
    axes = [*leaf.axes(side), RANK]
    return jnp.transpose(leaf.factor(side), [axes.index(i) for i in order])


def _through(x: Array, axis: int, groups: int, matrix: Array, apart: bool = False) -> Array:
    """The groups of an axis, each times the matrix, or each times its own part of the columns."""
    x = jnp.moveaxis(x, axis, -1)
    x = x.reshape(*x.shape[:-1], groups, -1)
    matrix = matrix.reshape(len(matrix), groups if apart else 1, -1)
    if len(matrix) == 1:  # a product, which fuses into what follows
        out = x * jnp.expand_dims(matrix[0], range(x.ndim - 2))
    elif apart:
        out = jnp.einsum("...gi,igo->...go", x, matrix)
    else:
        out = jnp.einsum("...gi,io->...go", x, matrix[:, 0])
    return jnp.moveaxis(out.reshape(*x.shape[:-2], -1), -1, axis)
