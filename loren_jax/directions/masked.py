"""Directions on some leaves only: the rest is neither perturbed nor updated."""

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from loren_jax import noise
from loren_jax.directions.structured import Zero
from loren_jax.types import Directions, Mask, PyTree


def resolve_mask(mask: Mask, params: PyTree) -> PyTree:
    """The mask as a pytree of bools like `params`.

    Args:
      mask: a pytree of bools, or a function of a leaf's path such as `"layers/up/kernel"`.
      params: the parameters.

    Returns:
      A pytree of Python bools; True is trained.

    Raises:
      ValueError: the mask's structure is not that of `params`, or it holds something but bools.

    >>> resolve_mask(lambda path: "bias" in path, {"bias": 1.0, "kernel": 2.0})
    {'bias': True, 'kernel': False}
    """
    if callable(mask):
        name = lambda path: "/".join(noise.path_names(path))
        return jax.tree_util.tree_map_with_path(lambda path, _: bool(mask(name(path))), params)
    if jax.tree.structure(mask) != jax.tree.structure(params):
        raise ValueError(
            f"mask has the structure {jax.tree.structure(mask)}, params has "
            f"{jax.tree.structure(params)}: give one bool for each leaf, or a function of its path."
        )
    if not all(isinstance(leaf, bool) for leaf in jax.tree.leaves(mask)):
        raise ValueError("mask must hold Python bools: True is trained, False is frozen.")
    return mask


def matching(patterns: Sequence[str], params: PyTree, argument: str) -> Callable[[str], bool]:
    """A mask of the leaves whose path matches a pattern.

    Args:
      patterns: shell patterns such as `head/*` or `*/bias`; `*` also matches slashes.
      params: the parameters, to make sure that every pattern matches a leaf.
      argument: what to call the patterns in the error.

    Returns:
      A function of a leaf's path.

    Raises:
      ValueError: a pattern matches nothing; the message lists the paths.

    >>> mask = matching(["head/*"], {"head": {"bias": 0.0}, "body": 0.0}, "trainable")
    >>> mask("head/bias"), mask("body")
    (True, False)
    """
    paths = noise.leaf_paths(params)
    for pattern in patterns:
        if not fnmatch.filter(paths, pattern):
            raise ValueError(
                f"{argument}: {pattern!r} matches no parameter; they are {', '.join(paths)}"
            )
    return lambda path: any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def masked(directions: Directions, mask: Mask | None) -> Directions:
    """Restricts `directions` to the leaves where the mask is True.

    The other leaves get `Zero` directions, no state and an estimate of zero. They may be of any
    dtype. The noise of the trained leaves is the same with and without a mask.

    Args:
      directions: what to restrict.
      mask: a pytree of bools like the parameters, or a function of a leaf's path; None trains all.

    Returns:
      Directions on the whole tree.

    >>> from loren_jax.directions.isotropic import isotropic
    >>> params = {"bias": jnp.zeros(2), "kernel": jnp.zeros((2, 2))}
    >>> some = masked(isotropic(), lambda path: path == "bias")
    >>> drawn = some.draw(some.init(params, noise.run_key(0)), params, noise.run_key(1))
    >>> type(drawn["bias"]).__name__, type(drawn["kernel"]).__name__
    ('Dense', 'Zero')
    """
    if mask is None:
        return directions

    def trained(params):
        keep = lambda flag, leaf: leaf if flag else optax.MaskedNode()
        return jax.tree.map(keep, resolve_mask(mask, params), params)

    def init(params, key):
        kept = trained(params)
        if jax.tree.leaves(params) and not jax.tree.leaves(kept):
            raise ValueError(
                "mask leaves no trainable leaf: nothing would be perturbed. It must be True for "
                "at least one leaf of params."
            )
        return directions.init(kept, key)

    def fill(params, tree, make) -> Any:
        choose = lambda flag, leaf, node: node if flag else make(leaf)
        return jax.tree.map(choose, resolve_mask(mask, params), params, tree)

    def draw(state, params, key):
        drawn = directions.draw(state, trained(params), key)
        return fill(params, drawn, Zero.like)

    def absorb(state, params, drawn, coefficients, into=None):
        flags = resolve_mask(mask, params)
        keep = lambda flag, node: node if flag else optax.MaskedNode()
        some = lambda tree: jax.tree.map(keep, flags, tree)
        target = None if into is None else some(into)
        sums, state = directions.absorb(state, some(params), some(drawn), coefficients, target)
        if into is None:
            return fill(params, sums, jnp.zeros_like), state
        return jax.tree.map(lambda flag, new, old: new if flag else old, flags, sums, into), state

    def cases(state, params):
        number, inner = directions.cases(state, trained(params))  # pyrefly: ignore[not-callable]
        return number, [masked(case, mask) for case in inner]

    return Directions(
        init=init,
        refresh=lambda state, params, key: directions.refresh(state, trained(params), key),
        draw=draw,
        absorb=absorb,
        cases=None if directions.cases is None else cases,
    )
