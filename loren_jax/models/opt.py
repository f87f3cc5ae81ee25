"""OPT: the network and its weight table.

Shape suffixes: B batch, T tokens, S width of the residual stream, D of the word embedding.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

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
from loren_jax.models.opt_config import OPTConfig
from loren_jax.models.weights import WeightRow, WeightTable

POSITION_OFFSET = 2
"""Row of the position embedding that belongs to the first token of a text."""

LAYER_NORM_EPSILON = 1e-5
"""Added to the variance in every layer norm; no configuration changes it."""


def _norm(config: OPTConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    affine = config.layer_norm_elementwise_affine
    return layer_norm(config.hidden_size, LAYER_NORM_EPSILON, rngs, affine=affine)


class OPTAttention(nnx.Module):
    """Multi-head self-attention; its kernels are plain (S, S) matrices."""

    def __init__(self, config: OPTConfig, *, rngs: nnx.Rngs):
        self.head_size = config.head_size
        self.query, self.key, self.value, self.output = (
            linear(config.hidden_size, config.hidden_size, rngs, bias=config.enable_bias)
            for _ in range(4)
        )

    def __call__(
        self, x_BxTxS: Float[Array, "B T S"], mask_Bx1xTxT: Bool[Array, "B 1 T T"]
    ) -> Float[Array, "B T S"]:
        """Attends from every token to what the mask shows it."""
        query, key, value = self.query(x_BxTxS), self.key(x_BxTxS), self.value(x_BxTxS)
        return self.output(attend(query, key, value, mask_Bx1xTxT, head_size=self.head_size))


class OPTLayer(nnx.Module):
    """Attention and MLP, each normalised before it reads the stream or after it is added."""

    def __init__(self, config: OPTConfig, *, rngs: nnx.Rngs):
        self.activation = config.activation_function
        self.norm_first = config.do_layer_norm_before
        bias = config.enable_bias
        self.attention_norm = _norm(config, rngs)
        self.attention = OPTAttention(config, rngs=rngs)
        self.mlp_norm = _norm(config, rngs)
        self.up = linear(config.hidden_size, config.ffn_dim, rngs, bias=bias)
        self.down = linear(config.ffn_dim, config.hidden_size, rngs, bias=bias)

    def __call__(
        self, x_BxTxS: Float[Array, "B T S"], mask_Bx1xTxT: Bool[Array, "B 1 T T"]
    ) -> Float[Array, "B T S"]:
        """Applies the layer."""
        mlp = lambda x: self.down(ACTIVATIONS[self.activation](self.up(x)))
        if self.norm_first:
            x_BxTxS = x_BxTxS + self.attention(self.attention_norm(x_BxTxS), mask_Bx1xTxT)
            return x_BxTxS + mlp(self.mlp_norm(x_BxTxS))
        x_BxTxS = self.attention_norm(x_BxTxS + self.attention(x_BxTxS, mask_Bx1xTxT))
        return self.mlp_norm(x_BxTxS + mlp(x_BxTxS))


class OPTNetwork(Decoder):
    """An OPT with a classification head or as a language model.

    Args:
        config: The configuration.
        rngs: Source of the random initial parameters.

    Example:
        >>> config = OPTConfig(vocab_size=8, hidden_size=4, num_hidden_layers=3,
        ...     num_attention_heads=2, ffn_dim=8, max_position_embeddings=6)
        >>> model = nnx.eval_shape(lambda: OPTNetwork(config, rngs=nnx.Rngs(0)))
        >>> model.layers.up.kernel.shape, model.position.embedding.shape
        ((3, 4, 8), (8, 4))
    """

    def __init__(self, config: OPTConfig, *, rngs: nnx.Rngs):
        super().__init__(config, config.embed_size, rngs=rngs)
        positions = config.max_position_embeddings + POSITION_OFFSET
        self.position = Embedding(positions, config.hidden_size, rngs=rngs)
        self.layers = stacked(
            lambda rngs: OPTLayer(config, rngs=rngs), config.num_hidden_layers, rngs
        )
        if config.final_norm:
            self.norm = _norm(config, rngs)
        if config.projected:
            self.project_in = linear(config.embed_size, config.hidden_size, rngs, bias=False)
            self.project_out = linear(config.hidden_size, config.embed_size, rngs, bias=False)

    def encode(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token; see ``Decoder.encode``.

        Positions count the unmasked tokens, so padding on the left moves none.
        """
        self.check_length(input_ids)
        x_BxTxS = self.word(jnp.asarray(input_ids))
        if hasattr(self, "project_in"):
            x_BxTxS = self.project_in(x_BxTxS)
        x_BxTxS = x_BxTxS + self.position(positions_of(jnp.asarray(attention_mask != 0)))
        x_BxTxS = scanned(self.layers, x_BxTxS, causal_mask(attention_mask))
        if hasattr(self, "norm"):
            x_BxTxS = self.norm(x_BxTxS)
        return self.project_out(x_BxTxS) if hasattr(self, "project_out") else x_BxTxS


def positions_of(read: Bool[Array, "B T"]) -> Int[Array, "B T"]:
    """Row of the position embedding for every token; padding has the row before the first.

    Example:
        >>> positions_of(jnp.array([[False, True, True]])).tolist()
        [[1, 2, 3]]
    """
    return jnp.cumsum(read, axis=1) * read - 1 + POSITION_OFFSET


_DECODER = "model.decoder"
_LAYER = f"{_DECODER}.layers.{{layer}}"


def opt_weight_table(config: OPTConfig) -> WeightTable:
    """Where each tensor of a Hugging Face OPT belongs.

    Args:
        config: Decides which norms, biases and projections there are, and which head.

    Returns:
        The table, total for ``OPTForSequenceClassification``, ``OPTForCausalLM`` and ``OPTModel``
        checkpoints.
    """
    affine = config.layer_norm_elementwise_affine

    def norm(name: str, path: str) -> list[WeightRow]:
        return WeightRow.norm(name, path) if affine else []

    def dense(name: str, path: str) -> list[WeightRow]:
        return dense_rows(name, path, bias=config.enable_bias)

    rows = [
        WeightRow(f"{_DECODER}.embed_tokens.weight", "word/embedding"),
        WeightRow(f"{_DECODER}.embed_positions.weight", "position/embedding"),
        *norm(f"{_LAYER}.self_attn_layer_norm", "layers/attention_norm"),
        *dense(f"{_LAYER}.self_attn.q_proj", "layers/attention/query"),
        *dense(f"{_LAYER}.self_attn.k_proj", "layers/attention/key"),
        *dense(f"{_LAYER}.self_attn.v_proj", "layers/attention/value"),
        *dense(f"{_LAYER}.self_attn.out_proj", "layers/attention/output"),
        *norm(f"{_LAYER}.final_layer_norm", "layers/mlp_norm"),
        *dense(f"{_LAYER}.fc1", "layers/up"),
        *dense(f"{_LAYER}.fc2", "layers/down"),
        *(norm(f"{_DECODER}.final_layer_norm", "norm") if config.final_norm else []),
        *head_rows(config),
    ]
    if config.projected:
        rows += dense_rows(f"{_DECODER}.project_in", "project_in", bias=False)
        rows += dense_rows(f"{_DECODER}.project_out", "project_out", bias=False)
    return WeightTable(rows=tuple(rows), prefix="model.", head="score", ignored=OTHER_HEADS)


def opt_export(config: OPTConfig) -> Export:
    """The torch class that computes the same."""
    return decoder_export(config, "OPTForSequenceClassification", "OPTForCausalLM")
