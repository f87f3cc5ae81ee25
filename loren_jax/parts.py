"""A part of the parameters that is trained: the rest is neither perturbed nor updated.

`trained` is the wrapper for a whole optimiser, with the same part at every step; `blockwise` (in
`loren_jax.blocks`) has another part each step. Where Optax has divided the parameters already, as
`optax.partition` does, `completed` gives a loss what is missing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from loren_jax.directions.masked import resolve_mask
from loren_jax.directions.structured import Zero
from loren_jax.losses._per_example import behind
from loren_jax.transformation import Update, ZerothOrder, form, update_of
from loren_jax.types import Mask, PyTree
from loren_jax.updates import no_update

FUNCTIONS = ("value_fn", "full_value_fn")
"""What `update` may be given that is a function of the parameters."""


class Part(NamedTuple):
    """Which numbers of a tree are trained, and how they are put back.

    A mask is a part, a block of one step is (`loren_jax.blocks`), and so are adapters:
    `loren_jax.lora.merge` is their `put`, and `lora.adapt` evaluates a function behind it without
    building the sum.

    Attributes:
      take: `tree -> part`, of a tree like the parameters.
      put: `(tree, part) -> tree`, with that part in its place.
    """

    take: Callable[[PyTree], PyTree]
    put: Callable[[PyTree, PyTree], PyTree]


def masked(mask: Mask, params: PyTree) -> Part:
    """The leaves where the mask is True; `optax.MaskedNode` stands for the others.

    Args:
      mask: see `trained`.
      params: the parameters.

    Returns:
      The part, of any tree like the parameters.

    >>> part = masked({"a": True, "b": False}, {"a": 1.0, "b": 2.0})
    >>> part.put({"a": 3.0, "b": 4.0}, part.take({"a": 5.0, "b": 6.0}))
    {'a': 5.0, 'b': 4.0}
    """
    flags = resolve_mask(mask, params)
    take = lambda flag, x: x if flag else optax.MaskedNode()
    put = lambda flag, x, own: own if flag else x
    return Part(
        take=lambda tree: jax.tree.map(take, flags, tree),
        put=lambda tree, part: jax.tree.map(put, flags, tree, part),
    )


def trained(optimizer: optax.GradientTransformation, mask: Mask | None) -> ZerothOrder:
    """The optimiser on those leaves alone where the mask is True.

    The others stay as they are to the bit and may be of any type: integers, random keys, packed
    codes. They get no noise, no state and no decay. The noise of the trained leaves is the same
    with and without a mask.

    Args:
      optimizer: an estimate or an optimiser of this library, or any chain around one.
      mask: a pytree of bools like the parameters, a function of a leaf's path, such as
        `"layers/up/kernel"`, or one of the tree; None trains all.

    Returns:
      An optimiser for the whole tree; the outermost wrapper, around whatever follows the estimate.

    Raises:
      ValueError: in `init`, the mask leaves no trainable leaf.

    >>> import jax.numpy as jnp
    >>> import loren_jax
    >>> params = {"steps": jnp.asarray([16777217]), "w": jnp.ones(3)}
    >>> optimizer = trained(loren_jax.mezo(0.1), lambda path: path == "w")
    >>> loss = lambda params: jnp.sum(params["w"] ** 2)
    >>> updates, _ = optimizer.update(None, optimizer.init(params), params, value_fn=loss)
    >>> int(optax.apply_updates(params, updates)["steps"][0])
    16777217
    """
    inner = optax.with_extra_args_support(optimizer)
    if mask is None:
        return ZerothOrder(inner.init, update_of(inner))

    def init(params: PyTree) -> PyTree:
        some = masked(mask, params).take(params)
        if jax.tree.leaves(params) and not jax.tree.leaves(some):
            raise ValueError(
                "mask leaves no trainable leaf: nothing would be perturbed. It must be True for "
                "at least one leaf of params."
            )
        return inner.init(some)

    def of_part(params: PyTree, given: dict[str, Any]) -> tuple[Part, dict[str, Any]]:
        """The part, and the arguments of a step with functions of it in place of all."""
        part = masked(mask, params)
        of_some = lambda function: behind(function, lambda some: part.put(params, some))
        wrap = {n: of_some(f) for n, f in given.items() if n in FUNCTIONS and callable(f)}
        return part, given | wrap

    def update(updates, state, params=None, **given):
        if params is None:
            return inner.update(updates, state, params, **given)
        part, given = of_part(params, given)
        some, state = inner.update(updates, state, part.take(params), **given)
        return part.put(jax.tree.map(no_update, params), some), state

    def ask(params, state, direction, point):
        part = masked(mask, params)
        some = form(optimizer, "ask")(part.take(params), state, direction, point)
        return part.put(params, some)

    def apply(params, state, **given):
        part, given = of_part(params, given)
        some, state = form(optimizer, "apply")(part.take(params), state, **given)
        return part.put(params, some), state

    def accumulate(state, params, into, factor, **given):
        part, given = of_part(params, given)
        whole = jax.tree.map(no_update, params) if into is None else into
        target = None if into is None else part.take(into)
        step = form(optimizer, "accumulate")
        some, state = step(state, part.take(params), target, factor, **given)
        return part.put(whole, some), state

    own = lambda function: function if form(optimizer, function.__name__) else None
    estimate: Any = form(optimizer, "estimate")
    rebuild: Any = form(optimizer, "rebuild")
    whole = Update(
        update,
        ask=own(ask),
        displacement=_displacement(form(optimizer, "displacement"), mask),
        accumulate=own(accumulate),
        apply=own(apply),
        scheme=form(optimizer, "scheme"),
        passes=form(optimizer, "passes"),
        estimate=estimate and trained(estimate, mask),
        rebuild=rebuild and (lambda axes: trained(rebuild(axes), mask)),
    )
    return ZerothOrder(init, whole)


def _displacement(function: Any, mask: Mask) -> Any:
    """The directions of the trained leaves, and none for the others; see `DisplacementFn`."""

    def displacement(params, state, direction, point):
        part = masked(mask, params)
        some, multiple = function(part.take(params), state, direction, point)
        return part.put(jax.tree.map(Zero.like, params), some), multiple

    return function and displacement


def completed(value_fn: Callable[[PyTree], Any], params: PyTree) -> Callable[[PyTree], Any]:
    """A loss of the leaves that an estimate is given by `optax.partition` or `optax.masked`.

    Both put `optax.MaskedNode` in the place of all other leaves.

    Args:
      value_fn: the loss of all parameters.
      params: all parameters, which the missing ones are taken from.

    Returns:
      A function of the parameters, some of them masked out.

    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import loren_jax
    >>> parts = {"forward": loren_jax.mezo(0.1), "backward": optax.sgd(0.1)}
    >>> optimizer = optax.partition(parts, {"a": "forward", "b": "backward"})
    >>> params = {"a": jnp.ones(3), "b": jnp.ones(2)}
    >>> loss = lambda params: jnp.sum(params["a"] ** 2) + jnp.sum(params["b"] ** 2)
    >>> gradient = {"a": np.zeros(3), "b": 2 * params["b"]}  # of `a` none is needed
    >>> state = optimizer.init(params)
    >>> value_fn = completed(loss, params)
    >>> updates, state = optimizer.update(gradient, state, params, value_fn=value_fn)
    >>> updates["b"]
    Array([-0.2, -0.2], dtype=float32)
    """
    masked = lambda node: isinstance(node, optax.MaskedNode)
    fill = lambda some, leaf: leaf if masked(some) else some
    return behind(value_fn, lambda some: jax.tree.map(fill, some, params, is_leaf=masked))
