"""What the leaves of a tree are called: to be read, and to draw noise by."""

from typing import Any

import jax

from loren_jax.types import PyTree

KeyPath = tuple


def path_names(path: KeyPath) -> tuple[str, ...]:
    """The names along a leaf's path that its noise is drawn by; `leaf_paths` has those to be read.

    An NNX `State` ends its paths in the attribute `.value`, a pure dict of the same parameters does
    not; dropping it gives both the same noise. It is dropped from every path, whatever is beside
    it, as the noise of a leaf is not to depend on what other leaves there are.
    """
    names = [jax.tree_util.keystr((entry,), simple=True) for entry in path]
    if path and isinstance(path[-1], jax.tree_util.GetAttrKey) and names[-1] == "value":
        names.pop()
    return tuple(names)


def leaf_paths(tree: PyTree) -> list[str]:
    """The path of every leaf, its names joined by slashes, in the order of the leaves.

    These are the names that masks, patterns and messages have. A last attribute `value` is part of
    them where it has siblings, as in an attention's `query`, `key` and `value`. Alone it is what an
    NNX `Variable` holds, and left out.

    >>> leaf_paths({"layers": {"kernel": 0.0, "bias": 0.0}})
    ['layers/bias', 'layers/kernel']
    """
    children: dict[KeyPath, set[Any]] = {}
    # What is empty is a child too: a leaf's name is not to depend on which others are masked.
    empty = lambda x: x is None or (isinstance(x, tuple | list | dict) and not x)
    for path, _ in jax.tree_util.tree_leaves_with_path(tree, is_leaf=empty):
        for depth, entry in enumerate(path):
            children.setdefault(path[:depth], set()).add(entry)

    def name(path: KeyPath) -> str:
        names = path_names(path)
        if len(names) < len(path) and len(children[path[:-1]]) > 1:
            names += ("value",)
        return "/".join(names)

    return [name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def without_value(path: str) -> str:
    """A path as journals and factors spelled it when a last `value` was left out of all paths.

    >>> without_value("attention/value"), without_value("attention/query")
    ('attention', 'attention/query')
    """
    *names, last = path.split("/")
    return "/".join(names) if last == "value" else path


def noise_paths(tree: PyTree) -> list[str]:
    """As `leaf_paths`, but by the names that the noise of the leaves is drawn by.

    Journals know leaves by them, also those of versions that had no other paths.

    >>> noise_paths({"layers": {"kernel": 0.0, "bias": 0.0}})
    ['layers/bias', 'layers/kernel']
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return ["/".join(path_names(path)) for path, _ in leaves]
