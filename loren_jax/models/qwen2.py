"""Qwen2 and Qwen2.5: configuration and network.

A Llama whose queries, keys and values have biases, and whose upper layers may read a window.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loren_jax.models.decoder import decoder_export
from loren_jax.models.gated import GatedDecoder, WindowedConfig, gated_table
from loren_jax.models.network import Family, check_kinds


@dataclass(frozen=True, kw_only=True)
class Qwen2Config(WindowedConfig):
    """Shape and options of a Qwen2 or Qwen2.5; the fields are those of `WindowedConfig`.

    >>> raw = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 3, "sliding_window": 2,
    ...     "num_attention_heads": 4, "intermediate_size": 8, "num_key_value_heads": 2}
    >>> Qwen2Config.from_hugging_face(raw).sliding_window  # the file must ask for it
    >>> raw |= {"use_sliding_window": True, "max_window_layers": 2}
    >>> [kind.window for kind in Qwen2Config.from_hugging_face(raw).kinds]
    [None, None, 2]
    """

    max_position_embeddings: int = 32768

    UNSAID: ClassVar[Mapping[str, Any]] = {"num_key_value_heads": 32}

    @property
    def biased(self) -> tuple[str, ...]:
        """Which dense layers of a layer have biases, by our names."""
        return ("query", "key", "value")

    @classmethod
    def translate(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parsed file with `rotary` and what it says of windows."""
        return cls.with_types(*upper_windows(raw))


def upper_windows(raw: Mapping[str, Any]) -> tuple[Mapping[str, Any], Callable[[int], bool]]:
    """The parsed file without a window that is not in use, and which layers have it."""
    check_kinds(raw, {"use_sliding_window": bool | None, "max_window_layers": int})
    used = bool(raw.get("use_sliding_window"))
    window = raw.get("sliding_window", 4096) if used else None
    first = raw.get("max_window_layers", 28)
    return {**raw, "sliding_window": window}, lambda layer: window is not None and layer >= first


class Qwen2Network(GatedDecoder):
    """A Qwen2 with a classification head or as a language model.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.
    """


QWEN2 = Family(Qwen2Config, Qwen2Network, gated_table, decoder_export)
