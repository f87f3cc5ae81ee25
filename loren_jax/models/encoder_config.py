"""What the configurations of BERT and its kin have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loren_jax.models.network_config import NetworkConfig


@dataclass(frozen=True)
class EncoderConfig(NetworkConfig):
    """Shape and options of an encoder; the fields carry the names that BERT gave them.

    Attributes:
        vocab_size: Rows V of the word embedding.
        hidden_size: Width D of the residual stream.
        num_hidden_layers: Number of encoder layers.
        num_attention_heads: Heads per layer; must divide ``hidden_size``.
        intermediate_size: Width of the hidden layer of the MLP.
        max_position_embeddings: Rows of the position embedding.
        layer_norm_eps: Added to the variance in every layer norm.
        hidden_act: Activation of the MLP, a key of ``ACTIVATIONS``.
        pad_token_id: Token that fills short sequences.
        mask_token_id: Token that a masked language model answers at.
        num_labels: Number of classes C.
        pooling: How the hidden states become one vector for the classifier.
        head: ``classification`` or ``language_model``.
    """

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    pad_token_id: int | None = 0
    mask_token_id: int | None = None
    num_labels: int = 2
    pooling: str = "cls"
    head: str = "classification"

    POOLINGS: ClassVar[tuple[str, ...]] = ("cls",)
    ACTIVATION: ClassVar[str] = "hidden_act"
    FIXED: ClassVar[Mapping[str, Any]] = {
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    }
    POSITIVE: ClassVar[tuple[str, ...]] = (
        *("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_labels"),
    )
    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = (("hidden_size", "num_attention_heads"),)

    @property
    def head_size(self) -> int:
        """Width H of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def max_length(self) -> int:
        """Longest sequence that the model has positions for."""
        return self.max_position_embeddings
