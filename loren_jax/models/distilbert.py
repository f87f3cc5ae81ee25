"""DistilBERT: configuration, network and weight table.

Shape suffixes: B batch, T tokens, D hidden size, C labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
from flax import nnx

from loren_jax.models.encoder import (
    Encoder,
    EncoderConfig,
    TwoLayerHead,
    encoder_export,
    encoder_table,
)
from loren_jax.models.network import Family
from loren_jax.models.weights import WeightRow, WeightTable


@dataclass(frozen=True, kw_only=True)
class DistilBertConfig(EncoderConfig):
    """Shape and options of a DistilBERT, under the names that BERT's have.

    >>> raw = {"vocab_size": 8, "dim": 4, "n_layers": 1, "n_heads": 3, "hidden_dim": 8}
    >>> DistilBertConfig.from_hugging_face(raw)
    Traceback (most recent call last):
    ...
    ValueError: dim=4 must be a multiple of n_heads=3
    """

    RENAMED: ClassVar[Mapping[str, str]] = {
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
    }


class DistilBertNetwork(Encoder):
    """A DistilBERT encoder with a classifier or a masked language model on top.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.
    """

    def __init__(self, config: DistilBertConfig, *, rngs: nnx.Rngs):
        super().__init__(config, segments=0, lm_activation=config.hidden_act, rngs=rngs)
        if config.head == "classification":
            self.classifier = TwoLayerHead(config, jax.nn.relu, rngs=rngs)


_LAYER = "distilbert.transformer.layer.{layer}"


def _weight_table(config: DistilBertConfig) -> WeightTable:
    """Total for `DistilBertModel` and `DistilBertFor-SequenceClassification, -MaskedLM`."""
    norm, dense = WeightRow.norm, WeightRow.linear
    embeddings = "distilbert.embeddings"
    rows = [
        WeightRow(f"{embeddings}.word_embeddings.weight", "embeddings/word/embedding"),
        WeightRow(f"{embeddings}.position_embeddings.weight", "embeddings/position/embedding"),
        *norm(f"{embeddings}.LayerNorm", "embeddings/norm"),
        *dense(f"{_LAYER}.attention.q_lin", "layers/attention/query"),
        *dense(f"{_LAYER}.attention.k_lin", "layers/attention/key"),
        *dense(f"{_LAYER}.attention.v_lin", "layers/attention/value"),
        *dense(f"{_LAYER}.attention.out_lin", "layers/attention/output"),
        *norm(f"{_LAYER}.sa_layer_norm", "layers/attention_norm"),
        *dense(f"{_LAYER}.ffn.lin1", "layers/up"),
        *dense(f"{_LAYER}.ffn.lin2", "layers/down"),
        *norm(f"{_LAYER}.output_layer_norm", "layers/mlp_norm"),
    ]
    head = dense("pre_classifier", "classifier/dense") + dense("classifier", "classifier/output")
    masked_lm = ("vocab_transform", "vocab_layer_norm", "vocab_projector.bias", "vocab_projector")
    unused = ("vocab_*",)
    if config.head == "language_model":
        unused = ("vocab_projector.weight", "pre_classifier.*", "classifier.*")
    return encoder_table(config, "distilbert.", rows, head, masked_lm, *unused)


DISTILBERT = Family(DistilBertConfig, DistilBertNetwork, _weight_table, encoder_export)
