"""Where the operations register."""

from collections.abc import Callable
from typing import Any

import jax

from ..drafts import Operation

TABLE: dict[str, Operation] = {}


def operation(
    name: str, *covers: str, keeps: bool = False, wants: str = ""
) -> Callable[[Any], Any]:
    """Registers `(draft, value) -> (text, apply, operands)`; skips what this JAX does not have."""

    def register(make: Any) -> Any:
        wanted = covers or (name,)
        add(name, make, wanted, keeps, wants)
        return make

    return register


def add(
    name: str, make: Any, covers: tuple[str, ...], keeps: bool = False, wants: str = ""
) -> None:
    """The same, as a call."""
    there = [c for c in covers if exists(c)]
    if there:
        TABLE[name] = Operation(name, make, tuple(there), keeps, wants)


def exists(name: str) -> bool:
    """Whether this JAX has a function; `jax.lax`, or `linalg.` there, or a name outside it."""
    if name.startswith("jax."):
        return True
    if name.startswith("linalg."):
        return hasattr(jax.lax.linalg, name.removeprefix("linalg."))
    return hasattr(jax.lax, name)
