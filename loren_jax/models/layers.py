"""The parts that networks of several families are made of.

Layers are stacked (every leaf has a leading layer axis) and scanned, so that a program compiles one
layer whatever the depth, and perturbed evaluation keeps the noise of only one layer alive.

Shape suffixes: B batch, T tokens, S tokens that are read, D hidden size, N heads, K key-value
heads, H head size.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from loren_jax.models.cache import Cache, Memory
from loren_jax.quantised import Quantised

Tokens = Int[Array | np.ndarray, "B T"]
Mask = Int[Array | np.ndarray, "B T"] | Bool[Array | np.ndarray, "B T"]

INIT_STD = 0.02
"""Standard deviation of fresh kernels and embeddings, Hugging Face's default in every family."""


class Linear(nnx.Linear):
    """A dense layer, whose kernel may be quantised: it is then a float where it is multiplied."""

    def __call__(self, inputs: Float[Array, "... D"]) -> Float[Array, "... E"]:
        """Applies the layer."""
        kernel = self.kernel.get_value()
        if not isinstance(kernel, Quantised):
            return super().__call__(inputs)
        product = kernel.product(inputs)
        if self.bias is None:
            return product
        bias = self.bias[...]
        return product + bias.reshape((1,) * (product.ndim - 1) + bias.shape)


def linear(fan_in: int, fan_out: int, rngs: nnx.Rngs, *, bias: bool = True) -> Linear:
    """A dense layer with Hugging Face's initialisation; its kernel is (fan_in, fan_out)."""
    init = nnx.initializers.normal(INIT_STD)
    return Linear(fan_in, fan_out, use_bias=bias, kernel_init=init, rngs=rngs)


def as_it_is(x: Float[Array, "*any"]) -> Float[Array, "*any"]:
    """The same numbers, rounded to what they are: to a compiler an operation of its own.

    XLA's kernels for CPUs would join a product with the means of a norm behind it in one graph,
    which takes several times as long as both.
    """
    kind = jnp.finfo(x.dtype)
    return jax.lax.reduce_precision(x, kind.nexp, kind.nmant)


class LayerNorm(nnx.LayerNorm):
    """Flax's, of numbers that are there."""

    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:  # pyrefly: ignore
        """Normalises the last axis."""
        return super().__call__(as_it_is(x))


def layer_norm(
    width: int, epsilon: float, rngs: nnx.Rngs, *, affine: bool = True, bias: bool = True
) -> LayerNorm:
    """A layer norm over the last axis; if it is affine with a scale, and with a bias if wanted."""
    return LayerNorm(
        width,
        epsilon=epsilon,
        use_scale=affine,
        use_bias=affine and bias,
        # Two passes over the row: the variance of one pass cancels, which shows when losses are
        # compared.
        use_fast_variance=False,
        rngs=rngs,
    )


