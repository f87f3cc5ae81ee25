"""Random numbers, identified by (run, step, query, leaf path, layer index).

The one module that calls `jax.random`. A draw's identity never depends on the order or number of
the other leaves, nor on how the queries run: adding a leaf leaves the noise of all others as it
was, two leaves of equal shape share nothing, and `vmap`, loop, `scan` and sharding give the same
bits. That last promise holds for threefry keys alone (`rbg` draws other numbers under `vmap`), so
no other generator is taken.
"""

import hashlib
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, Key

GENERATOR = "threefry2x32"

KeyPath = tuple


def run_key(key: "int | Integer[Array, ''] | Key[Array, '']") -> Key[Array, ""]:
    """The key of a whole run, from a seed or a typed key.

    Args:
      key: an integer seed, traced or not, or a typed threefry key.

    Returns:
      A typed threefry key.

    Raises:
      ValueError: a key of another generator.

    >>> run_key(0).dtype
    key<fry>
    """
    dtype = getattr(key, "dtype", None)
    if dtype is None or not jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        return jax.random.key(key, impl=GENERATOR)
    if str(jax.random.key_impl(key)) != GENERATOR:
        raise ValueError(
            f"key uses the generator {jax.random.key_impl(key)}, which draws other numbers under "
            f"vmap than in a loop: pass an integer or jax.random.key(seed, impl={GENERATOR!r})."
        )
    return key


def fold(key: Key[Array, ""], data: "int | Integer[Array, '']") -> Key[Array, ""]:
    """A key for one member of a numbered family: a step, a query, a layer."""
    return jax.random.fold_in(key, data)


def fold_all(key: Key[Array, ""], shape: tuple[int, ...]) -> Key[Array, "*shape"]:
    """Keys of all members of a family, numbered in row-major order.

    >>> fold_all(run_key(0), (2, 3)).shape
    (2, 3)
    """
    numbers = jnp.arange(math.prod(shape), dtype=jnp.uint32)
    return jax.vmap(lambda number: fold(key, number))(numbers).reshape(shape)


def fold_name(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """A key for a named stream, by 64 bits of a hash that is the same on every machine."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    for word in (digest[:4], digest[4:]):
        key = jax.random.fold_in(key, int.from_bytes(word, "little"))
    return key


def leaf_key(key: Key[Array, ""], path: KeyPath) -> Key[Array, ""]:
    """A key for the leaf at `path`, whatever other leaves there are."""
    return fold_name(key, "\x1f".join(path_names(path)))


def path_names(path: KeyPath) -> tuple[str, ...]:
    """The names along a leaf's path.

    An NNX `State` ends its paths in the attribute `.value`, a pure dict of the same parameters does
    not; dropping it gives both the same noise.
    """
    names = [jax.tree_util.keystr((entry,), simple=True) for entry in path]
    if path and isinstance(path[-1], jax.tree_util.GetAttrKey) and names[-1] == "value":
        names.pop()
    return tuple(names)


def normal(key: Key[Array, ""], shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Standard normal numbers, always drawn in float32 so that no dtype changes them."""
    return jax.random.normal(key, shape, jnp.float32)
