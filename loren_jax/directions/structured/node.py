"""What the kinds of direction share: registration as a pytree, and rounding into a leaf."""

from dataclasses import fields
from typing import Any, TypeVar

import jax
from jaxtyping import Array

from loren_jax.precision import wide

Kind = TypeVar("Kind")


def pytree(cls: type[Kind]) -> type[Kind]:
    """Registers a dataclass as a pytree: `view` is static, all else are children.

    Unflattening skips the constructor, as transformations rebuild nodes around things that are no
    arrays.
    """
    every = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    static = [name for name in every if name == "view"]
    names = [name for name in every if name != "view"]

    def flatten(node: Any) -> tuple[Any, Any]:
        children = tuple((jax.tree_util.GetAttrKey(n), getattr(node, n)) for n in names)
        return children, tuple(getattr(node, n) for n in static)

    def unflatten(views: Any, children: Any) -> Any:
        node = object.__new__(cls)
        for name, child in zip((*names, *static), (*children, *views), strict=True):
            object.__setattr__(node, name, child)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    return cls


def plus(into: Array | None, total: Array) -> Array:
    """The sum, rounded once; `total` alone if there is nothing to add it to."""
    return total if into is None else (into.astype(wide(into)) + total).astype(into.dtype)
