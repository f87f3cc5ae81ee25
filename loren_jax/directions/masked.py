"""Masks: which leaves are trained; the rest is neither perturbed nor updated."""

import contextlib
import fnmatch
from collections.abc import Callable, Sequence

import jax
import numpy as np
import optax

from loren_jax import noise
from loren_jax.types import Mask, PyTree


def resolve_mask(mask: Mask, params: PyTree) -> PyTree:
    """The mask as a pytree of bools like `params`.

    Args:
      mask: a pytree of bools; a function of a leaf's path such as `"layers/up/kernel"`, to a bool;
        or, as Optax's masks, a function of the parameters, to a pytree of bools. A function is
        called with the tree first, and counts as one of the path if that gives no tree of bools.
      params: the parameters.

    Returns:
      A pytree of Python bools; True is trained.

    Raises:
      ValueError: the mask gives anything but a bool for each leaf.

    >>> resolve_mask(lambda path: "bias" in path, {"bias": 1.0, "kernel": 2.0})
    {'bias': True, 'kernel': False}
    >>> resolve_mask(lambda params: jax.tree.map(lambda x: x > 1, params), {"a": 1.0, "b": 2.0})
    {'a': False, 'b': True}
    """
    # A module of bools may be callable too, but it is no leaf.
    if not (callable(mask) and jax.tree_util.treedef_is_leaf(jax.tree.structure(mask))):
        return _of_bools(mask, params)
    forms = {"for the tree it": _of_tree, "for a path it": _of_paths}
    if jax.tree_util.treedef_is_leaf(jax.tree.structure(params)):
        forms = dict(reversed(forms.items()))  # one bool might be meant as either
    said = []
    for form, resolve in forms.items():
        try:
            return resolve(mask, params)
        except Exception as error:  # whatever a function raises that is given what it cannot take
            said.append(f"{form} {_first_line(error)}")
    raise ValueError(
        f"mask is a function of neither form ({'; '.join(said)}): return True or False for a path "
        "such as 'layers/up/kernel', or for params a tree of bools like it."
    )


class _NoBoolError(ValueError):
    """What a mask gave that is no bool."""


def _of_tree(mask: Mask, params: PyTree) -> PyTree:
    flags = mask(params)
    if jax.tree.structure(flags) != jax.tree.structure(params):
        raise _NoBoolError(f"returned {flags!r}")
    return _of_bools(flags, params)


def _of_paths(mask: Mask, params: PyTree) -> PyTree:
    flags = []
    for path in noise.leaf_paths(params):
        flags.append(mask(path))
        if not isinstance(flags[-1], bool | np.bool_):
            raise _NoBoolError(f"returned {flags[-1]!r} at {path!r}")
    return jax.tree.unflatten(jax.tree.structure(params), map(bool, flags))


def _of_bools(flags: PyTree, params: PyTree) -> PyTree:
    # What `optax.partition` gives to another branch is no leaf here, but the mask may know of it.
    gone = lambda leaf: isinstance(leaf, optax.MaskedNode)
    with contextlib.suppress(ValueError, TypeError):
        pick = lambda leaf, flag: leaf if gone(leaf) else flag
        flags = jax.tree.map(pick, params, flags, is_leaf=gone)
    if jax.tree.structure(flags) != jax.tree.structure(params):
        raise ValueError(
            f"mask has the structure {jax.tree.structure(flags)}, params has "
            f"{jax.tree.structure(params)}: give one bool for each leaf, or a function of its path."
        )
    other = [x for x in jax.tree.leaves(flags) if not isinstance(x, bool | np.bool_)]
    if other:
        raise _NoBoolError(
            f"mask must hold Python bools, not {other[0]!r}: True is trained, False is frozen."
        )
    return jax.tree.map(bool, flags)


def _first_line(error: Exception) -> str:
    kind = "" if isinstance(error, _NoBoolError) else f"raised {type(error).__name__}: "
    line = f"{kind}{error}".split("\n", 1)[0]
    return line if len(line) < 120 else f"{line[:117]}..."


def matching(patterns: Sequence[str], params: PyTree, argument: str) -> Callable[[str], bool]:
    """A mask of the leaves whose path matches a shell pattern, whose `*` matches slashes too.

    Raises:
      ValueError: a pattern matches nothing in `params`; the message lists the paths.

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
