"""GPT-2: configuration, network and weight table.

Shape suffixes: B batch, T tokens, D hidden size.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from loren_jax.models.attention import attend
from loren_jax.models.cache import Memory, Places
from loren_jax.models.decoder import Decoder, DecoderConfig, decoder_export, decoder_table
from loren_jax.models.layers import (
    Embedding,
    Layer,
    Tokens,
    layer_norm,
    linear,
    scan_layers,
    stack_layers,
)
from loren_jax.models.network import ACTIVATIONS, Family
from loren_jax.models.weights import WeightRow, WeightTable


@dataclass(frozen=True, kw_only=True)
class GPT2Config(DecoderConfig):
    """Shape and options of a GPT-2; the fields carry Hugging Face's names.

    Attributes:
      n_embd: Width D of the residual stream.
      n_layer: Number of layers.
      n_head: Heads per layer; must divide `n_embd`.
      n_positions: Longest sequence that the model can read.
      n_inner: Width of the hidden layer of the MLP; None for four times `n_embd`.
      activation_function: Activation of the MLP, a key of `ACTIVATIONS`.
      layer_norm_epsilon: Added to the variance in every layer norm.

    >>> config = GPT2Config(vocab_size=8, n_embd=4, n_layer=2, n_head=2)
    >>> config.head_size, config.inner_size
    (2, 16)
    >>> GPT2Config.from_hugging_face({"reorder_and_upcast_attn": True})
    Traceback (most recent call last):
    ...
    ValueError: reorder_and_upcast_attn=True is not supported; use a checkpoint with
    reorder_and_upcast_attn=False
    """

    n_embd: int
    n_layer: int
    n_head: int
    n_positions: int = 1024
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5

    FIXED: ClassVar[Mapping[str, Any]] = {
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "scale_attn_weights": True,
        "add_cross_attention": False,
    }
    ACTIVATION: ClassVar[str] = "activation_function"
    POSITIVE: ClassVar[tuple[str, ...]] = ("vocab_size", "num_labels", "n_layer", "n_head")
    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = (("n_embd", "n_head"),)

    @property
    def head_size(self) -> int:
        """Width H of one attention head."""
        return self.n_embd // self.n_head

    @property
    def inner_size(self) -> int:
        """Width of the hidden layer of the MLP."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def max_length(self) -> int:
        """Longest sequence that the model can read."""
        return self.n_positions


class GPT2Attention(nnx.Module):
    """Multi-head self-attention; query, key and value come from one kernel (D, 3D)."""

    def __init__(self, config: GPT2Config, rngs: nnx.Rngs):
        self.head_size = config.head_size
        self.input = linear(config.n_embd, 3 * config.n_embd, rngs)
        self.output = linear(config.n_embd, config.n_embd, rngs)

    def __call__(
        self,
        x_BxTxD: Float[Array, "B T D"],
        mask_Bx1xTxS: Bool[Array, "B 1 T S"],
        memory: Memory | None = None,
    ) -> Float[Array, "B T D"]:
        """Attends from every token to what the mask shows it."""
        query, key, value = jnp.split(self.input(x_BxTxD), 3, axis=-1)
        size = self.head_size
        return self.output(attend(query, key, value, mask_Bx1xTxS, head_size=size, memory=memory))


class GPT2Network(Decoder):
    """A GPT-2 with a classification head or as a language model.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.

    >>> config = GPT2Config(vocab_size=8, n_embd=4, n_layer=2, n_head=2)
    >>> model = nnx.eval_shape(lambda: GPT2Network(config, rngs=nnx.Rngs(0)))
    >>> model.layers.attention.input.kernel.shape  # two layers
    (2, 4, 12)
    """

    def __init__(self, config: GPT2Config, *, rngs: nnx.Rngs):
        super().__init__(config, config.n_embd, rngs=rngs)
        self.position = Embedding(config.n_positions, config.n_embd, rngs=rngs)
        norm = lambda rngs: layer_norm(config.n_embd, config.layer_norm_epsilon, rngs)

        def layer(rngs: nnx.Rngs) -> Layer:
            widths, activation = (config.n_embd, config.inner_size), config.activation_function
            return Layer(GPT2Attention(config, rngs), norm, widths, ACTIVATIONS[activation], rngs)

        self.layers = stack_layers(layer, config.n_layer, rngs)
        self.norm = norm(rngs)

    def hidden(
        self, input_ids: Tokens, places: Places, memory: Memory | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token; see `Decoder.hidden`.

        Those of a text that is read at once have positions from the left edge, whatever the mask,
        as Hugging Face's have.
        """
        position_BxT = jnp.maximum(places.position, 0)
        x_BxTxD = self.word(jnp.asarray(input_ids)) + self.position(position_BxT)
        return self.norm(scan_layers(self.layers, x_BxTxD, places.mask(), memory=memory))


_LAYER = "transformer.h.{layer}"


def _weight_table(config: GPT2Config) -> WeightTable:
    """Total for `GPT2ForSequenceClassification`, `GPT2LMHeadModel` and `GPT2Model`."""
    norm = WeightRow.norm

    def conv(name: str, path: str) -> list[WeightRow]:
        # GPT-2 keeps its matrices as (fan_in, fan_out), unlike every other family.
        return WeightRow.linear(name, path, bias=True, transposed=False)

    rows = [
        WeightRow("transformer.wte.weight", "word/embedding"),
        WeightRow("transformer.wpe.weight", "position/embedding"),
        *norm(f"{_LAYER}.ln_1", "layers/attention_norm"),
        *conv(f"{_LAYER}.attn.c_attn", "layers/attention/input"),
        *conv(f"{_LAYER}.attn.c_proj", "layers/attention/output"),
        *norm(f"{_LAYER}.ln_2", "layers/mlp_norm"),
        *conv(f"{_LAYER}.mlp.c_fc", "layers/up"),
        *conv(f"{_LAYER}.mlp.c_proj", "layers/down"),
        *norm("transformer.ln_f", "norm"),
    ]
    # The causal mask as a tensor, in old checkpoints.
    masks = ("transformer.h.*.attn.bias", "transformer.h.*.attn.masked_bias")
    return decoder_table(config, "transformer.", rows, *masks)


GPT2 = Family(
    GPT2Config,
    GPT2Network,
    _weight_table,
    functools.partial(decoder_export, language_model="LMHeadModel"),
)
