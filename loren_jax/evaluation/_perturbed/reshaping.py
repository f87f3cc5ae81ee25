"""Axes moved, merged, split, added and joined, as long as each stays with its factor."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn
from jaxtyping import Array

from loren_jax.evaluation._perturbed import sums
from loren_jax.evaluation._perturbed.interpreter import Interpreter, bind
from loren_jax.evaluation._perturbed.leaves import RANK, STACK, Factored, Noisy


def transpose(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Any order of axes."""
    (leaf,) = inputs
    order = equation.params["permutation"]
    if isinstance(leaf, Noisy):
        leaf = replace(leaf, order=tuple(leaf.order[i] for i in order))
        return leaf.settle() if leaf.direction.view.stack else leaf

    def move(factor: Array, side: str) -> Array:
        axes = [*leaf.axes(side), RANK]
        return jnp.transpose(factor, [axes.index(i) for i in (*order, RANK) if i in axes])

    return leaf.with_weight(bind(equation, (leaf.weight,)), move, (leaf.labels[i] for i in order))


def reshape(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Axes of one factor merged or split; NotImplemented where a new axis mixes both factors."""
    leaf, *dynamic = inputs
    if not isinstance(leaf, Factored) or dynamic or equation.params["dimensions"] is not None:
        return NotImplemented
    new_shape = tuple(equation.params["new_sizes"])
    groups = groups_of(leaf.shape, new_shape)
    labels: list[str] = [STACK] * len(new_shape)
    for old, new in groups:
        label = {leaf.labels[i] for i in old}
        if len(label) != 1:
            return NotImplemented
        for i in new:
            labels[i] = next(iter(label))

    def move(factor: Array, side: str) -> Array:
        # An old axis of length one belongs to no group and vanishes; a new one is the stack's.
        shape = [s for s, label in zip(new_shape, labels, strict=True) if label in (STACK, side)]
        return factor.reshape(*shape, factor.shape[-1])

    return leaf.with_weight(bind(equation, (leaf.weight,)), move, labels)


def groups_of(old: tuple[int, ...], new: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """The finest runs of old and new axes of equal size; axes of length one are in none.

    >>> groups_of((2, 3, 4), (6, 2, 2))
    [([0, 1], [0]), ([2], [1, 2])]
    """
    olds = [i for i, size in enumerate(old) if size != 1]
    news = [i for i, size in enumerate(new) if size != 1]
    groups = []
    while olds:
        a, b = [olds.pop(0)], [news.pop(0)]
        size_a, size_b = old[a[0]], new[b[0]]
        while size_a != size_b:
            if size_a < size_b:
                a.append(olds.pop(0))
                size_a *= old[a[-1]]
            else:
                b.append(news.pop(0))
                size_b *= new[b[-1]]
        groups.append((a, b))
    return groups


def broadcast_in_dim(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """New axes join the stack; the factors grow along them, not the product."""
    leaf, *dynamic = inputs
    if not isinstance(leaf, Factored) or dynamic:
        return NotImplemented
    shape, places = equation.params["shape"], equation.params["broadcast_dimensions"]
    labels = [STACK] * len(shape)
    for i, place in enumerate(places):
        if leaf.shape[i] == shape[place]:
            labels[place] = leaf.labels[i]

    def grow(factor: Array, side: str) -> Array:
        axes = leaf.axes(side)
        # An axis of length one that now grows joins the stack, so the other factor gets it as well.
        own = [i for i, label in enumerate(labels) if label in (STACK, side)]
        sizes = {places[i]: factor.shape[n] for n, i in enumerate(axes)}
        factor = factor.reshape(*(sizes.get(i, 1) for i in own), factor.shape[-1])
        return jnp.broadcast_to(factor, (*(shape[i] for i in own), factor.shape[-1]))

    return leaf.with_weight(bind(equation, (leaf.weight,)), grow, labels)


def stack(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Matrices put into a new stack."""
    first, axis = inputs[0], equation.params["axis"]
    if not _alike(inputs):
        return NotImplemented
    place = lambda side: sum(i < axis for i in first.axes(side))
    join = lambda _, side: jnp.stack([leaf.factor(side) for leaf in inputs], place(side))
    return _join(equation, inputs, join, (*first.labels[:axis], STACK, *first.labels[axis:]))


def concatenate(interpreter: Interpreter, equation: JaxprEqn, inputs: list[Any]) -> Any:
    """Layers put into a stack; anything else is a sum of what is padded."""
    first, axis = inputs[0], equation.params["dimension"]
    if not _alike(inputs) or first.labels[axis] != STACK:
        return sums.concatenate(interpreter, equation, inputs)
    place = lambda side: first.axes(side).index(axis)
    join = lambda _, side: jnp.concatenate([leaf.factor(side) for leaf in inputs], place(side))
    return _join(equation, inputs, join, first.labels)


def _alike(leaves: list[Any]) -> bool:
    """Whether all are factored in the same way, with the same rank."""
    return all(
        isinstance(leaf, Factored)
        and leaf.labels == leaves[0].labels
        and leaf.left.shape[-1] == leaves[0].left.shape[-1]
        for leaf in leaves
    )


def _join(equation: Any, leaves: list[Factored], join: Any, labels: tuple[str, ...]) -> Factored:
    name = "+".join(dict.fromkeys(leaf.name for leaf in leaves))
    weight = bind(equation, [leaf.weight for leaf in leaves])
    return replace(leaves[0], name=name).with_weight(weight, join, labels)
