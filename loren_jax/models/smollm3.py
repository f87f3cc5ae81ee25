"""SmolLM3: configuration and network.

A Llama of which some layers have no positions: their heads do not turn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from loren_jax.checkpoints import CONFIG
from loren_jax.models.decoder import decoder_export
from loren_jax.models.gated import (
    ATTENTION,
    MLP,
    GatedDecoder,
    WindowedConfig,
    gated_table,
)
from loren_jax.models.layer_kinds import LayerKind
from loren_jax.models.network import Family, check_kinds, period


@dataclass(frozen=True, kw_only=True)
class SmolLM3Config(WindowedConfig):
    """Shape and options of a SmolLM3; the fields carry Hugging Face's names, save `rotary`.

    Those of `WindowedConfig`, and:

    Attributes:
      no_rope_layers: For every layer 1 where its heads turn, and 0 where they do not; None where
        all turn.
      attention_bias: Whether the dense layers of the attention have biases.
      mlp_bias: Whether those of the MLP have.

    >>> raw = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 4,
    ...     "intermediate_size": 8, "num_attention_heads": 4, "num_key_value_heads": 2}
    >>> SmolLM3Config.from_hugging_face(raw).no_rope_layers
    (1, 1, 1, 0)
    """

    max_position_embeddings: int = 32768
    tie_word_embeddings: bool = True
    no_rope_layers: tuple[int, ...] | None = None
    attention_bias: bool = False
    mlp_bias: bool = False

    THETA: ClassVar[float] = 2e6
    UNSAID: ClassVar[Mapping[str, Any]] = {"num_key_value_heads": 4}

    def __post_init__(self) -> None:
        """Refuses a list that does not say it of every layer."""
        super().__post_init__()
        turning = self.no_rope_layers
        if turning is not None and len(turning) < self.num_hidden_layers:
            raise ValueError(
                f"no_rope_layers has {len(turning)} entries; it needs one for each of "
                f"num_hidden_layers={self.num_hidden_layers}"
            )

    @property
    def biased(self) -> tuple[str, ...]:
        """Which dense layers of a layer have biases, by our names."""
        return ATTENTION * self.attention_bias + MLP * self.mlp_bias

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kind of every layer, the first layer's first."""
        kinds = super().kinds
        turning = self.no_rope_layers or (1,) * len(kinds)
        return tuple(
            kind if turns else kind._replace(rotary=None)
            for kind, turns in zip(kinds, turning, strict=False)
        )

    @classmethod
    def translate(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parsed file with `rotary`, which layers turn, and what it says of windows."""
        check_kinds(raw, {"use_sliding_window": bool | None})
        turning, layers = raw.get("no_rope_layers"), raw.get("num_hidden_layers")
        if turning is None:
            every = period(raw, "no_rope_layer_interval", 4)
            count = layers if isinstance(layers, int) else 0  # another is refused afterwards
            turning = [int((layer + 1) % every != 0) for layer in range(count)]
        if not isinstance(turning, list) or not all(turns in (0, 1) for turns in turning):
            raise ValueError(f"{CONFIG}: no_rope_layers={turning!r} must be a list of 0 and 1")
        window = raw.get("sliding_window") if raw.get("use_sliding_window") else None
        raw = {**raw, "no_rope_layers": tuple(map(int, turning)), "sliding_window": window}
        return cls.with_types(raw, lambda layer: window is not None and not turning[layer])


class SmolLM3Network(GatedDecoder):
    """A SmolLM3 with a classification head or as a language model.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.
    """


SMOLLM3 = Family(SmolLM3Config, SmolLM3Network, gated_table, decoder_export)
