"""Directions on one block of leaves at a time: MeZO-BCD's block coordinate descent."""

import re
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int

from loren_jax import arguments, noise
from loren_jax.directions.masked import resolve_mask
from loren_jax.directions.matrices import AxesOf, MatrixView, view_of
from loren_jax.directions.structured import OneLayer, Zero
from loren_jax.types import Directions, Mask, PyTree

ORDERS = ("random", "cyclic", "ascending")


class BlockwiseState(NamedTuple):
    """Where in the blocks' order a run is; B blocks.

    Attributes:
      steps: steps taken.
      order: the present cycle's permutation of the blocks, `(B,)`.
      block: number of the block that the present step moves.
    """

    steps: Int[Array, ""]
    order: Int[Array, " B"]
    block: Int[Array, ""]


class _Case(NamedTuple):
    """Blocks of one structure.

    Attributes:
      moving: numbers of the leaves that belong to these blocks.
      always: of those that move with every block.
      depth: how many layers the moving leaves are stacks of, one block each; 0 for a single block
        of whole leaves.
    """

    moving: frozenset[int]
    always: frozenset[int]
    depth: int


def blockwise(
    directions: Directions,
    *,
    order: str = "random",
    blocks: Callable[[str], Hashable] | None = None,
    always: Mask | None = None,
    matrix_axes: AxesOf | None = None,
) -> Directions:
    """Restricts `directions` to one block of leaves a step; each is moved once a cycle.

    The leaves of a block share a label. Leaves of one label that are all stacks of equally many
    layers are one block a layer, whose number is traced: one program serves them all. By default
    the labels are `"embedding"` for a path with `embed` in it, the path up to its first number
    (`"layers/3"`), the first name for stacked leaves, and `"head"` for everything else.

    Args:
      directions: what to restrict; directions without state.
      order: `"random"`, a new permutation each cycle; `"cyclic"`, one permutation for the run;
        `"ascending"`, from the embedding through the layers to the head.
      blocks: `path -> label`, in place of the default; blocks ascend in order of appearance.
      always: leaves that every step moves, as a new head; a mask or a function of the path.
      matrix_axes: as for the directions; tells which leaves are stacks.

    Returns:
      Directions whose state is three small arrays.

    Raises:
      ValueError: an unknown order, or directions that have a state.

    >>> from loren_jax.directions.isotropic import isotropic
    >>> params = {"embedding": jnp.zeros((4, 2)), "layers": {"kernel": jnp.zeros((3, 2, 2))}}
    >>> some = blockwise(isotropic(), order="ascending")
    >>> some.init(params, noise.run_key(0)).order.tolist()
    [0, 1, 2, 3]
    """
    arguments.choice("order", order, ORDERS)

    def plan(params: PyTree) -> list[_Case]:
        return _plan(params, blocks, always, matrix_axes)

    def size(params: PyTree) -> int:
        return sum(max(1, case.depth) for case in plan(params))

    def init(params, key):
        if jax.tree.leaves(directions.init(params, key)):
            raise ValueError(
                "directions must be without state, as isotropic() is: what one block learns cannot "
                "be kept for another."
            )
        number = size(params)
        every = jnp.arange(number) if order == "ascending" else _permutation(key, number)
        return BlockwiseState(jnp.zeros((), jnp.int32), every, every[:1].sum())

    def refresh(state, params, key):
        number, place = len(state.order), state.steps % max(1, len(state.order))
        every = state.order
        if order == "random":
            every = jnp.where(place == 0, _permutation(key, number), every)
        steps = jnp.asarray(optax.safe_increment(state.steps))
        return BlockwiseState(steps, every, every[place])

    def cases(state, params):
        every = plan(params)
        starts = np.cumsum([0, *(max(1, case.depth) for case in every)])
        number = jnp.sum(state.block >= jnp.asarray(starts[1:-1]), dtype=jnp.int32)
        return number, [
            _restricted(directions, case, state.block - int(start))
            for case, start in zip(every, starts[:-1], strict=True)
        ]

    def unreachable(*_: Any) -> Any:
        raise TypeError("blockwise directions are drawn and absorbed through their cases.")

    return Directions(init, refresh, unreachable, unreachable, cases, directions.linear)


