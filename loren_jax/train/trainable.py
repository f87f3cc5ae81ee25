"""Which parameters are trained, by patterns on their paths."""

import fnmatch
from collections.abc import Callable, Sequence

import jax

from loren_jax.types import PyTree


def trainable_mask(patterns: Sequence[str], params: PyTree) -> Callable[[str], bool]:
    """A mask, as the optimisers take it, of the parameters that match a pattern.

    Args:
        patterns: Shell patterns such as `classifier/*` or `*/bias`; `*` also matches slashes.
        params: The parameters, to make sure that every pattern matches something.

    Returns:
        A function of a parameter's path.

    Raises:
        ValueError: If a pattern matches nothing; the message lists the paths.

    Example:
        >>> mask = trainable_mask(["head/*"], {"head": {"bias": 0.0}, "body": {"bias": 0.0}})
        >>> mask("head/bias"), mask("body/bias")
        (True, False)
    """
    paths = leaf_paths(params)
    for pattern in patterns:
        if not fnmatch.filter(paths, pattern):
            raise ValueError(
                f"trainable: {pattern!r} matches no parameter; they are {', '.join(paths)}"
            )
    return lambda path: any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def leaf_paths(params: PyTree) -> list[str]:
    """The path of every leaf, with slashes.

    Example:
        >>> leaf_paths({"layers": {"kernel": 0.0, "bias": 0.0}})
        ['layers/bias', 'layers/kernel']
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


def parameter_counts(mask: Callable[[str], bool], params: PyTree) -> tuple[int, int]:
    """How many numbers are trained, and how many there are.

    Args:
        mask: A function of a parameter's path.
        params: The parameters.

    Returns:
        The trained and the total number.
    """
    leaves = zip(leaf_paths(params), jax.tree.leaves(params), strict=True)
    sizes = {path: leaf.size for path, leaf in leaves}
    return sum(size for path, size in sizes.items() if mask(path)), sum(sizes.values())
