"""The configuration of an OPT, read from Hugging Face's ``config.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from loren_jax.models.decoder_config import DecoderConfig


@dataclass(frozen=True, kw_only=True)
class OPTConfig(DecoderConfig):
    """Shape and options of an OPT; the fields carry Hugging Face's names.

    Attributes:
        hidden_size: Width of the residual stream.
        num_hidden_layers: Number of layers.
        num_attention_heads: Heads per layer; must divide ``hidden_size``.
        ffn_dim: Width of the hidden layer of the MLP.
        max_position_embeddings: Longest sequence that the model can read.
        word_embed_proj_dim: Width D of the word embedding and of the last hidden states; None for
            ``hidden_size``. Where the two differ, as in OPT-350m, a matrix leads from one to the
            other at either end.
        do_layer_norm_before: Whether a layer norm stands before each block (true in every size but
            350m) or after it; there is then no final one.
        remove_final_layer_norm: Whether the final layer norm is absent all the same, as in models
            that were tuned before transformers 4.20.1, whose ``config.json`` says
            ``_remove_final_layer_norm``.
        enable_bias: Whether the dense layers have biases.
        layer_norm_elementwise_affine: Whether the layer norms have a scale and a bias.
        activation_function: Activation of the MLP, a key of ``ACTIVATIONS``.

    Example:
        >>> config = OPTConfig(vocab_size=8, hidden_size=4, num_hidden_layers=2,
        ...     num_attention_heads=2, ffn_dim=8, word_embed_proj_dim=2)
        >>> config.embed_size, config.head_size
        (2, 2)
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    ffn_dim: int
    max_position_embeddings: int = 2048
    word_embed_proj_dim: int | None = None
    do_layer_norm_before: bool = True
    remove_final_layer_norm: bool = False
    enable_bias: bool = True
    layer_norm_elementwise_affine: bool = True
    activation_function: str = "relu"
    pad_token_id: int | None = 1

    ACTIVATION: ClassVar[str] = "activation_function"
    RENAMED: ClassVar[Mapping[str, str]] = {"remove_final_layer_norm": "_remove_final_layer_norm"}
    POSITIVE: ClassVar[tuple[str, ...]] = (
        *("vocab_size", "num_labels", "num_hidden_layers", "num_attention_heads"),
    )
    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = (("hidden_size", "num_attention_heads"),)

    @property
    def head_size(self) -> int:
        """Width H of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def embed_size(self) -> int:
        """Width D of the word embedding and of the last hidden states."""
        return self.word_embed_proj_dim or self.hidden_size

    @property
    def projected(self) -> bool:
        """Whether the embedding and the residual stream have different widths."""
        return self.embed_size != self.hidden_size

    @property
    def final_norm(self) -> bool:
        """Whether there is a layer norm after the last layer."""
        return self.do_layer_norm_before and not self.remove_final_layer_norm

    @property
    def max_length(self) -> int:
        """Longest sequence that the model can read."""
        return self.max_position_embeddings