def _plan(params: PyTree, blocks: Any, always: Mask | None, matrix_axes: Any) -> list[_Case]:
    """The cases, in ascending order; leaves that always move are in each."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
    kept = [False] * len(leaves)
    if always is not None:
        kept = treedef.flatten_up_to(resolve_mask(always, params))
    labels: dict[Hashable, list[int]] = {}
    views = [view_of(path, leaf, matrix_axes) for path, leaf in leaves]
    for i, name in enumerate(noise.leaf_paths(params)):
        if not kept[i]:
            label = _default_label(name, views[i]) if blocks is None else blocks(name)
            labels.setdefault(label, []).append(i)
    ascending = sorted(labels, key=_rank) if blocks is None else list(labels)
    fixed = frozenset(i for i, flag in enumerate(kept) if flag)
    groups = [labels[label] for label in ascending] or [[]]
    return [_Case(frozenset(g), fixed, _depth([views[i] for i in g])) for g in groups]


def _depth(views: list[MatrixView]) -> int:
    """How many layers the leaves are stacks of; 0 where they are not all alike."""
    depths = {view.shape[0] if view.stack_leads else 0 for view in views}
    return depths.pop() if len(depths) == 1 else 0


def _default_label(path: str, view: MatrixView) -> str:
    numbered = re.match(r"(?:.*?/)?\d+(?=/|$)", path)
    if numbered:
        return numbered.group()
    if "embed" in path.lower():
        return "embedding"
    return path.split("/")[0] if view.stack_leads else "head"


def _rank(label: Hashable) -> tuple[int, list[Any]]:
    """Embedding, layers by their numbers, head."""
    place = {"embedding": 0, "head": 2}.get(str(label), 1)
    return place, [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in str(label).split("/")]


def _permutation(key: Any, size: int) -> Int[Array, " size"]:
    (numbers,) = noise.normals(key, [noise.Stream((), "order", (), (size,))])
    return jnp.argsort(numbers)


def _restricted(directions: Directions, case: _Case, layer: Array) -> Directions:
    """The directions on the leaves of one case: whole, or layer `layer` of them."""

    def part(number: int, leaf: Any) -> Any:
        if number in case.always or (number in case.moving and not case.depth):
            return leaf
        if number in case.moving:
            return jax.ShapeDtypeStruct(jnp.shape(leaf)[1:], jnp.result_type(leaf))
        return optax.MaskedNode()

    def placed(number: int, leaf: Any, direction: Any) -> Any:
        if number in case.moving and case.depth:
            return OneLayer(direction, layer, _stacked(direction.view, case.depth))
        if number in case.moving | case.always:
            return direction
        return Zero.like(leaf)

    def draw(state, params, key):
        leaves, treedef = jax.tree.flatten(params)
        parts = treedef.unflatten([part(i, leaf) for i, leaf in enumerate(leaves)])
        drawn = treedef.flatten_up_to(directions.draw(state, parts, key))
        pairs = enumerate(zip(leaves, drawn, strict=True))
        return treedef.unflatten([placed(i, leaf, direction) for i, (leaf, direction) in pairs])

    # What is drawn for a leaf knows how to be summed, one layer of it or none.
    keep = lambda state, params, key: state
    init = lambda params, key: ()
    return Directions(init, keep, draw, directions.absorb, linear=directions.linear)


def _stacked(view: MatrixView, depth: int) -> MatrixView:
    """The view of a stack of `depth` such layers."""
    behind = lambda axes: tuple(i + 1 for i in axes)
    split = ((), *view.split) if view.split else ()
    return MatrixView((depth, *view.shape), behind(view.fan_in), behind(view.fan_out), split)
