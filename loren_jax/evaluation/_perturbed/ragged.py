"""`ragged_dot_general`: rows that meet the perturbed matrix of their own group, as of an expert."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from loren_jax.evaluation._perturbed.interpreter import Interpreter, bind
from loren_jax.evaluation._perturbed.leaves import LEFT, RANK, RIGHT, STACK, Factored, contract
from loren_jax.precision import wide


def differentiable(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """A stack of perturbed matrices, times rows that are sorted by group."""
    return _ragged_dot(bind, interpreter, equation, inputs)


def ragged_dot_general(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """The same for a value alone: where JAX cannot map this operation over queries, a loop does."""

    def one_by_one(equation: JaxprEqn, inputs: Sequence[Any], **changes: Any) -> Any:
        product = lambda *arrays: bind(equation, arrays, **changes)
        return jax.custom_batching.sequential_vmap(product)(*inputs)

    return _ragged_dot(one_by_one, interpreter, equation, inputs)


def _ragged_dot(
    product: Callable[..., Any], interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]
) -> Any:
    name = equation.primitive.name
    x, leaf, sizes, *offset = inputs
    numbers = equation.params["ragged_dot_dimension_numbers"]
    (gone, contracted), (_, batch) = numbers.dot_dimension_numbers
    (ragged,), grouped = numbers.lhs_ragged_dimensions, numbers.rhs_group_dimensions
    lazy = isinstance(leaf, Factored) and not batch and not offset and ragged not in gone
    kinds = [leaf.labels[i] for i in contracted] if lazy else []
    if len(set(kinds)) != 1 or kinds[0] == STACK or leaf.labels[grouped[0]] != STACK:
        return product(equation, interpreter.dense(inputs, name))
    x, sizes = jnp.asarray(interpreter.dense_one(x, name)), interpreter.dense_one(sizes, name)
    inward = kinds[0]
    outward = RIGHT if inward == LEFT else LEFT
    ends = jnp.cumsum(sizes)
    # Rows behind the last group give zeros, as a row of a group that is none does.
    group = jnp.searchsorted(ends, jnp.arange(x.shape[ragged], dtype=ends.dtype), side="right")
    x_axes = [leaf.weight.ndim + i for i in range(x.ndim)]
    row = x_axes[ragged]

    def of_rows(side: str) -> tuple[Array, list[int]]:
        axes = [*leaf.axes(side), RANK]
        place = axes.index(grouped[0])
        rows = jnp.take(leaf.factor(side), group, place, mode="fill", fill_value=0)
        return rows, [row if i == grouped[0] else i for i in axes]

    for x_axis, axis in zip(gone, contracted, strict=True):
        x_axes[x_axis] = axis
    factor, axes = of_rows(inward)
    reached = [a for a in dict.fromkeys((*x_axes, *axes)) if a not in contracted]
    ranks = contract(x.astype(wide(x)), x_axes, factor, axes, reached)
    factor, axes = of_rows(outward)
    free = [i for i in range(leaf.weight.ndim) if i not in (*contracted, *grouped)]
    out_axes = [a for a in x_axes if a not in contracted] + free
    delta = contract(ranks, reached, factor, axes, out_axes)
    aval: Any = equation.outvars[0].aval
    base = product(equation, (x, leaf.weight, sizes), preferred_element_type=wide(aval))
    return (base + delta.astype(base.dtype)).astype(aval.dtype)
