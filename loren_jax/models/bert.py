"""BERT encoders with a classification head: the network and its weight table.

The layers are stacked (every leaf under ``layers`` has a leading layer axis) and scanned, so that a
program compiles one layer whatever the depth, and perturbed evaluation keeps the noise of only one
layer alive. There is no dropout: zeroth-order fine-tuning compares losses of equal networks.

Shape suffixes: B batch, T tokens, D hidden size, N heads, H head size, C labels.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from loren_jax.models.activations import ACTIVATIONS
from loren_jax.models.bert_config import BertConfig
from loren_jax.models.weights import WeightRow, WeightTable

Tokens = Int[Array | np.ndarray, "B T"]
Mask = Int[Array | np.ndarray, "B T"] | Bool[Array | np.ndarray, "B T"]


def _linear(fan_in: int, fan_out: int, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(fan_in, fan_out, kernel_init=nnx.initializers.normal(0.02), rngs=rngs)


def _layer_norm(config: BertConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    # Two passes over the row: the one-pass variance cancels, and comparing losses feels it.
    return nnx.LayerNorm(
        config.hidden_size, epsilon=config.layer_norm_eps, use_fast_variance=False, rngs=rngs
    )


class Embedding(nnx.Module):
    """A table of vectors.

    Flax's own casts to the type that the table had when it was made, and not to the type that the
    parameters have now. An index outside the table gives NaN, never another row.
    """

    def __init__(self, rows: int, width: int, *, rngs: nnx.Rngs):
        self.embedding = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (rows, width)))

    def __call__(self, index: Int[Array, "..."]) -> Float[Array, "... D"]:
        """Looks rows up."""
        return jnp.take(self.embedding[...], index, axis=0)


class BertEmbeddings(nnx.Module):
    """Sum of word, position and token type embeddings, normalised."""

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        self.word = Embedding(config.vocab_size, config.hidden_size, rngs=rngs)
        self.position = Embedding(config.max_position_embeddings, config.hidden_size, rngs=rngs)
        self.token_type = Embedding(config.type_vocab_size, config.hidden_size, rngs=rngs)
        self.norm = _layer_norm(config, rngs)

    def __call__(
        self, input_ids: Int[Array, "B T"], token_type_ids: Int[Array, "B T"]
    ) -> Float[Array, "B T D"]:
        """Embeds the tokens; positions count from the left edge, as BERT's do."""
        token_BxTxD = self.word(input_ids) + self.token_type(token_type_ids)
        position_TxD = self.position(jnp.arange(input_ids.shape[1]))
        return self.norm(token_BxTxD + position_TxD[None, :, :])


class BertAttention(nnx.Module):
    """Multi-head self-attention; its kernels are plain (D, D) matrices."""

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        self.num_heads = config.num_attention_heads
        self.query, self.key, self.value, self.output = (
            _linear(config.hidden_size, config.hidden_size, rngs) for _ in range(4)
        )

    def __call__(
        self, x_BxTxD: Float[Array, "B T D"], mask_Bx1x1xT: Bool[Array, "B 1 1 T"]
    ) -> Float[Array, "B T D"]:
        """Attends from every token to the unmasked ones; the softmax is in float32."""
        heads = (*x_BxTxD.shape[:2], self.num_heads, -1)
        attended_BxTxNxH = jax.nn.dot_product_attention(
            self.query(x_BxTxD).reshape(heads),
            self.key(x_BxTxD).reshape(heads),
            self.value(x_BxTxD).reshape(heads),
            mask=mask_Bx1x1xT,
        )
        return self.output(attended_BxTxNxH.reshape(x_BxTxD.shape))


class BertLayer(nnx.Module):
    """Attention and MLP, each added to its input and then normalised."""

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        self.activation = config.hidden_act
        self.attention = BertAttention(config, rngs=rngs)
        self.attention_norm = _layer_norm(config, rngs)
        self.up = _linear(config.hidden_size, config.intermediate_size, rngs)
        self.down = _linear(config.intermediate_size, config.hidden_size, rngs)
        self.mlp_norm = _layer_norm(config, rngs)

    def __call__(
        self, x_BxTxD: Float[Array, "B T D"], mask_Bx1x1xT: Bool[Array, "B 1 1 T"]
    ) -> Float[Array, "B T D"]:
        """Applies the layer."""
        x_BxTxD = self.attention_norm(x_BxTxD + self.attention(x_BxTxD, mask_Bx1x1xT))
        hidden = ACTIVATIONS[self.activation](self.up(x_BxTxD))
        return self.mlp_norm(x_BxTxD + self.down(hidden))


