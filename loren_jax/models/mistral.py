"""Mistral: configuration and network.

A Llama all of whose layers may read a window of the nearest tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loren_jax.models.decoder import decoder_export
from loren_jax.models.gated import GatedConfig, GatedDecoder, gated_table
from loren_jax.models.layer_kinds import LayerKind
from loren_jax.models.network import Family


@dataclass(frozen=True, kw_only=True)
class MistralConfig(GatedConfig):
    """Shape and options of a Mistral; the fields carry Hugging Face's names, save `rotary`.

    Those of `GatedConfig`, and:

    Attributes:
      sliding_window: How many tokens a token reads, itself included; None for all before it.

    >>> config = MistralConfig(vocab_size=8, hidden_size=8, num_hidden_layers=2,
    ...     num_attention_heads=4, intermediate_size=8, sliding_window=3)
    >>> [kind.window for kind in config.kinds]
    [3, 3]
    """

    max_position_embeddings: int = 131072
    sliding_window: int | None = 4096

    UNSAID: ClassVar[Mapping[str, Any]] = {"num_key_value_heads": 8}
    # Ministral is another family: its layers are of two kinds.
    FIXED: ClassVar[Mapping[str, Any]] = {"layer_types": None}

    def __post_init__(self) -> None:
        """Refuses a window that shows nothing."""
        super().__post_init__()
        if self.sliding_window is not None and self.sliding_window < 1:
            raise ValueError(f"sliding_window={self.sliding_window} must be at least 1, or null")

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kind of every layer, the first layer's first."""
        return (LayerKind(self.rotary, self.sliding_window),) * self.num_hidden_layers


class MistralNetwork(GatedDecoder):
    """A Mistral with a classification head or as a language model.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.
    """


MISTRAL = Family(MistralConfig, MistralNetwork, gated_table, decoder_export)
