"""What a decoder remembers of the tokens that it has read: their keys and values in every layer.

The layers only read what was there before, and hand out what is new; it is written for all of them
at once, in one place. So a loop over tokens changes one array of keys and one of values in place,
and no layer copies them.

Shape suffixes: B batch, T new tokens, S places, L layers, N heads, K key-value heads, H head size.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

Window = int | Int[Array, ""]
"""How many tokens a token may read, itself included."""


class Cache(NamedTuple):
    """Keys and values of all layers, as the layers multiply with them: no head is repeated.

    Attributes:
      key: As the scores are made of it, turned if the family turns it; (L, B, K, S, H).
      value: Of the same shape.
    """

    key: Float[Array, "L B K S H"]
    value: Float[Array, "L B K S H"]

    def grow(self, places: int | None) -> "Cache":
        """The same with room for so many places a row, of all layers or one; the new hold zeros."""
        more = 0 if places is None else places - self.key.shape[-2]
        around = lambda x: ((0, 0),) * (x.ndim - 2) + ((0, more), (0, 0))
        return jax.tree.map(lambda x: jnp.pad(x, around(x)), self) if more else self

    def write(self, new: "Cache", start: Int[Array, ""]) -> "Cache":
        """The same with new places, of all rows from one place on."""
        put = lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y.astype(x.dtype), start, 3)
        return Cache(put(self.key, new.key), put(self.value, new.value))


class Places(NamedTuple):
    """Where the new tokens of a call stand in their rows, and what they may read.

    Attributes:
      new: Place of each new token, counted from the left edge of the row, the same in all rows.
      position: Which token of the text each is, for an embedding of positions: one row for all
        rows where they agree; -1 where it stands for padding.
      read: Which places hold a token that may be read: of the new tokens alone if nothing was
        read before, else of all places that there is room for.
      earlier: Whether other tokens were read before, whose keys and values a cache holds.
    """

    new: Int[Array | np.ndarray, " T"]
    position: Int[Array | np.ndarray, "#B T"]
    read: Bool[Array, "B S"]
    earlier: bool = False

    @classmethod
    def whole(cls, attention_mask: Array | np.ndarray) -> "Places":
        """Of texts that are read at once, with positions from the left edge."""
        place = np.arange(attention_mask.shape[1])
        return cls(place, place[None], jnp.asarray(attention_mask != 0))

    @classmethod
    def counted(cls, attention_mask: Array | np.ndarray) -> "Places":
        """Of texts that are read at once, with positions that count what is no padding.

        >>> Places.counted(np.array([[0, 1, 1]])).position.tolist()
        [[-1, 0, 1]]
        """
        read = jnp.asarray(attention_mask != 0)
        return cls(np.arange(read.shape[1]), jnp.cumsum(read, axis=1) * read - 1, read)

    @classmethod
    def behind(cls, read: Bool[Array, "B S"], place: Int[Array, ""], length: int) -> "Places":
        """Of some tokens behind others, none of them padding; positions count what is none.

        `read` has all places that the cache has room for, those of the new tokens included.
        """
        number = jnp.arange(length, dtype=place.dtype)
        before = read & (jnp.arange(read.shape[1], dtype=place.dtype) < place)[None, :]
        earlier = jnp.sum(before, axis=1, dtype=place.dtype)
        return cls(place + number, earlier[:, None] + number[None, :], read, True)

    def mask(self, window: Window | None = None) -> Bool[Array, "B 1 T S"]:
        """True where a new token (third axis) may read a token (fourth axis).

        It reads itself and those before it that are no padding, if there is a window the nearest
        of them. Behind the places of the cache, whose tokens are earlier than all new ones, stand
        the new tokens.
        """
        new, read = jnp.asarray(self.new), self.read
        place, shown = new, read
        if self.earlier:
            stored = jnp.arange(read.shape[1], dtype=new.dtype)
            place = jnp.concatenate([stored, new])
            now = jnp.take(read, new, axis=1, mode="clip")
            shown = jnp.concatenate([read & (stored < new[0])[None, :], now], axis=1)
        ago = new[:, None] - place[None, :]
        near = ago >= 0 if window is None else (ago >= 0) & (ago < window)
        return shown[:, None, None, :] & near[None, None]


class Memory:
    """What is remembered while a network, or one layer of it, is applied to some tokens.

    Attributes:
      earlier: Keys and values of earlier tokens; None if there are none. Those of a layer have no
        axis L.
      room: Places that the new ones are to have room for; None for their own.
      new: Those of the new tokens, once the attention has handed them in.
    """

    new: Cache

    def __init__(self, earlier: Cache | None = None, room: int | None = None):
        self.earlier, self.room = earlier, room

    def note(self, key: Float[Array, "B T K H"], value: Float[Array, "B T K H"]) -> None:
        """Takes the keys and values of a layer's new tokens, and puts the heads in front."""
        self.new = Cache(jnp.swapaxes(key, 1, 2), jnp.swapaxes(value, 1, 2))
