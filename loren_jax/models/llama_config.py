"""The configuration of a Llama, read from Hugging Face's ``config.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loren_jax.models.decoder_config import DecoderConfig
from loren_jax.models.rotary import PLAIN, Rotary


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(DecoderConfig):
    """Shape and options of a Llama; the fields carry Hugging Face's names, save ``rotary``.

    Attributes:
        hidden_size: Width D of the residual stream.
        num_hidden_layers: Number of layers.
        num_attention_heads: Heads per layer N.
        intermediate_size: Width of the hidden layer of the MLP.
        num_key_value_heads: Heads of keys and values K, a divisor of N; None for N.
        head_dim: Width H of a head; None for ``hidden_size / num_attention_heads``.
        max_position_embeddings: Longest sequence that the model was made for.
        rms_norm_eps: Added to the mean square in every norm.
        hidden_act: Activation of the MLP's gate, a key of ``ACTIVATIONS``.
        attention_bias: Whether the dense layers of the attention have biases.
        mlp_bias: Whether those of the MLP have.
        rotary: How the heads turn with the position.

    Example:
        >>> config = LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=2,
        ...     num_attention_heads=4, intermediate_size=8, num_key_value_heads=2)
        >>> config.head_size, config.key_value_heads
        (2, 2)
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    hidden_act: str = "silu"
    attention_bias: bool = False
    mlp_bias: bool = False
    tie_word_embeddings: bool = False
    rotary: Rotary = PLAIN

    ACTIVATION: ClassVar[str] = "hidden_act"
    POSITIVE: ClassVar[tuple[str, ...]] = (
        *("vocab_size", "num_labels", "num_hidden_layers", "num_attention_heads"),
    )

    def __post_init__(self) -> None:
        """Refuses options that the network would otherwise misread in silence."""
        super().__post_init__()
        if self.key_value_heads < 1 or self.num_attention_heads % self.key_value_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} must be a multiple of "
                f"num_key_value_heads={self.num_key_value_heads}"
            )
        if self.head_dim is None and self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size={self.hidden_size} must be a multiple of "
                f"num_attention_heads={self.num_attention_heads} where head_dim is not given"
            )
        if self.head_size % 2:
            raise ValueError(f"head_dim={self.head_size} must be even")

    @property
    def head_size(self) -> int:
        """Width H of one attention head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def key_value_heads(self) -> int:
        """Number K of heads of keys and values."""
        if self.num_key_value_heads is None:
            return self.num_attention_heads
        return self.num_key_value_heads

    @property
    def max_length(self) -> int:
        """Longest sequence that the model was made for."""
        return self.max_position_embeddings

    @classmethod
    def translated(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parsed file with ``rotary``, which several of its entries describe."""
        return {**raw, "rotary": Rotary.from_hugging_face(raw)}
