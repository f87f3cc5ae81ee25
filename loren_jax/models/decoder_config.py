"""What the configurations of all decoders share."""

from dataclasses import dataclass
from typing import ClassVar

from loren_jax.models.network_config import NetworkConfig


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(NetworkConfig):
    """Fields of every decoder; they carry Hugging Face's names.

    Attributes:
        vocab_size: Rows of the word embedding.
        tie_word_embeddings: Whether the output layer of the language model is the word embedding.
        pad_token_id: Token that fills short sequences. A classifier reads the last token that is
            another one; if this is None, the last unmasked one.
        num_labels: Number of classes C.
        pooling: ``last``, the only one: the last token is the one that has read all others.
        head: ``classification`` or ``language_model``.
    """

    vocab_size: int
    tie_word_embeddings: bool = True
    pad_token_id: int | None = None
    num_labels: int = 2
    pooling: str = "last"
    head: str = "classification"

    POOLINGS: ClassVar[tuple[str, ...]] = ("last",)
