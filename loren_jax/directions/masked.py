"""Directions on some leaves only: the rest is neither perturbed nor updated."""

import fnmatch
from collections.abc import Callable, Sequence

import jax

from loren_jax import noise
from loren_jax.types import Mask, PyTree


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
