"""Llama: configuration, network and weight table.

Shape suffixes: B batch, T tokens, D hidden size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from loren_jax.models.decoder import (
    OTHER_HEADS,
    Decoder,
    DecoderConfig,
    decoder_export,
    head_rows,
    tied_rows,
)
from loren_jax.models.layers import (
    Mask,
    RMSNorm,
    Tokens,
    attend,
    causal_mask,
    check_length,
    linear,
    scanned,
    stacked,
)
from loren_jax.models.network import ACTIVATIONS, Family
from loren_jax.models.rotary import PLAIN, Angles, Rotary, rotate
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


class LlamaAttention(nnx.Module):
    """Self-attention in which several heads share one head of keys and values."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        self.head_size = config.head_size
        bias = config.attention_bias
        width = config.num_attention_heads * config.head_size
        shared = config.key_value_heads * config.head_size
        self.query = linear(config.hidden_size, width, rngs, bias=bias)
        self.key = linear(config.hidden_size, shared, rngs, bias=bias)
        self.value = linear(config.hidden_size, shared, rngs, bias=bias)
        self.output = linear(width, config.hidden_size, rngs, bias=bias)

    def __call__(
        self, x_BxTxD: Float[Array, "B T D"], mask_Bx1xTxT: Bool[Array, "B 1 T T"], angles: Angles
    ) -> Float[Array, "B T D"]:
        """Attends from every token to what the mask shows it."""
        query, key = rotate(self.query(x_BxTxD), angles), rotate(self.key(x_BxTxD), angles)
        value = self.value(x_BxTxD)
        return self.output(attend(query, key, value, mask_Bx1xTxT, head_size=self.head_size))


class LlamaLayer(nnx.Module):
    """Attention and gated MLP, each reading the normalised stream and added to it."""

    def __init__(self, config: LlamaConfig, *, rngs: nnx.Rngs):
        self.activation = config.hidden_act
        bias = config.mlp_bias
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = LlamaAttention(config, rngs=rngs)
        self.mlp_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gate = linear(config.hidden_size, config.intermediate_size, rngs, bias=bias)
        self.up = linear(config.hidden_size, config.intermediate_size, rngs, bias=bias)
        self.down = linear(config.intermediate_size, config.hidden_size, rngs, bias=bias)

    def __call__(
        self, x_BxTxD: Float[Array, "B T D"], mask_Bx1xTxT: Bool[Array, "B 1 T T"], angles: Angles
    ) -> Float[Array, "B T D"]:
        """Applies the layer."""
        x_BxTxD = x_BxTxD + self.attention(self.attention_norm(x_BxTxD), mask_Bx1xTxT, angles)
        normed = self.mlp_norm(x_BxTxD)
        return x_BxTxD + self.down(
            ACTIVATIONS[self.activation](self.gate(normed)) * self.up(normed)
        )


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

    def encode(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token; see ``Decoder.encode``.

        Positions count from the left edge; only their differences matter.
        """
        check_length(input_ids, self.max_length)
        angles = self.rotary.angles(np.arange(input_ids.shape[1]), self.head_size)
        x_BxTxD = self.word(jnp.asarray(input_ids))
        return self.norm(scanned(self.layers, x_BxTxD, causal_mask(attention_mask), angles))


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
        *head_rows(config),
    ]
    return WeightTable(
        rows=tuple(rows),
        prefix="model.",
        head="score",
        # The rotary frequencies, and what is made of them, as tensors in old checkpoints.
        ignored=("model.*rotary_emb.*", *OTHER_HEADS),
        tied=tied_rows(config, rows[0]),
    )


LLAMA = Family(LlamaConfig, LlamaNetwork, _weight_table, decoder_export)
