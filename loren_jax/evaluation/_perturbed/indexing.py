"""Rows, layers and slices of a perturbed leaf: `gather`, `slice`, `dynamic_slice`, `squeeze`."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from loren_jax.evaluation._perturbed.interpreter import Interpreter, Rule, bind
from loren_jax.evaluation._perturbed.leaves import (
    LEFT,
    RANK,
    RIGHT,
    STACK,
    Factored,
    Noisy,
    contract,
    dense,
    is_perturbed,
)
from loren_jax.precision import wide

_CLAMPED = (jax.lax.GatherScatterMode.CLIP, jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS)


def _in_own_order(rule: Rule) -> Rule:
    """A rule that has to find the weight's axes in their order."""

    def apply(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
        settle = lambda x: x.settle() if isinstance(x, Noisy) and x.transposed else x
        return rule(interpreter, equation, [settle(x) for x in inputs])

    return apply


@_in_own_order
def gather(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Whole rows along some axes, as of an embedding, from the weight and the factors' own rows."""
    leaf, indices = inputs
    if not is_perturbed(leaf):
        return NotImplemented
    equation, indices = _index_paired_axes(equation, indices)
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    indexed = numbers.start_index_map
    if sorted(numbers.collapsed_slice_dims) != sorted(indexed):
        return _windows(interpreter, equation, leaf, indices)
    whole = all(sizes[i] == (1 if i in indexed else leaf.shape[i]) for i in range(len(sizes)))
    if not whole:
        return NotImplemented
    if isinstance(leaf, Noisy):
        return _draw_rows(equation, leaf, indices)
    weight = bind(equation, (leaf.weight, indices))
    kept = [i for i in range(len(leaf.labels)) if i not in indexed]
    batch = [len(leaf.labels) + i for i in range(indices.ndim - 1)]
    rest = iter(kept)
    before = iter(batch)
    out_axes = [next(rest if i in numbers.offset_dims else before) for i in range(weight.ndim)]
    left, left_axes = _rows(equation, leaf, LEFT, indices, batch)
    right, right_axes = _rows(equation, leaf, RIGHT, indices, batch)
    stacks = all(leaf.labels[i] == STACK for i in indexed)
    if not batch or (stacks and out_axes[: len(batch)] == batch):
        labels = (STACK,) * len(batch) + tuple(leaf.labels[i] for i in kept)
        return replace(leaf, weight=weight, left=left, right=right, labels=labels)
    delta = contract(left, left_axes, right, right_axes, out_axes)
    return (weight.astype(wide(weight)) + delta).astype(weight.dtype)


def _index_paired_axes(equation: JaxprEqn, indices: Array) -> tuple[JaxprEqn, Array]:
    """Axes along which the indices go with the weight, as in `take_along_axis`, as indexed ones."""
    numbers = equation.params["dimension_numbers"]
    paired = numbers.operand_batching_dims
    if not paired:
        return equation, indices
    indices = indices.astype(jnp.promote_types(indices.dtype, jnp.int32))
    number = lambda i: jax.lax.broadcasted_iota(indices.dtype, (*indices.shape[:-1], 1), i)
    own = map(number, numbers.start_indices_batching_dims)
    numbers = jax.lax.GatherDimensionNumbers(
        offset_dims=numbers.offset_dims,
        collapsed_slice_dims=tuple(sorted((*numbers.collapsed_slice_dims, *paired))),
        start_index_map=(*paired, *numbers.start_index_map),
    )
    params = equation.params | {"dimension_numbers": numbers, "indices_are_sorted": False}
    return equation.replace(params=params), jnp.concatenate([*own, indices], -1)


def _windows(interpreter: Interpreter, equation: JaxprEqn, leaf: Any, indices: Array) -> Any:
    """Neighbouring rows, as `vmap` makes of slices whose places are traced: as many rows alone."""
    numbers, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    if equation.params["mode"] not in _CLAMPED:
        return NotImplemented
    # A slice as long as its axis can begin at its start alone.
    rows = [i for i in numbers.start_index_map if sizes[i] != leaf.shape[i]]
    gone = set(numbers.collapsed_slice_dims)
    whole = [i for i in range(len(sizes)) if i not in rows]
    if not rows or gone - set(rows):
        return NotImplemented
    places = jnp.stack([indices[..., numbers.start_index_map.index(i)] for i in rows], axis=-1)
    last = np.array([leaf.shape[i] - sizes[i] for i in rows], places.dtype)
    # Ranks are said, as a user may have told JAX to raise where they are not.
    places = jnp.clip(places, 0, jnp.broadcast_to(last, places.shape))
    wide_rows = [i for i in rows if i not in gone]
    for i in wide_rows:
        step = np.zeros((sizes[i], len(rows)), places.dtype)
        step[:, rows.index(i)] = np.arange(sizes[i])
        places = places[..., None, :] + step.reshape((1,) * (places.ndim - 1) + step.shape)
    batch = indices.ndim - 1
    before = [*range(batch), *wide_rows, *whole]  # of the batch by number, then of the leaf
    single = equation.replace(
        params=equation.params
        | {
            "dimension_numbers": jax.lax.GatherDimensionNumbers(
                offset_dims=tuple(range(batch + len(wide_rows), len(before))),
                collapsed_slice_dims=tuple(sorted(rows)),
                start_index_map=tuple(rows),
            ),
            "slice_sizes": tuple(1 if i in rows else s for i, s in enumerate(sizes)),
        }
    )
    found = gather(interpreter, single, [leaf, places])
    if found is NotImplemented:
        return NotImplemented
    of_leaf = iter(i for i in range(len(sizes)) if i not in gone)
    of_batch = iter(range(batch))
    order = [
        batch + before[batch:].index(next(of_leaf))
        if axis in numbers.offset_dims
        else next(of_batch)
        for axis in range(len(before))
    ]
    return found if order == list(range(len(order))) else jnp.transpose(dense(found), order)


def _draw_rows(equation: JaxprEqn, leaf: Noisy, indices: Array) -> Any:
    """Fan-in vectors of the indexed fan-out units alone, as of the tokens of a batch."""
    view, numbers = leaf.direction.view, equation.params["dimension_numbers"]
    few = indices[..., 0].size < view.m
    if view.stack or len(view.fan_out) != 1:
        return NotImplemented
    if numbers.start_index_map != view.fan_out or not few:
        return NotImplemented
    rows = bind(equation, (leaf.weight, indices))
    units = jnp.clip(indices[..., 0], 0, view.m - 1)
    y = leaf.direction.rows(units.reshape(-1))
    y = y.reshape(*units.shape, *(view.shape[i] for i in view.fan_in))
    # Behind the batch stand the fan-in axes, in the leaf's order; then each goes to its place.
    batch = range(units.ndim)
    y = jnp.transpose(y, [*batch, *(units.ndim + i for i in np.argsort(view.fan_in))])
    y = jnp.moveaxis(y, [units.ndim + i for i in range(len(view.fan_in))], numbers.offset_dims)
    if leaf.direction.std is not None:
        y = y * bind(equation, (leaf.direction.std, indices))
    if equation.params["mode"] == jax.lax.GatherScatterMode.FILL_OR_DROP:
        found = (indices[..., 0] >= 0) & (indices[..., 0] < view.m)
        y = jnp.where(jnp.expand_dims(found, numbers.offset_dims), y, 0.0)
    value = rows.astype(wide(rows)) + leaf.scale * y
    return value.astype(leaf.weight.dtype).astype(leaf.dtype)


def _rows(
    equation: JaxprEqn, leaf: Factored, side: str, indices: Array, batch: list[int]
) -> tuple[Array, list[int]]:
    """The rows of one factor, index axes first, and the numbers of its axes."""
    factor, axes = leaf.factor(side), leaf.axes(side)
    indexed = equation.params["dimension_numbers"].start_index_map
    columns = [n for n, i in enumerate(indexed) if i in axes]
    if not columns:
        return factor, [*axes, RANK]
    places = tuple(axes.index(indexed[n]) for n in columns)
    kept = [i for i in axes if i not in indexed]
    rows = jax.lax.gather(
        factor,
        indices[..., np.asarray(columns)],
        jax.lax.GatherDimensionNumbers(
            offset_dims=tuple(range(len(batch), len(batch) + len(kept) + 1)),
            collapsed_slice_dims=tuple(sorted(places)),
            start_index_map=places,
        ),
        slice_sizes=tuple(1 if i in places else s for i, s in enumerate(factor.shape)),
        mode=equation.params["mode"],
        # Where the weight gives its fill value nothing is perturbed, whatever that value is.
        fill_value=0,
    )
    return rows, [*batch, *kept, RANK]


@_in_own_order
def slice_(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """A static slice; for noise, of the stack's axes alone."""
    (leaf,) = inputs
    starts, limits = equation.params["start_indices"], equation.params["limit_indices"]
    strides = equation.params["strides"] or (1,) * len(starts)
    cut = lambda x, axes: x[
        tuple(slice(starts[i], limits[i], strides[i]) if i >= 0 else slice(None) for i in axes)
    ]
    weight = bind(equation, (leaf.weight,))
    return _cut(leaf, weight, cut, [i for i, s in enumerate(leaf.shape) if s != weight.shape[i]])


@_in_own_order
def split(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """One axis cut into pieces, as of a joint query, key and value kernel."""
    (leaf,) = inputs
    axis = equation.params["axis"]
    ends = list(itertools.accumulate(int(size) for size in equation.params["sizes"]))
    pieces = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        piece = slice(start, end)
        cut = lambda x, axes, piece=piece: x[
            tuple(piece if i == axis else slice(None) for i in axes)
        ]
        pieces.append(_cut(leaf, cut(leaf.weight, range(leaf.weight.ndim)), cut, [axis]))
    return NotImplemented if NotImplemented in pieces else pieces


@_in_own_order
def rev(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Axes turned round; for noise, of the stack alone."""
    (leaf,) = inputs
    turned = equation.params["dimensions"]
    turn = lambda x, axes: jnp.flip(x, [n for n, i in enumerate(axes) if i in turned])
    return _cut(leaf, bind(equation, (leaf.weight,)), turn, list(turned))


@_in_own_order
def dynamic_slice(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """A slice whose place is traced, as one layer of a stack; for noise, of the stack alone."""
    leaf, *starts = inputs
    if not is_perturbed(leaf):
        return NotImplemented
    sizes = equation.params["slice_sizes"]
    zero = jnp.zeros_like(starts[0]) if starts else 0

    def cut(x: Array, axes: Sequence[int]) -> Array:
        start = [starts[i] if i >= 0 else zero for i in axes]
        size = [sizes[i] if i >= 0 else x.shape[n] for n, i in enumerate(axes)]
        # As the primitive has it: a place before the first row is the first, not one of the last.
        return jax.lax.dynamic_slice(x, start, size, allow_negative_indices=False)

    weight = bind(equation, (leaf.weight, *starts))
    return _cut(leaf, weight, cut, [i for i, s in enumerate(leaf.shape) if s != weight.shape[i]])


def _cut(
    leaf: Factored | Noisy,
    weight: Array,
    cut: Callable[[Array, list[int]], Array],
    changed: list[int],
) -> Any:
    """The leaf with the same cut made in its weight and in its structure."""
    if isinstance(leaf, Factored):
        return leaf.with_weight(weight, lambda x, side: cut(x, [*leaf.axes(side), RANK]))
    view = leaf.direction.view
    if any(i not in view.stack_axes for i in changed):
        return NotImplemented
    return leaf.with_weight(weight, replace(view, shape=weight.shape), cut)


@_in_own_order
def squeeze(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Axes of length one; for noise, of the stack alone."""
    (leaf,) = inputs
    gone = equation.params["dimensions"]
    weight = bind(equation, (leaf.weight,))
    drop = lambda x, axes: jnp.squeeze(x, [n for n, i in enumerate(axes) if i in gone])
    kept = [i for i in range(len(leaf.shape)) if i not in gone]
    if isinstance(leaf, Factored):
        labels = (leaf.labels[i] for i in kept)
        return leaf.with_weight(weight, lambda x, side: drop(x, leaf.axes(side)), labels)
    view = leaf.direction.view
    if any(i not in view.stack_axes for i in gone):
        return NotImplemented
    return leaf.with_weight(weight, view.arrange(kept), drop)
