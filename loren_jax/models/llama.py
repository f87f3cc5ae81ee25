"""Llama: configuration, network and weight table.

Shape suffixes: B batch, T tokens, D hidden size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from loren_jax.models.cache import Memory, Places
from loren_jax.models.decoder import Decoder, DecoderConfig, decoder_export, decoder_table
from loren_jax.models.layers import (
    Layer,
    RMSNorm,
    SelfAttention,
    Tokens,
    linear,
    scanned,
    stacked,
)
from loren_jax.models.network import ACTIVATIONS, Family
from loren_jax.models.rotary import PLAIN, Rotary
from loren_jax.models.weights import WeightRow, WeightTable


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(DecoderConfig):
    """Shape and options of a Llama; the fields carry Hugging Face's names, save ``rotary``.

    Attributes:
        hidden_size: Width D of the residual stream.
        num_hidden_layers: Number of layers.
        num_attention_heads: Heads per layer N.
        intermediate_size: Width of the hidden layer of the MLP.
        num_key_value_heads: Heads of keys and values K, a divisor of N; None for N.
        head_dim: Width H of a head; None for ``hidden_size / num_attention_heads``.
        max_position_embeddings: Longest sequence that the model was made for.
        rms_norm_eps: Added to the mean square in every norm.
        hidden_act: Activation of the MLP's gate, a key of ``ACTIVATIONS``.
        attention_bias: Whether the dense layers of the attention have biases.
        mlp_bias: Whether those of the MLP have.
        rotary: How the heads turn with the position.

    Example:
        >>> config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=2,
        ...     num_attention_heads=4, intermediate_size=8, num_key_value_heads=2)
        >>> config.head_size, config.key_value_heads
        (2, 2)
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    hidden_act: str = "silu"
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool = False
    rotary: Rotary = PLAIN

    def __post_init__(self) -> None:
        """Refuses options that the network would otherwise misread in silence."""
        super().__post_init__()
        if self.key_value_heads < 1 or self.num_attention_heads % self.key_value_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} must be a multiple of "
                f"num_key_value_heads={self.num_key_value_heads}"
            )
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of "
                f"num_attention_heads={self.num_attention_heads} where head_dim is not given"
            )
        if self.head_size % 2:
            raise ValueError(f"head_dim={self.head_size} must be even")

    @property
    def head_size(self) -> int:
        """Width H of one attention head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def key_value_heads(self) -> int:
        """Number K of heads of keys and values."""
        if self.num_key_value_heads is None:
            return self.num_attention_heads
        return self.num_key_value_heads

    @classmethod
    def translated(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parsed file with ``rotary``, which several of its entries describe."""
        return {**raw, "rotary": Rotary.from_hugging_face(raw)}


class LlamaLayer(Layer):
    """A layer whose MLP is gated."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        widths, bias = (config.hidden_size, config.intermediate_size), config.mlp_bias
        head, inner = config.head_size, config.num_attention_heads * config.head_size
        heads = {"inner": inner, "shared": config.key_value_heads * head}
        attention = SelfAttention(widths[0], head, rngs, bias=config.attention_bias, **heads)
        norm = lambda rngs: RMSNorm(config.hidden_size, config.rms_norm_eps)
        activation = ACTIVATIONS[config.hidden_act]
        super().__init__(attention, norm, widths, activation, rngs, bias=bias)
        self.gate = linear(*widths, rngs, bias=bias)

    def mlp(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Two dense layers side by side, one of which opens the other, and a third."""
        return self.down(self.activation(self.gate(x)) * self.up(x))


class LlamaNetwork(Decoder):
    """A Llama with a classification head or as a language model.

    Args:
        config: The configuration.
        rngs: Source of the random initial parameters.

    Example:
        >>> config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=2,
        ...     num_attention_heads=4, intermediate_size=8, num_key_value_heads=2)
        >>> model = nnx.eval_shape(lambda: LlamaNetwork(config, rngs=nnx.Rngs(0)))
        >>> model.layers.attention.key.kernel.shape  # two layers
        (2, 8, 4)
    """

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        super().__init__(config, config.hidden_size, rngs=rngs)
        self.rotary = config.rotary
        self.head_size = config.head_size
        self.layers = stacked(
            lambda rngs: LlamaLayer(config, rngs=rngs), config.num_hidden_layers, rngs
        )
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def hidden(
        self, input_ids: Tokens, places: Places, memory: Memory | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token; see ``Decoder.hidden``.

        Heads turn by the place from the left edge; only differences matter.
        """
        angles = self.rotary.angles(places.new, self.head_size)
        x_BxTxD = self.word(jnp.asarray(input_ids))
        return self.norm(scanned(self.layers, x_BxTxD, places.mask(), angles, memory=memory))


_LAYER = "model.layers.{layer}"


def _weight_table(config: LlamaConfig) -> WeightTable:
    """Total for ``LlamaForSequenceClassification``, ``LlamaForCausalLM`` and ``LlamaModel``."""

    def attention(name: str, path: str) -> list[WeightRow]:
        bias = config.attention_bias
        return WeightRow.linear(f"{_LAYER}.self_attn.{name}", f"layers/attention/{path}", bias=bias)

    def mlp(name: str, path: str) -> list[WeightRow]:
        return WeightRow.linear(f"{_LAYER}.mlp.{name}", f"layers/{path}", bias=config.mlp_bias)

    rows = [
        WeightRow("model.embed_tokens.weight", "word/embedding"),
        WeightRow(f"{_LAYER}.input_layernorm.weight", "layers/attention_norm/scale"),
        *attention("q_proj", "query"),
        *attention("k_proj", "key"),
        *attention("v_proj", "value"),
        *attention("o_proj", "output"),
        WeightRow(f"{_LAYER}.post_attention_layernorm.weight", "layers/mlp_norm/scale"),
        *mlp("gate_proj", "gate"),
        *mlp("up_proj", "up"),
        *mlp("down_proj", "down"),
        WeightRow("model.norm.weight", "norm/scale"),
    ]
    # The rotary frequencies, and what is made of them, as tensors in old checkpoints.
    return decoder_table(config, "model.", rows, "model.*rotary_emb.*")


LLAMA = Family(LlamaConfig, LlamaNetwork, _weight_table, decoder_export)
