"""Gemma 3, for text: configuration and network.

A Gemma 2 that normalises every head of its queries and keys in place of bounding their products,
and whose heads turn faster in the layers that read a window.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loren_jax.models.decoder import decoder_export
from loren_jax.models.gated import gated_table
from loren_jax.models.gemma2 import FOUR_NORMS, GemmaConfig, GemmaNetwork
from loren_jax.models.layer_kinds import FULL, SLIDING, LayerKind
from loren_jax.models.network import Export, Family, period
from loren_jax.models.rotary import PLAIN, Rotary
from loren_jax.models.weights import WeightTable


@dataclass(frozen=True, kw_only=True)
class Gemma3TextConfig(GemmaConfig):
    """Shape and options of a Gemma 3.

    The fields are those of `GemmaConfig`, and:

    Attributes:
      local_rotary: How the heads turn in the layers that read a window.

    >>> raw = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 3,
    ...     "intermediate_size": 8, "num_attention_heads": 4, "sliding_window_pattern": 2}
    >>> config = Gemma3TextConfig.from_hugging_face(raw)
    >>> [(kind.window, kind.rotary.theta) for kind in config.kinds]
    [(4096, 10000.0), (None, 1000000.0), (4096, 10000.0)]
    """

    max_position_embeddings: int = 131072
    sliding_window: int | None = 4096
    local_rotary: Rotary = PLAIN

    HEAD_NORMS: ClassVar[bool] = True
    FIXED: ClassVar[Mapping[str, Any]] = {**GemmaConfig.FIXED, "attn_logit_softcapping": None}
    UNSAID: ClassVar[Mapping[str, Any]] = {
        **{"vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216},
        **{"num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4},
    }

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kind of every layer, the first layer's first."""
        near = LayerKind(self.local_rotary, self.sliding_window)
        whole = LayerKind(self.rotary)
        return tuple(near if kind == SLIDING else whole for kind in self.types)

    @classmethod
    def translate(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parsed file with both rotations and the types of the layers."""
        every = period(raw, "sliding_window_pattern", 6)
        turns = {
            "rotary": Rotary.of_layers(raw, FULL, base="rope_theta", theta=1e6),
            "local_rotary": Rotary.of_layers(
                *(raw, SLIDING), base="rope_local_base_freq", theta=1e4, scaled=False
            ),
        }
        return {**cls.with_types(raw, lambda layer: (layer + 1) % every != 0), **turns}


class Gemma3TextNetwork(GemmaNetwork):
    """A Gemma 3 with a classification head or as a language model.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.
    """


PICTURES = "gemma3"
"""Type of a Gemma 3 that sees pictures too; its text part is read, and written as a Gemma 3."""


def text_part(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parsed file, of a model that sees pictures as that of its text part alone would be."""
    text = raw.get("text_config")
    if raw.get("model_type") != PICTURES or not isinstance(text, Mapping):
        return raw
    other = ("text_config", "vision_config", "mm_tokens_per_image")
    rest = {name: entry for name, entry in raw.items() if name not in other}
    return {**Gemma3TextConfig.UNSAID, **rest, **text, "model_type": "gemma3_text"}


def _weight_table(config: Gemma3TextConfig) -> WeightTable:
    """Total for the text part of `Gemma3ForConditionalGeneration` too."""
    table = gated_table(config, FOUR_NORMS)
    seeing = ("*vision_tower.*", "*multi_modal_projector.*")
    return table._replace(ignored=(*table.ignored, *seeing))


def _export(config: Gemma3TextConfig) -> Export:
    """The torch class that computes the same."""
    export = decoder_export(config)
    if config.head == "language_model":
        return Export("Gemma3ForCausalLM", settings=export.settings)
    return export


GEMMA3_TEXT = Family(Gemma3TextConfig, Gemma3TextNetwork, _weight_table, _export)
