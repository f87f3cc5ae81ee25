"""BERT: the network and its weight table.

Shape suffixes: B batch, T tokens, D hidden size, C labels.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from loren_jax.models.bert_config import BertConfig
from loren_jax.models.encoder import Encoder
from loren_jax.models.export import Export
from loren_jax.models.layers import linear
from loren_jax.models.weights import WeightRow, WeightTable


class BertNetwork(Encoder):
    """A BERT encoder with a classifier or a masked language model on top.

    Args:
        config: The configuration.
        rngs: Source of the random initial parameters.

    Example:
        >>> config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=2,
        ...     num_attention_heads=2, intermediate_size=8, num_labels=3)
        >>> model = nnx.eval_shape(lambda: BertNetwork(config, rngs=nnx.Rngs(0)))
        >>> model.layers.attention.query.kernel.shape  # two layers
        (2, 4, 4)
    """

    def __init__(self, config: BertConfig, *, rngs: nnx.Rngs):
        super().__init__(
            config, segments=config.type_vocab_size, lm_activation=config.hidden_act, rngs=rngs
        )
        if config.head == "classification":
            if config.pooling == "cls":
                self.pooler = linear(config.hidden_size, config.hidden_size, rngs)
            self.classifier = linear(config.hidden_size, config.num_labels, rngs)

    def classify(
        self, x_BxTxD: Float[Array, "B T D"], mask_BxT: Bool[Array, "B T"]
    ) -> Float[Array, "B C"]:
        """The mean of the unmasked hidden states, or BERT's pooler, and a linear layer."""
        wide = jnp.promote_types(x_BxTxD.dtype, jnp.float32)
        if self.config.pooling == "mean":
            weight_BxTx1 = mask_BxT.astype(wide)[:, :, None]
            count_Bx1 = jnp.maximum(weight_BxTx1.sum(axis=1), 1)  # an empty row is no NaN
            pooled_BxD = (x_BxTxD.astype(wide) * weight_BxTx1).sum(axis=1) / count_Bx1
        else:
            pooled_BxD = jnp.tanh(self.pooler(x_BxTxD[:, 0]).astype(wide))
        return self.classifier(pooled_BxD)


_LAYER = "bert.encoder.layer.{layer}"


def bert_weight_table(config: BertConfig) -> WeightTable:
    """Where each tensor of a Hugging Face BERT belongs.

    Args:
        config: Decides which head there is.

    Returns:
        The table, total for checkpoints of ``BertModel``, ``BertForSequenceClassification``,
        ``BertForMaskedLM`` and ``BertForPreTraining``.
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
    ]
    # Rebuilt from the shape, and what a network with this head has no use for.
    ignored = ["bert.embeddings.position_ids", "cls.seq_relationship.*"]
    if config.head == "language_model":
        rows += dense("cls.predictions.transform.dense", "masked_lm/dense")
        rows += norm("cls.predictions.transform.LayerNorm", "masked_lm/norm")
        rows.append(WeightRow("cls.predictions.bias", "masked_lm/bias"))
        ignored += ["cls.predictions.decoder.*", "bert.pooler.dense.*", "classifier.*"]
    elif config.pooling == "cls":
        rows += dense("bert.pooler.dense", "pooler") + dense("classifier", "classifier")
        ignored.append("cls.predictions.*")
    else:
        rows += dense("classifier", "classifier")
        ignored += ["cls.predictions.*", "bert.pooler.dense.*"]
    return WeightTable(
        rows=tuple(rows),
        prefix="bert.",
        head="classifier",
        pooler="pooler",
        ignored=tuple(ignored),
        # Checkpoints converted from TensorFlow keep its names for the two parts of a layer norm.
        renamed=((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias")),
    )


def bert_export(config: BertConfig) -> Export:
    """The torch class that computes the same; transformers has none that takes the mean."""
    if config.head == "language_model":
        return Export("BertForMaskedLM")
    if config.pooling == "mean":
        return Export("MeanPooledBertForSequenceClassification", "mean_pooled_bert.py.txt")
    return Export("BertForSequenceClassification")
