"""GPT-2: the network and its weight table.

Shape suffixes: B batch, T tokens, D hidden size.
"""

import jax.numpy as jnp
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
from loren_jax.models.gpt2_config import GPT2Config
from loren_jax.models.layers import (
    Embedding,
    Mask,
    Tokens,
    attend,
    causal_mask,
    layer_norm,
    linear,
    scanned,
    stacked,
)
from loren_jax.models.weights import WeightRow, WeightTable


class GPT2Attention(nnx.Module):
    """Multi-head self-attention; query, key and value come from one kernel (D, 3D)."""

    def __init__(self, config: GPT2Config, *, rngs: nnx.Rngs):
        self.head_size = config.head_size
        self.input = linear(config.n_embd, 3 * config.n_embd, rngs)
        self.output = linear(config.n_embd, config.n_embd, rngs)

    def __call__(
        self, x_BxTxD: Float[Array, "B T D"], mask_Bx1xTxT: Bool[Array, "B 1 T T"]
    ) -> Float[Array, "B T D"]:
        """Attends from every token to what the mask shows it."""
        query, key, value = jnp.split(self.input(x_BxTxD), 3, axis=-1)
        return self.output(attend(query, key, value, mask_Bx1xTxT, head_size=self.head_size))


class GPT2Layer(nnx.Module):
    """Attention and MLP, each reading the normalised stream and added to it."""

    def __init__(self, config: GPT2Config, *, rngs: nnx.Rngs):
        self.activation = config.activation_function
        self.attention_norm = layer_norm(config.n_embd, config.layer_norm_epsilon, rngs)
        self.attention = GPT2Attention(config, rngs=rngs)
        self.mlp_norm = layer_norm(config.n_embd, config.layer_norm_epsilon, rngs)
        self.up = linear(config.n_embd, config.inner_size, rngs)
        self.down = linear(config.inner_size, config.n_embd, rngs)

    def __call__(
        self, x_BxTxD: Float[Array, "B T D"], mask_Bx1xTxT: Bool[Array, "B 1 T T"]
    ) -> Float[Array, "B T D"]:
        """Applies the layer."""
        x_BxTxD = x_BxTxD + self.attention(self.attention_norm(x_BxTxD), mask_Bx1xTxT)
        hidden = ACTIVATIONS[self.activation](self.up(self.mlp_norm(x_BxTxD)))
        return x_BxTxD + self.down(hidden)


class GPT2Network(Decoder):
    """A GPT-2 with a classification head or as a language model.

    Args:
        config: The configuration.
        rngs: Source of the random initial parameters.

    Example:
        >>> config = GPT2Config(vocab_size=8, n_embd=4, n_layer=2, n_head=2)
        >>> model = nnx.eval_shape(lambda: GPT2Network(config, rngs=nnx.Rngs(0)))
        >>> model.layers.attention.input.kernel.shape  # two layers
        (2, 4, 12)
    """

    def __init__(self, config: GPT2Config, *, rngs: nnx.Rngs):
        super().__init__(config, config.n_embd, rngs=rngs)
        self.position = Embedding(config.n_positions, config.n_embd, rngs=rngs)
        self.layers = stacked(lambda rngs: GPT2Layer(config, rngs=rngs), config.n_layer, rngs)
        self.norm = layer_norm(config.n_embd, config.layer_norm_epsilon, rngs)

    def encode(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token; see ``Decoder.encode``.

        Positions count from the left edge, whatever the mask, as Hugging Face's do.
        """
        self.check_length(input_ids)
        position_TxD = self.position(jnp.arange(input_ids.shape[1]))
        x_BxTxD = self.word(jnp.asarray(input_ids)) + position_TxD[None, :, :]
        return self.norm(scanned(self.layers, x_BxTxD, causal_mask(attention_mask)))


_LAYER = "transformer.h.{layer}"


def gpt2_weight_table(config: GPT2Config) -> WeightTable:
    """Where each tensor of a Hugging Face GPT-2 belongs.

    Args:
        config: Decides which head there is.

    Returns:
        The table, total for ``GPT2ForSequenceClassification``, ``GPT2LMHeadModel`` and
        ``GPT2Model`` checkpoints.
    """
    norm = WeightRow.norm

    def conv(name: str, path: str) -> list[WeightRow]:
        # GPT-2 keeps its matrices as (fan_in, fan_out), unlike every other family.
        return dense_rows(name, path, bias=True, transposed=False)

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
        *head_rows(config),
    ]
    return WeightTable(
        rows=tuple(rows),
        prefix="transformer.",
        head="score",
        # The causal mask as a tensor, in old checkpoints, and the heads that are not wanted.
        ignored=("transformer.h.*.attn.bias", "transformer.h.*.attn.masked_bias", *OTHER_HEADS),
    )


def gpt2_export(config: GPT2Config) -> Export:
    """The torch class that computes the same."""
    return decoder_export(config, "GPT2ForSequenceClassification", "GPT2LMHeadModel")
