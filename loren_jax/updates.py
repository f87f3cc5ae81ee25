"""The update of a leaf that is not trained: nothing, whatever the leaf is.

A zero would do for most floats. Of other leaves it would not: what follows in a chain multiplies it
by a float, and an integer above 2^24 that a float zero is added to is rounded, a random key refuses
the addition.
"""

from typing import Any

import jax
import jax.numpy as jnp

from loren_jax.types import Leaf, PyTree


class NoUpdate:
    """An update of no arrays, which `optax.apply_updates` adds to a leaf of any type.

    A pytree without leaves: transformations that follow pass it on untouched.

    >>> import optax
    >>> codes = {"codes": jnp.asarray([16777217])}
    >>> int(optax.apply_updates(codes, {"codes": NoUpdate()})["codes"][0])
    16777217
    """

    # NumPy and JAX leave the sum to `__radd__` then.
    __array_ufunc__ = None

    def __radd__(self, leaf: Leaf) -> Any:
        """The leaf itself."""
        return leaf

    def __eq__(self, other: object) -> bool:
        """One is as good as another."""
        return isinstance(other, NoUpdate)

    def __hash__(self) -> int:
        return hash(NoUpdate)

    def __repr__(self) -> str:
        return "NoUpdate()"


jax.tree_util.register_pytree_node(NoUpdate, lambda _: ((), None), lambda _, __: NoUpdate())


def no_update(leaf: Leaf) -> Any:
    """What leaves a leaf of any type as it is when it is added.

    Zeros where sums keep the leaf's type, as state of what follows is shaped like those; else
    `NoUpdate()`.
    """
    # Not `jnp.result_type` of all, which refuses float0.
    dtype = getattr(leaf, "dtype", None) or jnp.result_type(leaf)
    if jnp.issubdtype(dtype, jnp.floating) and dtype.itemsize > 1:
        # Negative zeros: with the others, a parameter of -0.0 would become 0.0.
        return jnp.full_like(leaf, -0.0)
    return NoUpdate()


def cast_like(params: PyTree, updates: PyTree) -> PyTree:
    """The updates in the parameters' types; those of float16 no larger than it holds.

    An estimate beyond 65504 would be infinite before a learning rate makes it small.
    """

    def cast(leaf: Leaf, own: jax.Array | NoUpdate) -> Any:
        if isinstance(own, NoUpdate):
            return own
        dtype = jnp.result_type(leaf)
        if dtype == jnp.float16:
            most = jnp.finfo(dtype).max.astype(own.dtype)
            own = jnp.clip(own, -most, most)
        return own.astype(dtype)

    return jax.tree.map(cast, params, updates)
