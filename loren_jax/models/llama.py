"""Llama: the network and its weight table.

Shape suffixes: B batch, T tokens, D hidden size.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from loren_jax.models.activations import ACTIVATIONS
from loren_jax.models.decoder import (
    OTHER_HEADS,
    Decoder,
    decoder_export,
    dense_rows,
    head_rows,
)
from loren_jax.models.export import Export
from loren_jax.models.layers import (
    Mask,
    RMSNorm,
    Tokens,
    attend,
    causal_mask,
    linear,
    scanned,
    stacked,
)
from loren_jax.models.llama_config import LlamaConfig
from loren_jax.models.rotary import Angles, rotate
from loren_jax.models.weights import WeightRow, WeightTable


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
        self.check_length(input_ids)
        angles = self.rotary.angles(np.arange(input_ids.shape[1]), self.head_size)
        x_BxTxD = self.word(jnp.asarray(input_ids))
        return self.norm(scanned(self.layers, x_BxTxD, causal_mask(attention_mask), angles))


_LAYER = "model.layers.{layer}"


def llama_weight_table(config: LlamaConfig) -> WeightTable:
    """Where each tensor of a Hugging Face Llama belongs.

    Args:
        config: Decides which biases there are, and which head.

    Returns:
        The table, total for ``LlamaForSequenceClassification``, ``LlamaForCausalLM`` and
        ``LlamaModel`` checkpoints.
    """

    def attention(name: str, path: str) -> list[WeightRow]:
        bias = config.attention_bias
        return dense_rows(f"{_LAYER}.self_attn.{name}", f"layers/attention/{path}", bias=bias)

    def mlp(name: str, path: str) -> list[WeightRow]:
        return dense_rows(f"{_LAYER}.mlp.{name}", f"layers/{path}", bias=config.mlp_bias)

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
        # The rotary frequencies as a tensor, in old checkpoints.
        ignored=("model.*rotary_emb.inv_freq", *OTHER_HEADS),
    )


def llama_export(config: LlamaConfig) -> Export:
    """The torch class that computes the same."""
    return decoder_export(config, "LlamaForSequenceClassification", "LlamaForCausalLM")
