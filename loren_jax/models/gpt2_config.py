"""The configuration of a GPT-2, read from Hugging Face's ``config.json``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loren_jax.models.decoder_config import DecoderConfig


@dataclass(frozen=True, kw_only=True)
class GPT2Config(DecoderConfig):
    """Shape and options of a GPT-2; the fields carry Hugging Face's names.

    Attributes:
        n_embd: Width D of the residual stream.
        n_layer: Number of layers.
        n_head: Heads per layer; must divide ``n_embd``.
        n_positions: Longest sequence that the model can read.
        n_inner: Width of the hidden layer of the MLP; None for four times ``n_embd``.
        activation_function: Activation of the MLP, a key of ``ACTIVATIONS``.
        layer_norm_epsilon: Added to the variance in every layer norm.

    Example:
        >>> config = GPT2Config(vocab_size=8, n_embd=4, n_layer=2, n_head=2)
        >>> config.head_size, config.inner_size
        (2, 16)
        >>> GPT2Config.from_hugging_face({"reorder_and_upcast_attn": True})
        Traceback (most recent call last):
        ...
        ValueError: reorder_and_upcast_attn=True is not supported; use a checkpoint with
        reorder_and_upcast_attn=False
    """

    n_embd: int
    n_layer: int
    n_head: int
    n_positions: int = 1024
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5

    FIXED: ClassVar[Mapping[str, Any]] = {
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "scale_attn_weights": True,
        "add_cross_attention": False,
    }
    ACTIVATION: ClassVar[str] = "activation_function"
    POSITIVE: ClassVar[tuple[str, ...]] = ("vocab_size", "num_labels", "n_layer", "n_head")
    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = (("n_embd", "n_head"),)

    @property
    def head_size(self) -> int:
        """Width H of one attention head."""
        return self.n_embd // self.n_head

    @property
    def inner_size(self) -> int:
        """Width of the hidden layer of the MLP."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def max_length(self) -> int:
        """Longest sequence that the model can read."""
        return self.n_positions
