"""The configuration of a BERT, read from Hugging Face's ``config.json``."""

from dataclasses import dataclass
from typing import ClassVar

from loren_jax.models.encoder_config import EncoderConfig


@dataclass(frozen=True)
class BertConfig(EncoderConfig):
    """Shape and options of a BERT; the fields carry Hugging Face's names.

    Those of ``EncoderConfig``, of which ``pooling`` is ``cls`` for BERT's own pooler (dense and
    tanh on the first token) or ``mean`` for the average of the unmasked last hidden states, and:

    Attributes:
        type_vocab_size: Number of segment kinds.

    Example:
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
