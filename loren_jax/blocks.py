"""One block of parameters a step: MeZO-BCD's block coordinate descent around any optimiser.

A block is a part of the parameters that is chosen each step (see `loren_jax.parts`).
"""

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Int, Key

from loren_jax import arguments, noise
from loren_jax.directions.apart import apart
from loren_jax.directions.masked import resolve_mask
from loren_jax.directions.matrices import AxesOf, MatrixView, view_of
from loren_jax.estimators.auxiliary import replace_aux
from loren_jax.estimators.update_arguments import require_one, require_params, require_spelling
from loren_jax.evaluation._perturbed.one_layer import put_layer
from loren_jax.evaluation._sharded.layout import layers_of
from loren_jax.losses._per_example import behind
from loren_jax.parts import Part
from loren_jax.transformation import Update, ZerothOrder, form
from loren_jax.types import Mask, PyTree
from loren_jax.updates import cast_like

Order = Literal["random", "cyclic", "ascending"]


class BlockwiseState(NamedTuple):
    """State of `blockwise`; B blocks.

    Attributes:
      inner: the optimiser's own, which is the same whatever block it moves.
      steps: steps taken.
      order: the present cycle's permutation of the blocks, `(B,)`.
      block: number of the block that the latest step moved.
    """

    inner: PyTree
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

    def part(self, layer: Array) -> Part:
        """The leaves of a block: whole, or layer `layer` of them."""

        def take(number: int, leaf: Any) -> Any:
            if self.depth and number in self.moving:
                # A copy, apart from what updates the stack: a compiler that fuses a slice with that
                # copies the whole stack.
                one = lambda: jax.lax.dynamic_index_in_dim(leaf, layer, keepdims=False)
                return apart(one, layer)
            return leaf if number in self.moving | self.always else optax.MaskedNode()

        def put(number: int, leaf: Any, own: Any) -> Any:
            if self.depth and number in self.moving:
                return put_layer(leaf, own, layer)
            return own if number in self.moving | self.always else leaf

        def each(function: Callable[..., Any]) -> Callable[..., PyTree]:
            numbers = lambda tree: jax.tree.unflatten(tree, range(tree.num_leaves))
            return lambda params, *part: jax.tree.map(
                function, numbers(jax.tree.structure(params)), params, *part
            )

        return Part(each(take), each(put))


def blockwise(
    optimizer: ZerothOrder,
    *,
    order: Order = "random",
    blocks: Callable[[str], Hashable] | None = None,
    always: Mask | None = None,
    matrix_axes: AxesOf | None = None,
) -> ZerothOrder:
    """The optimiser on one block of leaves a step; each is moved once a cycle.

    The leaves of a block share a label. Leaves of one label that are all stacks of equally many
    layers are one block a layer, whose number is traced: one program serves them all. By default
    the labels are `"embedding"` for a path with `embed` in it, the path up to its first number
    (`"layers/3"`), the first name for stacked leaves, and `"head"` for everything else.

    Args:
      optimizer: of this library, without state of the parameters' shape, as `mezo` is.
      order: `"random"`, a new permutation each cycle; `"cyclic"`, one permutation for the run;
        `"ascending"`, from the embedding through the layers to the head.
      blocks: `path -> label`, in place of the default; blocks ascend in order of appearance.
      always: leaves that every step moves, as a new head; a mask or a function of the path.
      matrix_axes: `(path, shape) -> MatrixAxes`, as for the directions; tells which leaves are
        stacks. The directions are asked about single layers, so its axes are negative.

    Returns:
      An optimiser with a `BlockwiseState`.

    Raises:
      ValueError: an unknown order; in `init`, an optimiser with state that one block cannot keep
        for another.

    >>> import loren_jax
    >>> params = {"embedding": jnp.zeros((4, 2)), "layers": {"kernel": jnp.zeros((3, 2, 2))}}
    >>> blockwise(loren_jax.mezo(0.1), order="ascending").init(params).order.tolist()
    [0, 1, 2, 3]
    """
    arguments.choice("order", order, get_args(Order))
    return _Blockwise(optimizer, order, blocks, always, matrix_axes).transformation()