class BertClassifier(nnx.Module):
    """A BERT encoder, its pooling and a linear head.

    Args:
        config: The configuration.
        rngs: Source of the random initial parameters.

    Example:
        >>> config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=2,
        ...     num_attention_heads=2, intermediate_size=8, num_labels=3)
        >>> model = nnx.eval_shape(lambda: BertClassifier(config, rngs=nnx.Rngs(0)))
        >>> model.layers.attention.query.kernel.shape  # two layers
        (2, 4, 4)
    """

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        @nnx.split_rngs(splits=config.num_hidden_layers)
        @nnx.vmap(in_axes=(0,), out_axes=0)
        def stacked_layers(rngs: nnx.Rngs) -> BertLayer:
            return BertLayer(config, rngs=rngs)

        self.max_length = config.max_position_embeddings
        self.pooling = config.pooling
        self.embeddings = BertEmbeddings(config, rngs=rngs)
        self.layers = stacked_layers(rngs)
        if config.pooling == "cls":
            self.pooler = _linear(config.hidden_size, config.hidden_size, rngs)
        self.classifier = _linear(config.hidden_size, config.num_labels, rngs)

    def encode(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token.

        Args:
            input_ids: Token ids, (B, T).
            attention_mask: Non-zero at the tokens to read, (B, T); padding may be on either side.
            token_type_ids: Segment ids, (B, T); all zero if left out.

        Returns:
            Hidden states (B, T, D) in the dtype of the parameters. Those of padding mean nothing.

        Raises:
            ValueError: If T exceeds the positions that the model has.
        """
        if input_ids.shape[1] > self.max_length:
            raise ValueError(
                f"input_ids has {input_ids.shape[1]} tokens a row, but the model has "
                f"{self.max_length} positions; truncate the text"
            )
        if token_type_ids is None:
            token_type_ids = jnp.zeros_like(input_ids)
        mask_Bx1x1xT = jnp.asarray(attention_mask != 0)[:, None, None, :]
        layer, stacked_params = nnx.split(self.layers)

        def apply_layer(x_BxTxD, params):
            return nnx.merge(layer, params)(x_BxTxD, mask_Bx1x1xT), None

        x_BxTxD = self.embeddings(jnp.asarray(input_ids), jnp.asarray(token_type_ids))
        return jax.lax.scan(apply_layer, x_BxTxD, stacked_params)[0]

    def __call__(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B C"]:
        """Class logits; the arguments are those of ``encode``.

        Returns:
            Logits (B, C), in float32 also when the parameters are not: the differences between
            losses that a zeroth-order step lives on are smaller than a bfloat16 can tell.
        """
        x_BxTxD = self.encode(input_ids, attention_mask, token_type_ids)
        wide = jnp.promote_types(x_BxTxD.dtype, jnp.float32)
        if self.pooling == "mean":
            weight_BxTx1 = (attention_mask != 0).astype(wide)[:, :, None]
            count_Bx1 = jnp.maximum(weight_BxTx1.sum(axis=1), 1)  # an empty row is no NaN
            pooled_BxD = (x_BxTxD.astype(wide) * weight_BxTx1).sum(axis=1) / count_Bx1
        else:
            pooled_BxD = jnp.tanh(self.pooler(x_BxTxD[:, 0]).astype(wide))
        return self.classifier(pooled_BxD)


_LAYER = "bert.encoder.layer.{layer}"


def bert_weight_table(config: BertConfig) -> WeightTable:
    """Where each tensor of a Hugging Face BERT belongs.

    Args:
        config: Decides whether there is a pooler.

    Returns:
        The table, total for ``BertForSequenceClassification`` and ``BertModel`` checkpoints.
    """
    norm, dense = WeightRow.norm, WeightRow.linear
    rows = [
        WeightRow("bert.embeddings.word_embeddings.weight", "embeddings/word/embedding"),
        WeightRow("bert.embeddings.position_embeddings.weight", "embeddings/position/embedding"),
        WeightRow(
            "bert.embeddings.token_type_embeddings.weight", "embeddings/token_type/embedding"
        ),
        *norm("bert.embeddings.LayerNorm", "embeddings/norm"),
        *dense(f"{_LAYER}.attention.self.query", "layers/attention/query"),
        *dense(f"{_LAYER}.attention.self.key", "layers/attention/key"),
        *dense(f"{_LAYER}.attention.self.value", "layers/attention/value"),
        *dense(f"{_LAYER}.attention.output.dense", "layers/attention/output"),
        *norm(f"{_LAYER}.attention.output.LayerNorm", "layers/attention_norm"),
        *dense(f"{_LAYER}.intermediate.dense", "layers/up"),
        *dense(f"{_LAYER}.output.dense", "layers/down"),
        *norm(f"{_LAYER}.output.LayerNorm", "layers/mlp_norm"),
        *dense("classifier", "classifier"),
    ]
    # Rebuilt from the shape, and the heads of pre-training, which a classifier has no use for.
    ignored = ["bert.embeddings.position_ids", "cls.predictions.*", "cls.seq_relationship.*"]
    if config.pooling == "cls":
        rows += dense("bert.pooler.dense", "pooler")
    else:
        ignored += ["bert.pooler.dense.weight", "bert.pooler.dense.bias"]
    return WeightTable(
        rows=tuple(rows),
        prefix="bert.",
        head="classifier",
        ignored=tuple(ignored),
        # Checkpoints converted from TensorFlow keep its names for the two parts of a layer norm.
        renamed=((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias")),
    )
