"""BERT: configuration, network and weight table.

Shape suffixes: B batch, T tokens, D hidden size, C labels.
"""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from loren_jax.models.encoder import Encoder, EncoderConfig, encoder_export, encoder_table
from loren_jax.models.layers import linear, mean_of
from loren_jax.models.network import Export, Family
from loren_jax.models.weights import WeightRow, WeightTable

MEAN_POOLED = "mean_pooled_bert"
"""Type of a BERT that takes the mean, in what we export."""


@dataclass(frozen=True, kw_only=True)
class BertConfig(EncoderConfig):
    """Shape and options of a BERT; the fields carry Hugging Face's names.

    Those of `EncoderConfig`, of which `pooling` is `cls` for BERT's own pooler (dense and
    tanh on the first token) or `mean` for the average of the unmasked last hidden states, and:

    Attributes:
      type_vocab_size: Number of segment kinds.

    >>> config = BertConfig(vocab_size=8, hidden_size=4, num_hidden_layers=2,
    ...     num_attention_heads=2, intermediate_size=8)
    >>> config.head_size
    2
    >>> BertConfig.from_hugging_face({"position_embedding_type": "relative_key"})
    Traceback (most recent call last):
    ...
    ValueError: position_embedding_type='relative_key' is not supported; use a checkpoint
    with position_embedding_type='absolute'
    """

    type_vocab_size: int = 2

    POOLINGS: ClassVar[tuple[str, ...]] = ("cls", "mean")


class BertNetwork(Encoder):
    """A BERT encoder with a classifier or a masked language model on top.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.

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
            pooled_BxD = mean_of(x_BxTxD, mask_BxT)
        else:
            pooled_BxD = jnp.tanh(self.pooler(x_BxTxD[:, 0]).astype(wide))
        return self.classifier(pooled_BxD)


def bert_rows(prefix: str) -> list[WeightRow]:
    """Rows of the embeddings and the layers; RoBERTa's differ in the prefix alone."""
    norm, dense = WeightRow.norm, WeightRow.linear
    embeddings, layer = f"{prefix}embeddings", f"{prefix}encoder.layer.{{layer}}"
    return [
        WeightRow(f"{embeddings}.word_embeddings.weight", "embeddings/word/embedding"),
        WeightRow(f"{embeddings}.position_embeddings.weight", "embeddings/position/embedding"),
        WeightRow(f"{embeddings}.token_type_embeddings.weight", "embeddings/token_type/embedding"),
        *norm(f"{embeddings}.LayerNorm", "embeddings/norm"),
        *dense(f"{layer}.attention.self.query", "layers/attention/query"),
        *dense(f"{layer}.attention.self.key", "layers/attention/key"),
        *dense(f"{layer}.attention.self.value", "layers/attention/value"),
        *dense(f"{layer}.attention.output.dense", "layers/attention/output"),
        *norm(f"{layer}.attention.output.LayerNorm", "layers/attention_norm"),
        *dense(f"{layer}.intermediate.dense", "layers/up"),
        *dense(f"{layer}.output.dense", "layers/down"),
        *norm(f"{layer}.output.LayerNorm", "layers/mlp_norm"),
    ]


def _weight_table(config: BertConfig) -> WeightTable:
    """Total for `BertModel` and `BertFor-SequenceClassification, -MaskedLM, -PreTraining`."""
    head = WeightRow.linear("classifier", "classifier")
    unused = ["cls.seq_relationship.*", "cls.predictions.*"]
    if config.head == "language_model":
        unused[1:] = "cls.predictions.decoder.*", "classifier.*"
    if config.head == "classification" and config.pooling == "cls":
        head = WeightRow.linear("bert.pooler.dense", "pooler") + head
    else:
        unused.append("bert.pooler.dense.*")
    parts = ("transform.dense", "transform.LayerNorm", "bias", "decoder")
    masked_lm = [f"cls.predictions.{part}" for part in parts]
    return encoder_table(
        config, "bert.", bert_rows("bert."), head, masked_lm, *unused, pooler="pooler"
    )


def _export(config: BertConfig) -> Export:
    """The torch class that computes the same; transformers has none that takes the mean."""
    if config.head == "classification" and config.pooling == "mean":
        return Export(
            "MeanPooledBertForSequenceClassification",
            "mean_pooled_bert.py.txt",
            # As "bert", transformers would load it with a new pooler where code is not trusted.
            settings={"model_type": MEAN_POOLED},
        )
    return encoder_export(config)


BERT = Family(BertConfig, BertNetwork, _weight_table, _export)
