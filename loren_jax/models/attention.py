"""Attention of several heads, to a text or to what is remembered of it as well.

Shape suffixes as in `layers`.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from loren_jax.models.cache import Cache, Memory
from loren_jax.models.layers import linear
from loren_jax.models.rotary import Angles, rotate


def attend(
    query: Float[Array, "B T ND"],
    key: Float[Array, "B T KD"],
    value: Float[Array, "B T KD"],
    mask: Bool[Array, "B #1 #T S"],
    *,
    head_size: int,
    scale: float | None = None,
    cap: float | None = None,
    memory: Memory | None = None,
) -> Float[Array, "B T ND"]:
    """Attention of several heads, grouped where there are fewer key-value heads than heads.

    The mask is true where the token of its third axis may read that of its fourth; behind those
    that the memory holds stand those of `key`. Products are multiplied with `scale`, by default
    `H ** -0.5`, and with a `cap` they come near to it and never pass it. The softmax is computed in
    float32.
    """
    heads = lambda x: x.reshape(*x.shape[:2], -1, head_size)
    query_BxTxNxH, key_BxTxKxH, value_BxTxKxH = map(heads, (query, key, value))
    if memory is not None or cap is not None:
        memory = memory or Memory()
        memory.note(key_BxTxKxH, value_BxTxKxH)
        read = [part for part in (memory.earlier, memory.new) if part is not None]
        if len(read) > 1 or cap is not None:
            return _recall(query_BxTxNxH, read, mask, scale, cap).reshape(query.shape)
    return _attend(query_BxTxNxH, key_BxTxKxH, value_BxTxKxH, mask, scale).reshape(query.shape)


def _attend(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K H"],
    mask: Bool[Array, "B #1 #T S"],
    scale: float | None,
) -> Float[Array, "B T N H"]:
    """What `jax.nn.dot_product_attention` computes, a third sooner on a CPU.

    There keys lie as the product reads them, and the outputs are divided in place of the scores.
    """
    batch, length, _, size = query.shape
    shared = key.shape[2]
    wide = jnp.promote_types(query.dtype, jnp.float32)
    # Rows of one product per key-value head: the heads of its group, each with all tokens.
    grouped = query.reshape(batch, length, shared, -1, size)
    rows_BxKxGxTxH = jnp.transpose(grouped, (0, 2, 3, 1, 4))
    query_BxKxQxH = rows_BxKxGxTxH.reshape(batch, shared, -1, size)
    key_BxKxHxS = jnp.transpose(key, (0, 2, 3, 1))
    product = partial(jnp.einsum, preferred_element_type=wide)
    scores = product("bkqh,bkhs->bkqs", query_BxKxQxH, key_BxKxHxS)
    scores_BxKxGxTxS = scores.reshape(*rows_BxKxGxTxH.shape[:4], -1)
    scaled = scores_BxKxGxTxS * (size**-0.5 if scale is None else scale)
    hidden = jnp.where(mask[:, :, None], scaled, jnp.finfo(wide).min / 2)
    weight = jnp.exp(hidden - jax.lax.stop_gradient(hidden.max(-1, keepdims=True)))
    weight_BxKxQxS = weight.astype(query.dtype).reshape(scores.shape)
    attended = product("bkqs,bksh->bkqh", weight_BxKxQxS, jnp.swapaxes(value, 1, 2))
    mean = attended.reshape(rows_BxKxGxTxH.shape) / weight.sum(-1, keepdims=True)
    return jnp.transpose(mean.astype(query.dtype), (0, 3, 1, 2, 4)).reshape(query.shape)


def soft_cap(x: Float[Array, "*any"], cap: float | None) -> Float[Array, "*any"]:
    """Numbers that come near to the cap, above or below zero, and never pass it.

    >>> soft_cap(jnp.array([0.0, 1000.0]), 30.0).tolist()
    [0.0, 30.0]
    """
    return x if cap is None else cap * jnp.tanh(x / cap)


def _recall(
    query: Float[Array, "B T N H"],
    read: Sequence[Cache],
    mask: Bool[Array, "B 1 T S"],
    scale: float | None,
    cap: float | None,
) -> Float[Array, "B T N H"]:
    """Attention to what is remembered and to what is new, without joining the two in memory."""
    batch, length, _, size = query.shape
    shared = read[0].key.shape[1]
    wide = jnp.promote_types(query.dtype, jnp.float32)
    # Rows of one product per key-value head: all tokens with all heads of its group.
    rows = jnp.swapaxes(query.reshape(batch, length, shared, -1, size), 1, 2)
    query_BxKxQxH = rows.reshape(batch, shared, -1, size)
    scores = [
        jnp.einsum("bkqh,bksh->bkqs", query_BxKxQxH, key, preferred_element_type=wide)
        for key in [part.key for part in read]
    ]
    scores_BxKxTxGxS = jnp.concatenate(scores, axis=-1).reshape(*rows.shape[:4], -1)
    scale = size**-0.5 if scale is None else scale
    capped = soft_cap(scores_BxKxTxGxS * scale, cap)
    hidden = jnp.where(mask[:, :, :, None, :], capped, jnp.finfo(wide).min / 2)
    weight = jax.nn.softmax(hidden, axis=-1).astype(query.dtype)
    weight_BxKxQxS = weight.reshape(*query_BxKxQxH.shape[:3], -1)
    parts = jnp.split(weight_BxKxQxS, [part.key.shape[2] for part in read[:-1]], axis=-1)
    first, *more = (
        jnp.einsum("bkqs,bksh->bkqh", weights, part.value, preferred_element_type=wide)
        for weights, part in zip(parts, read, strict=True)
    )
    attended = sum(more, start=first).astype(query.dtype).reshape(rows.shape)
    return jnp.swapaxes(attended, 1, 2).reshape(query.shape)


class SelfAttention(nnx.Module):
    """Multi-head self-attention; its kernels are plain matrices.

    All heads together have `inner` entries, the keys and the values `shared`, both by default as
    many as the stream.
    """

    def __init__(
        self,
        width: int,
        head_size: int,
        rngs: nnx.Rngs,
        *,
        inner: int | None = None,
        shared: int | None = None,
        bias: bool = True,
        output_bias: bool | None = None,
        head_norm: Callable[[], nnx.Module] | None = None,
        scale: float | None = None,
        cap: float | None = None,
    ):
        self.head_size, inner = head_size, inner or width
        self.scale, self.cap = scale, cap
        self.query = linear(width, inner, rngs, bias=bias)
        self.key = linear(width, shared or inner, rngs, bias=bias)
        self.value = linear(width, shared or inner, rngs, bias=bias)
        self.output = linear(inner, width, rngs, bias=bias if output_bias is None else output_bias)
        if head_norm is not None:
            self.query_norm, self.key_norm = head_norm(), head_norm()

    def __call__(
        self,
        x_BxTxD: Float[Array, "B T D"],
        mask_Bx1xTxS: Bool[Array, "B 1 #T S"],
        angles: Angles | None = None,
        memory: Memory | None = None,
    ) -> Float[Array, "B T D"]:
        """Attends from every token to what the mask shows it; with angles, the heads turn."""
        query, key, value = self.query(x_BxTxD), self.key(x_BxTxD), self.value(x_BxTxD)
        if hasattr(self, "query_norm"):
            heads = lambda x: x.reshape(*x.shape[:2], -1, self.head_size)
            query = self.query_norm(heads(query)).reshape(query.shape)
            key = self.key_norm(heads(key)).reshape(key.shape)
        if angles is not None:
            query, key = rotate(query, angles), rotate(key, angles)
        options = {"head_size": self.head_size, "scale": self.scale, "cap": self.cap}
        return self.output(attend(query, key, value, mask_Bx1xTxS, memory=memory, **options))
