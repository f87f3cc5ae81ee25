"""Random numbers, identified by (run, step, query, leaf path, layer index).

The one module that calls `jax.random`. A draw's identity never depends on the order or number of
the other leaves, nor on how the queries run: adding a leaf leaves the noise of all others as it
was, two leaves of equal shape share nothing, and `vmap`, loop, `scan` and sharding give the same
bits. That last promise holds for threefry keys alone (`rbg` draws other numbers under `vmap`), so
no other generator is taken.

Nor do numbers depend on JAX's flags: `jax_threefry_partitionable` decides, when a program is
compiled, what `jax.random.normal` draws, and `jax_random_seed_offset` and `jax_enable_x64` what key
a seed is. So seeds become keys and bits become numbers here, by a generator of our own that gives
the same bits.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Integer, Key

from loren_jax import scheduling
from loren_jax.paths import KeyPath as KeyPath
from loren_jax.paths import leaf_paths as leaf_paths
from loren_jax.paths import noise_paths as noise_paths
from loren_jax.paths import path_names as path_names
from loren_jax.paths import without_value as without_value
from loren_jax.threefry import threefry

GENERATOR = "threefry2x32"

ROW = 128
"""Numbers that share a key: many beside the cost of a key, few beside a vector."""


def run_key(key: Any) -> Key[Array, ""]:
    """The key of a whole run, from a seed or a threefry key.

    Args:
      key: an integer seed, of which the lowest 32 bits count, or a threefry key, typed
        (`jax.random.key`) or raw (`jax.random.PRNGKey`); traced or not.

    Returns:
      A typed threefry key.

    Raises:
      TypeError: neither an integer nor a key.
      ValueError: a key of another generator, or more than one.

    >>> run_key(0).dtype
    key<fry>
    """
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", ())
    if dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        _require_replayable(str(jax.random.key_impl(key)))
        if shape:
            raise ValueError(f"key is an array of keys of shape {shape}: pass one of them, key[0].")
        return jnp.asarray(key)
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return _of_seed(np.uint32(int(key) % 2**32))
    if dtype is None or not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"key is {_what(key)}: {_PASS}.")
    if shape == ():
        return _of_seed(jnp.asarray(key).astype(jnp.uint32))
    if dtype == jnp.uint32 and shape == (2,):
        return from_words(jnp.asarray(key))
    if dtype == jnp.uint32 and shape == (4,):
        _require_replayable("rbg")
    raise ValueError(f"key is {_what(key)}, neither a seed nor one key: {_PASS}.")


def _of_seed(low: np.uint32 | Array) -> Key[Array, ""]:
    """The key that JAX makes of a seed by default, with 64-bit numbers switched off."""
    return from_words(jnp.stack([jnp.zeros((), jnp.uint32), jnp.asarray(low)]))


_PASS = "pass an integer seed, or a threefry key such as jax.random.key(0)"


def _what(key: Any) -> str:
    """What was given, in a few words."""
    dtype = getattr(key, "dtype", None)
    if dtype is not None:
        return f"an array of type {dtype} and shape {key.shape}"
    text = repr(key)
    return text if len(text) < 40 else f"a {type(key).__name__}"


def _require_replayable(name: str) -> None:
    if name != GENERATOR:
        raise ValueError(
            f"key uses the generator {name}, which draws other numbers under vmap than in a loop: "
            f"pass an integer or jax.random.key(seed, impl={GENERATOR!r})."
        )


def words(key: Key[Array, "..."]) -> Integer[Array, "... 2"]:
    """The numbers that keys are, as a branch or a file can hold them."""
    return jax.random.key_data(key)


def from_words(numbers: "Integer[Array, '... 2'] | Key[Array, '...']") -> Key[Array, "..."]:
    """The keys that these numbers are; keys are taken as they are."""
    if jax.dtypes.issubdtype(numbers.dtype, jax.dtypes.prng_key):
        return numbers
    return jax.random.wrap_key_data(numbers, impl=GENERATOR)


def fold(key: Key[Array, ""], data: "int | Integer[Array, '']") -> Key[Array, ""]:
    """A key for one member of a numbered family: a step, a query, a layer."""
    return _fold_words(key, 0, data)


def fold_all(key: Key[Array, ""], shape: tuple[int, ...]) -> Key[Array, "*shape"]:
    """Keys of all members of a family, numbered in row-major order.

    >>> fold_all(run_key(0), (2, 3)).shape
    (2, 3)
    """
    numbers = np.arange(math.prod(shape), dtype=np.uint32)
    return _fold_words(key, np.zeros_like(numbers), numbers).reshape(shape)


def fold_name(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """A key for a named purpose, the same on every machine."""
    return _fold_words(key, *np.array(_words(name), np.uint32))


def _fold_words(key: Key[Array, "..."], first: ArrayLike, second: ArrayLike) -> Key[Array, "..."]:
    """`fold` for 64 bits of data at once: one call of the generator, one piece of the program."""
    data = (jnp.asarray(word).astype(jnp.uint32) for word in (first, second))
    folded = threefry(_pair(key), tuple(data))
    return from_words(jnp.stack(folded, -1))


class Stream(NamedTuple):
    """What is drawn for one leaf under one name. Static.

    Attributes:
      path: names along the leaf's path.
      name: tells the leaf's streams apart, as its two factors.
      stack: shape of its stack of layers.
      shape: of one layer's numbers.
    """

    path: tuple[str, ...]
    name: str
    stack: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()


def layer_keys(key: Key[Array, ""], streams: Sequence[Stream]) -> list[Key[Array, "..."]]:
    """A key for each layer of each stream, `(*stack,)`, whatever other streams there are."""
    if not streams:
        return []
    number, layer, _ = _numbers_of(streams, 1)
    keys = _member_keys(key, streams, number, np.zeros_like(layer), layer)
    ends = np.cumsum([math.prod(stream.stack) for stream in streams])
    return [k.reshape(s.stack) for k, s in zip(_split(keys, ends), streams, strict=True)]


def normals(key: Key[Array, ""], streams: Sequence[Stream]) -> list[Float[Array, "..."]]:
    """Standard normal numbers for every layer of every stream, `(*stack, *shape)`, float32.

    All of them are cut from one array whose rows have keys of their own, by (path, name, layer,
    row): the generator is compiled once and not once a leaf, and still no stream knows of others.

    >>> streams = [Stream(("kernel",), "left", (2,), (3, 1)), Stream(("bias",), "vector", (), (4,))]
    >>> [x.shape for x in normals(run_key(0), streams)]
    [(2, 3, 1), (4,)]
    """
    if not streams:
        return []
    rows = [-(-math.prod(stream.shape) // ROW) for stream in streams]
    keys = _member_keys(key, streams, *_numbers_of(streams, rows))
    drawn = scheduling.in_blocks(_normal, keys, ROW)
    place, found = scheduling.unknown_zero(words(key)), []
    for count, stream in zip(rows, streams, strict=True):
        layout = {"rows": count, "stack": stream.stack, "shape": stream.shape}
        numbers, place = scheduling.by_itself(_cut, drawn, place, **layout)
        # Cut from an array that is sharded, it would have to be sent to where it belongs.
        found.append(scheduling.whole(numbers))
    return found


def _cut(
    drawn: Array, place: Array, *, rows: int, stack: tuple[int, ...], shape: tuple[int, ...]
) -> tuple[Float[Array, "..."], Integer[Array, ""]]:
    """The numbers of the stream whose rows begin at a place, and where they end."""
    layers = math.prod(stack)
    own = jax.lax.dynamic_slice_in_dim(drawn, place, layers * rows)
    numbers = own.reshape(layers, -1)[:, : math.prod(shape)].reshape(*stack, *shape)
    return numbers, place + layers * rows


def _member_keys(
    key: Key[Array, ""],
    streams: Sequence[Stream],
    number: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
) -> Key[Array, " members"]:
    """Keys of members of streams: the key with the name folded in, then with two numbers."""
    names = [_words("\x1f".join((*stream.path, "", stream.name))) for stream in streams]
    return _fold_words(_fold_words(key, *np.array(names, np.uint32).T)[number], first, second)


def _numbers_of(streams: Sequence[Stream], rows: int | Sequence[int]) -> list[np.ndarray]:
    """Numbers of stream, layer and row of everything that needs a key, stream by stream."""
    rows = [rows] * len(streams) if isinstance(rows, int) else rows
    triples = [
        (i, layer, row)
        for i, (stream, count) in enumerate(zip(streams, rows, strict=True))
        for layer in range(math.prod(stream.stack))
        for row in range(count)
    ]
    return list(np.array(triples, np.uint32).reshape(-1, 3).T)


def _split(x: Array, ends: np.ndarray) -> list[Array]:
    return [x[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def _words(name: str) -> tuple[int, int]:
    """64 bits of a hash that is the same on every machine."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def normal_rows(
    key: Key[Array, ""], numbers: Integer[Array, " rows"], length: int
) -> Float[Array, "rows length"]:
    """Some rows of a matrix of standard normal numbers, always drawn in float32.

    Each row has a key by its number, so that which rows are drawn together changes none.

    >>> rows = normal_rows(run_key(0), jnp.arange(4), 3)
    >>> bool(jnp.all(rows[2:3] == normal_rows(run_key(0), jnp.asarray([2]), 3)))
    True
    """
    keys = _fold_words(key, 0, numbers)
    if scheduling.may_be_sharded():  # a loop over the numbers would gather them
        return _normal(keys, length)
    return scheduling.in_blocks(_normal, keys, length, scheduling.zero_after(words(key)))