@dataclass(frozen=True)
class _Blockwise:
    """The arguments of `blockwise`, and what it does with them."""

    optimizer: ZerothOrder
    order: Order
    blocks: Callable[[str], Hashable] | None
    always: Mask | None
    matrix_axes: AxesOf | None

    def transformation(self) -> ZerothOrder:
        """The optimiser around the one of a block."""
        has = lambda name: form(self.optimizer, name)
        whole = Update(
            self.update,
            ask=self.ask,
            apply=self.apply if has("apply") else None,
            scheme=has("scheme"),
            passes=has("passes"),
            estimate=has("estimate") and replace(self, optimizer=has("estimate")).transformation(),
        )
        return ZerothOrder(self.init, whole)

    def init(self, params: PyTree) -> BlockwiseState:
        """The order of the blocks, and a state that knows of no parameters."""
        inner, cases = self.optimizer.init(()), self.plan(params)
        some = jax.eval_shape(lambda params: cases[0].part(jnp.int32(0)).take(params), params)
        of_some = jax.eval_shape(self.optimizer.init, some)
        if jax.tree.structure(of_some) != jax.tree.structure(inner):
            raise ValueError(
                "optimizer must have no state of the parameters' shape, as mezo(learning_rate) has "
                "none: what one block learns cannot be kept for another."
            )
        number = sum(max(1, case.depth) for case in cases)
        every = jnp.arange(number)
        if self.order != "ascending":
            every = _permutation(noise.fold_name(_run_key(inner), "init"), number)
        return BlockwiseState(inner, jnp.zeros((), jnp.int32), every, every[:1].sum())

    def update(self, updates, state, params=None, **given):
        """The updates of the block's leaves; zeros for the others."""
        params = require_params(params)

        def move(part, tree, inner, losses):
            some = part.take(params)
            own, inner = self.optimizer.update(updates, inner, some, losses=losses)
            return part.put(tree, cast_like(some, own)), inner

        # Negative zeros: with the others, a parameter of -0.0 would become 0.0.
        still = jax.tree.map(lambda leaf: jnp.full_like(leaf, -0.0), params)
        return self.step(move, still, state, params, **given)

    def apply(self, params, state, **given):
        """The parameters with the block moved, in place."""

        def move(part, params, inner, losses):
            some, inner = form(self.optimizer, "apply")(part.take(params), inner, losses=losses)
            return part.put(params, some), inner

        return self.step(move, params, state, params, **given)

    def ask(self, params, state, direction, point):
        """The parameters at which one loss is asked for."""
        state = self.advance(state)
        case, parts = self.choose(state, params)

        def at(part: Part) -> PyTree:
            some = self.optimizer.ask(part.take(params), state.inner, direction, point)
            return part.put(params, some)

        with layers_of(params):
            return jax.lax.switch(case, [lambda part=part: at(part) for part in parts])

    def step(self, move, tree, state, params, value_fn=None, losses=None, has_aux=False, **extra):
        """The tree after `move(part, tree, inner state, losses)` of the block, and the state."""
        require_spelling(extra)
        require_one(value_fn, losses, extra)
        state = self.advance(state)
        case, parts = self.choose(state, params)
        aux = optax.tree.zeros_like(optax.tree.get(state.inner, "aux"))
        carry = (tree, state.inner)
        with layers_of(params):
            if value_fn is not None:
                ask = lambda part: lambda: self.probe(part, state, params, value_fn, has_aux)
                losses, aux = jax.lax.switch(case, [*map(ask, parts)])
            for i, part in enumerate(parts):
                # A loop of one turn or none: unlike a branch it changes its carry in place, so the
                # leaves that a case does not touch cost nothing.
                turn = lambda _, carry, part=part: move(part, *carry, losses)
                carry = jax.lax.fori_loop(0, (case == i).astype(jnp.int32), turn, carry)
        tree, inner = carry
        return tree, state._replace(inner=replace_aux(inner, lambda _: aux))

    def probe(self, part, state, params, value_fn, has_aux):
        """Losses and auxiliary outputs; the rest of the step is not used, so it is left out."""
        loss = behind(value_fn, lambda some: part.put(params, some))
        some = part.take(params)
        _, after = self.optimizer.update(None, state.inner, some, value_fn=loss, has_aux=has_aux)
        return optax.tree.get(after, "losses"), optax.tree.get(after, "aux")

    def advance(self, state: BlockwiseState) -> BlockwiseState:
        """With the block of the coming step."""
        every, place = state.order, state.steps % max(1, len(state.order))
        if self.order == "random":
            key = noise.fold_name(noise.fold(_run_key(state.inner), state.steps), "refresh")
            every = jnp.where(place == 0, _permutation(key, len(every)), every)
        steps = jnp.asarray(optax.safe_increment(state.steps))
        return state._replace(steps=steps, order=every, block=every[place])

    def choose(self, state: BlockwiseState, params: PyTree) -> tuple[Array, list[Part]]:
        """Which case the block is of, and the part of each."""
        every = self.plan(require_params(params))
        starts = np.cumsum([0, *(max(1, case.depth) for case in every)])
        number = jnp.sum(state.block >= jnp.asarray(starts[1:-1]), dtype=jnp.int32)
        pairs = zip(every, starts[:-1], strict=True)
        return number, [case.part(state.block - int(start)) for case, start in pairs]

    def plan(self, params: PyTree) -> list[_Case]:
        """The cases, in ascending order; leaves that always move are in each."""
        leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
        kept = [False] * len(leaves)
        if self.always is not None:
            kept = treedef.flatten_up_to(resolve_mask(self.always, params))
        labels: dict[Hashable, list[int]] = {}
        views = [view_of(path, leaf, self.matrix_axes) for path, leaf in leaves]
        for i, name in enumerate(noise.leaf_paths(params)):
            if not kept[i]:
                label = _default_label(name, views[i]) if self.blocks is None else self.blocks(name)
                labels.setdefault(label, []).append(i)
        ascending = sorted(labels, key=_rank) if self.blocks is None else list(labels)
        fixed = frozenset(i for i, flag in enumerate(kept) if flag)
        groups = [labels[label] for label in ascending] or [[]]
        return [_Case(frozenset(g), fixed, _depth([views[i] for i in g])) for g in groups]


def _run_key(state: PyTree) -> Any:
    return noise.from_words(optax.tree.get(state, "key"))


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


def _permutation(key: Key[Array, ""], size: int) -> Int[Array, " size"]:
    (numbers,) = noise.normals(key, [noise.Stream((), "order", (), (size,))])
    return jnp.argsort(numbers)