class RMSNorm(nnx.Module):
    """Divides by the root mean square over the last axis, in float32, then scales."""

    def __init__(self, width: int, epsilon: float):
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones((width,)))

    def normalise(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        """Divides; the result is in float32 at least."""
        wide = as_it_is(x).astype(jnp.promote_types(x.dtype, jnp.float32))
        mean_square = jnp.mean(wide * wide, axis=-1, keepdims=True)
        return wide * jax.lax.rsqrt(mean_square + self.epsilon)

    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        """Normalises; the result has the dtype of the input."""
        normed, scale = self.normalise(x), self.scale[...]
        return normed.astype(x.dtype) * scale.reshape((1,) * (x.ndim - 1) + scale.shape)


class Embedding(nnx.Module):
    """A table of vectors.

    Flax's own casts to the type that the table had when it was made, and not to the type that the
    parameters have now. An index outside the table gives NaN, never another row.
    """

    def __init__(self, rows: int, width: int, *, rngs: nnx.Rngs):
        self.embedding = nnx.Param(nnx.initializers.normal(INIT_STD)(rngs.params(), (rows, width)))

    def __call__(self, index: Int[Array, "..."]) -> Float[Array, "... D"]:
        """Looks rows up."""
        table = self.embedding.get_value()
        if isinstance(table, Quantised):
            return table.look_up(jnp.asarray(index))
        return jnp.take(self.embedding[...], index, axis=0)

    def logits(
        self, x: Float[Array, "... D"], index: Int[Array | np.ndarray, " C"] | None = None
    ) -> Float[Array, "... rows"]:
        """Products with all rows or some: the output layer of a model with tied embeddings.

        They are summed and kept in float32 at least; no wider copy of the table is made.
        """
        table = self.embedding.get_value()
        if isinstance(table, Quantised):
            chosen = table if index is None else table.take(jnp.asarray(index))
            return chosen.product(x, wide=True)
        table = self.embedding[...] if index is None else self(jnp.asarray(index))
        return jax.lax.dot_general(
            x,
            table,
            (((x.ndim - 1,), (1,)), ((), ())),
            preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
        )


def token_at(x: Float[Array, "B T D"], position: Int[Array, " B"]) -> Float[Array, "B D"]:
    """The hidden state of one token of each row.

    >>> token_at(jnp.arange(6.0).reshape(2, 3, 1), jnp.array([2, 0])).tolist()
    [[2.0], [3.0]]
    """
    return jnp.take_along_axis(x, position[:, None, None], axis=1)[:, 0]


def mean_of(x: Float[Array, "B T D"], read: Bool[Array, "B T"]) -> Float[Array, "B D"]:
    """The mean of the hidden states of the tokens that are read, in float32 at least.

    >>> mean_of(jnp.ones((2, 3, 1)), jnp.array([[True, True, False], [False] * 3])).tolist()
    [[1.0], [0.0]]
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    weight_BxTx1 = read.astype(wide)[:, :, None]
    count_Bx1 = jnp.maximum(weight_BxTx1.sum(axis=1), 1)  # an empty row is no NaN
    return (x.astype(wide) * weight_BxTx1).sum(axis=1) / count_Bx1


class Layer(nnx.Module):
    """Attention and MLP, each normalised before it reads the stream or after it is added to it.

    `norm` makes either of the two norms; `widths` are those of the stream and inside of the MLP.
    """

    def __init__(
        self,
        attention: nnx.Module,
        norm: Callable[[nnx.Rngs], nnx.Module],
        widths: tuple[int, int],
        activation: Callable[[Array], Array],
        rngs: nnx.Rngs,
        *,
        bias: bool = True,
        norm_first: bool = True,
    ):
        self.activation, self.norm_first = activation, norm_first
        self.attention, self.attention_norm, self.mlp_norm = attention, norm(rngs), norm(rngs)
        self.up = linear(*widths, rngs, bias=bias)
        self.down = linear(widths[1], widths[0], rngs, bias=bias)

    def mlp(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Dense, activation, dense."""
        return self.down(self.activation(self.up(x)))

    def __call__(
        self, x: Float[Array, "B T D"], mask: Bool[Array, "B 1 #T S"], *more: Any
    ) -> Float[Array, "B T D"]:
        """Applies the layer; the attention gets the mask and what else it needs."""
        if self.norm_first:
            x = x + self.attention(self.attention_norm(x), mask, *more)
            return x + self.mlp(self.mlp_norm(x))
        x = self.attention_norm(x + self.attention(x, mask, *more))
        return self.mlp_norm(x + self.mlp(x))


def check_length(input_ids: Tokens, longest: int) -> None:
    """Refuses rows that are longer than the model has positions."""
    if input_ids.shape[1] > longest:
        raise ValueError(
            f"input_ids has {input_ids.shape[1]} tokens a row, but the model has {longest} "
            "positions; truncate the text"
        )


def padding_mask(attention_mask: jax.Array | np.ndarray) -> Bool[Array, "B 1 1 T"]:
    """Every token reads every token that is no padding."""
    return jnp.asarray(attention_mask != 0)[:, None, None, :]


def stack_layers(make: Callable[[nnx.Rngs], nnx.Module], layers: int, rngs: nnx.Rngs) -> Any:
    """Layers as one module whose leaves have a leading layer axis."""

    @nnx.split_rngs(splits=layers)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def many(rngs: nnx.Rngs) -> nnx.Module:
        return make(rngs)

    return many(rngs)


def scan_layers(
    layers: nnx.Module,
    x: Float[Array, "B T D"],
    *shared: Any,
    kinds: Int[np.ndarray, " L"] | None = None,
    memory: Memory | None = None,
) -> Float[Array, "B T D"]:
    """Applies stacked layers one after another, each as `layer(x, *shared)`.

    Where layers are of several kinds, `kinds` has the number of each layer's, and `shared` a
    leading axis of kinds, of which the layer gets its own. Where the decoder is to remember, each
    as `layer(x, *shared, memory)` with its own part of the memory, into which the attention puts
    the keys and values of the new tokens.
    """
    layer, params = nnx.split(layers)
    of_kind = lambda kind: shared if kind is None else jax.tree.map(lambda x: x[kind], shared)

    def apply_layer(x, own):
        params, kind = own
        return nnx.merge(layer, params)(x, *of_kind(kind)), None

    if memory is None:
        return jax.lax.scan(apply_layer, x, (params, kinds))[0]
    earlier, room = memory.earlier, memory.room

    def apply_and_remember(x, own):
        params, kind, number = own
        # Not run over by the scan: under `vmap` its axis of layers would have to come first.
        cut = lambda stack: jax.lax.dynamic_index_in_dim(stack, number, keepdims=False)
        part = Memory(earlier and Cache(cut(earlier.key), cut(earlier.value)))
        # Each layer's are given their room here: all layers' would be there twice for a while.
        return nnx.merge(layer, params)(x, *of_kind(kind), part), part.new.grow(room)

    def apply_and_keep(carry, own):
        x, remembered = carry
        x, new = apply_and_remember(x, own)
        put = lambda stack, one: jax.lax.dynamic_update_index_in_dim(stack, one, own[-1], 0)
        return (x, jax.tree.map(put, remembered, new)), None

    depth = jax.tree.leaves(params)[0].shape[0]
    inputs = (params, kinds, np.arange(depth))
    # Carried: under `vmap` what a loop carries has the axis of its members first, and so has the
    # loop over tokens that goes on with it. What a scan gives out has it second: one copy more.
    first = lambda inputs: jax.tree.map(lambda stack: stack[0], inputs)
    _, one = jax.eval_shape(lambda x, inputs: apply_and_remember(x, first(inputs)), x, inputs)
    start = jax.tree.map(lambda x: jnp.zeros((depth, *x.shape), x.dtype), one)
    (x, memory.new), _ = jax.lax.scan(apply_and_keep, (x, start), inputs)
    return x
