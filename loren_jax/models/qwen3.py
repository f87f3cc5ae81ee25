"""Qwen3, the dense ones: configuration and network.

A Llama that normalises every head of its queries and keys, and may read a window as Qwen2 does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loren_jax.models.decoder import decoder_export
from loren_jax.models.gated import ATTENTION, GatedDecoder, WindowedConfig, gated_table
from loren_jax.models.network import Family
from loren_jax.models.qwen2 import upper_windows


@dataclass(frozen=True, kw_only=True)
class Qwen3Config(WindowedConfig):
    """Shape and options of a Qwen3; the fields carry Hugging Face's names, save `rotary`.

    Those of `WindowedConfig`, and:

    Attributes:
      head_dim: Width H of a head, whatever the width of the stream.
      attention_bias: Whether the dense layers of the attention have biases.

    >>> config = Qwen3Config(vocab_size=8, hidden_size=8, num_hidden_layers=2,
    ...     num_attention_heads=4, intermediate_size=8, head_dim=6)
    >>> config.head_size, config.key_value_heads
    (6, 4)
    """

    head_dim: int | None = 128
    max_position_embeddings: int = 32768
    attention_bias: bool = False

    UNSAID: ClassVar[Mapping[str, Any]] = {"num_key_value_heads": 32}
    HEAD_NORMS: ClassVar[bool] = True

    @property
    def biased(self) -> tuple[str, ...]:
        """Which dense layers of a layer have biases, by our names."""
        return ATTENTION * self.attention_bias

    @classmethod
    def translate(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parsed file with `rotary` and what it says of windows."""
        return cls.with_types(*upper_windows(raw))


class Qwen3Network(GatedDecoder):
    """A Qwen3 with a classification head or as a language model.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.
    """


QWEN3 = Family(Qwen3Config, Qwen3Network, gated_table, decoder_export)