def sign_rows(
    key: Key[Array, ""], numbers: Integer[Array, " rows"], length: int
) -> Float[Array, "rows length"]:
    """Some rows of a matrix of independent signs, 1.0 or -1.0; keys and blocks as in `normal_rows`.

    >>> sign_rows(run_key(0), jnp.arange(2), 3).shape
    (2, 3)
    """
    keys, count = _fold_words(key, 0, numbers), 2 * -(-length // 64)
    if scheduling.may_be_sharded():
        return _signs(_sign_words(keys, count), length)
    zero = scheduling.zero_after(words(key))
    return _signs(scheduling.in_blocks(_sign_words, keys, count, zero), length)


def _sign_words(keys: Key[Array, " rows"], length: int) -> Integer[Array, "rows length"]:
    """The generator's words, both of a place side by side."""
    return jnp.stack(_drawn_words(keys, length // 2), -1).reshape(len(keys), length)


def _signs(drawn: Integer[Array, "rows count"], length: int) -> Float[Array, "rows length"]:
    """Each bit of a word is a sign."""
    places = jnp.arange(32, dtype=jnp.uint32)[None, None]
    signs = jax.lax.shift_left(drawn[..., None], places) & jnp.uint32(0x80000000)
    ones = jax.lax.bitcast_convert_type(signs | jnp.uint32(0x3F800000), jnp.float32)
    return ones.reshape(len(drawn), -1)[:, :length]


def gumbels(
    key: Key[Array, ""], rows: Integer[Array, " rows"], place: Integer[Array, ""], length: int
) -> Float[Array, "rows length"]:
    """Standard Gumbel numbers for the choice of a token in each row, float32.

    They depend on the key, the row's number and the place alone: not on which rows are together,
    and not on how many numbers are asked for.

    >>> some = gumbels(run_key(0), jnp.asarray([7, 3]), jnp.asarray(0), 4)
    >>> bool(jnp.all(some[1, :2] == gumbels(run_key(0), jnp.asarray([3]), jnp.asarray(0), 2)[0]))
    True
    """
    bits = _bits(_fold_words(key, rows, jnp.broadcast_to(place, rows.shape)), length)
    # Numbers near zero are the finest, so the tail of likely choices is exact; 1 itself is avoided.
    uniform = (bits.astype(jnp.float32) + 0.5) * np.float32(2.0**-32)
    return -jnp.log(-jnp.log1p(-jnp.minimum(uniform, np.float32(1 - 2.0**-24))))


def _bits(keys: Key[Array, " rows"], length: int) -> Integer[Array, "rows length"]:
    """What `jax.random.bits` draws for each key under `jax_threefry_partitionable`."""
    first, second = _drawn_words(keys, length)
    return first ^ second


def _drawn_words(keys: Key[Array, " rows"], length: int) -> tuple[Array, Array]:
    """The generator's two words for each key and place, `(rows, length)` each."""
    # The keys are not spread over the numbers beforehand: it would take twice the time and memory.
    one = [word[:, None] for word in _pair(keys)]
    return threefry((one[0], one[1]), (np.uint32(0), jnp.arange(length, dtype=jnp.uint32)[None]))


def _pair(keys: Key[Array, "..."]) -> tuple[Array, Array]:
    """The two words of each key."""
    both = words(keys)
    return both[..., 0], both[..., 1]


def _normal(keys: Key[Array, " rows"], length: int) -> Float[Array, "rows length"]:
    """What `jax.random.normal` draws for each key under `jax_threefry_partitionable`."""
    # 23 bits are the mantissa of a number in [1, 2); stretched, of one in (-1, 1).
    mantissa = jax.lax.shift_right_logical(_bits(keys, length), jnp.uint32(9))
    unit = jax.lax.bitcast_convert_type(mantissa | jnp.uint32(0x3F800000), jnp.float32) - 1
    least = np.nextafter(np.float32(-1), np.float32(0))
    return np.float32(math.sqrt(2)) * jax.lax.erf_inv(jnp.maximum(least, 2 * unit + least))
