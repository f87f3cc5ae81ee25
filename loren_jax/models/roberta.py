"""RoBERTa: configuration, network and weight table.

Shape suffixes: B batch, T tokens, D hidden size, C labels.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Int

from loren_jax.models.bert import bert_rows
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
class RobertaConfig(EncoderConfig):
    """Shape and options of a RoBERTa: those of `EncoderConfig`, and the number of segments.

    Attributes:
      type_vocab_size: Number of segment kinds; `token_type_ids` are not looked at if it is 1.

    >>> config = RobertaConfig(vocab_size=8, hidden_size=4, num_hidden_layers=2,
    ...     num_attention_heads=2, intermediate_size=8, max_position_embeddings=514)
    >>> config.max_length  # the first positions belong to the padding
    512
    """

    pad_token_id: int | None = 1
    type_vocab_size: int = 2

    def __post_init__(self) -> None:
        """Refuses what leaves no room for the positions."""
        super().__post_init__()
        if self.max_length < 1:
            raise ValueError(
                f"max_position_embeddings={self.max_position_embeddings} leaves no position behind "
                f"pad_token_id={self.padding}"
            )

    @property
    def padding(self) -> int:
        """The padding's token, which is its position too; those of the text begin behind it."""
        if self.pad_token_id is None:
            raise ValueError("pad_token_id=None: RoBERTa counts its positions by that token")
        return self.pad_token_id

    @property
    def max_length(self) -> int:
        """Longest sequence that the model has positions for."""
        return self.max_position_embeddings - self.padding - 1


class RobertaNetwork(Encoder):
    """A RoBERTa encoder with a classifier or a masked language model on top.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.
    """

    def __init__(self, config: RobertaConfig, *, rngs: nnx.Rngs):
        # The head of the language model has this activation whatever hidden_act is.
        super().__init__(config, segments=config.type_vocab_size, lm_activation="gelu", rngs=rngs)
        self.padding = config.padding
        if config.head == "classification":
            self.classifier = TwoLayerHead(config, jnp.tanh, rngs=rngs)

    def positions(
        self, input_ids: Int[Array, "B T"], read: Bool[Array, "B T"]
    ) -> Int[Array, "B T"]:
        """Numbers the tokens that are no padding, from behind the padding's own position.

        By the ids, as Hugging Face does, and by the mask, where padding is of another token.
        """
        present_BxT = (jnp.not_equal(input_ids, self.padding) & read).astype(jnp.int32)
        return jnp.cumsum(present_BxT, axis=1) * present_BxT + self.padding


def _weight_table(config: RobertaConfig) -> WeightTable:
    """Total for `RobertaModel` and `RobertaFor-SequenceClassification, -MaskedLM`."""
    head = WeightRow.linear("classifier.dense", "classifier/dense")
    head += WeightRow.linear("classifier.out_proj", "classifier/output")
    masked_lm = ("lm_head.dense", "lm_head.layer_norm", "lm_head.bias", "lm_head.decoder")
    language_model = config.head == "language_model"
    unused = ("lm_head.decoder.*", "classifier.*") if language_model else ("lm_head.*",)
    rows, pooler = bert_rows("roberta."), "roberta.pooler.dense.*"
    return encoder_table(config, "roberta.", rows, head, masked_lm, pooler, *unused)


ROBERTA = Family(RobertaConfig, RobertaNetwork, _weight_table, encoder_export)
