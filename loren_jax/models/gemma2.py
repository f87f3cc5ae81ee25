"""Gemma 2: configuration, layer and network.

Four norms a layer, whose scales are one and an offset; scaled embeddings; caps on the products of
queries and keys and on the logits; every other layer reads a window.

Shape suffixes: B batch, T tokens, S tokens that are read, D hidden size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from loren_jax.models.decoder import decoder_export
from loren_jax.models.gated import (
    ATTENTION,
    GatedDecoder,
    GatedLayer,
    WindowedConfig,
    gated_table,
)
from loren_jax.models.layers import RMSNorm
from loren_jax.models.network import Family
from loren_jax.models.weights import WeightTable


class GemmaNorm(RMSNorm):
    """An RMS norm whose parameter is how far the scale exceeds one; all of it in float32."""

    def __call__(self, x: Float[Array, "... D"]) -> Float[Array, "... D"]:
        """Normalises; the result has the dtype of the input."""
        normed = self.normalise(x)
        scale = 1 + self.scale[...].astype(normed.dtype)
        return (normed * scale.reshape((1,) * (x.ndim - 1) + scale.shape)).astype(x.dtype)


@dataclass(frozen=True, kw_only=True)
class GemmaConfig(WindowedConfig):
    """Fields of Gemma 2 and Gemma 3; they carry Hugging Face's names, save `rotary`.

    Those of `WindowedConfig`, of which `hidden_act` is called `hidden_activation`, and:

    Attributes:
      query_pre_attn_scalar: Products of queries and keys are divided by its square root.
      final_logit_softcapping: Bound of the language model's logits; None for none.
      attention_bias: Whether the dense layers of the attention have biases.
    """

    head_dim: int | None = 256
    rms_norm_eps: float = 1e-6
    hidden_act: str = "gelu_pytorch_tanh"
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0
    query_pre_attn_scalar: float | int = 256
    final_logit_softcapping: float | int | None = None
    attention_bias: bool = False

    RENAMED: ClassVar[Mapping[str, str]] = {"hidden_act": "hidden_activation"}
    FIXED: ClassVar[Mapping[str, Any]] = {"use_bidirectional_attention": False}
    FRESH_SCALE: ClassVar[float] = 0.0
    NORM: ClassVar[type[RMSNorm]] = GemmaNorm

    def __post_init__(self) -> None:
        """Refuses scalars that leave no products."""
        super().__post_init__()
        for name in ("query_pre_attn_scalar", "final_logit_softcapping", "attn_logit_softcapping"):
            value = getattr(self, name, None)
            if value is not None and value <= 0:
                raise ValueError(f"{name}={value} must be positive")

    @property
    def score_scale(self) -> float | None:
        """What products of queries and keys are multiplied with."""
        return self.query_pre_attn_scalar**-0.5

    @property
    def logit_cap(self) -> float | None:
        """Bound that the language model's logits come near to and never pass; None for none."""
        return self.final_logit_softcapping

    @property
    def biased(self) -> tuple[str, ...]:
        """Which dense layers of a layer have biases, by our names."""
        return ATTENTION * self.attention_bias


@dataclass(frozen=True, kw_only=True)
class Gemma2Config(GemmaConfig):
    """Shape and options of a Gemma 2.

    The fields are those of `GemmaConfig`, and:

    Attributes:
      attn_logit_softcapping: Bound of the products of queries and keys; None for none.

    >>> raw = {"vocab_size": 8, "hidden_size": 8, "num_hidden_layers": 3,
    ...     "intermediate_size": 8, "num_attention_heads": 4, "sliding_window": 2}
    >>> [kind.window for kind in Gemma2Config.from_hugging_face(raw).kinds]
    [2, None, 2]
    """

    max_position_embeddings: int = 8192
    sliding_window: int | None = 4096
    final_logit_softcapping: float | int | None = 30.0
    attn_logit_softcapping: float | int | None = 50.0

    UNSAID: ClassVar[Mapping[str, Any]] = {"num_attention_heads": 8, "num_key_value_heads": 4}

    @property
    def score_cap(self) -> float | None:
        """Bound that products of queries and keys come near to and never pass; None for none."""
        return self.attn_logit_softcapping

    @classmethod
    def translate(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parsed file with `rotary` and the types of the layers."""
        return cls.with_types(raw, lambda layer: layer % 2 == 0)


class GemmaLayer(GatedLayer):
    """A layer that also normalises what the attention and the MLP add to the stream."""

    def __init__(self, config: GemmaConfig, *, rngs: nnx.Rngs):
        super().__init__(config, rngs=rngs)
        self.attention_after = config.NORM(config.hidden_size, config.rms_norm_eps)
        self.mlp_after = config.NORM(config.hidden_size, config.rms_norm_eps)

    def __call__(
        self, x: Float[Array, "B T D"], mask: Bool[Array, "B 1 #T S"], *more: Any
    ) -> Float[Array, "B T D"]:
        """Applies the layer; the attention gets the mask and what else it needs."""
        attended = self.attention(self.attention_norm(x), mask, *more)
        x = x + self.attention_after(attended)
        return x + self.mlp_after(self.mlp(self.mlp_norm(x)))


class GemmaNetwork(GatedDecoder):
    """What Gemma 2 and Gemma 3 share: their layer and their embedding."""

    layer = GemmaLayer

    def embed(self, input_ids: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """Rows of the embedding, scaled by a number of their own dtype, as transformers does."""
        x_BxTxD = self.word(input_ids)
        return x_BxTxD * jnp.asarray(self.config.hidden_size**0.5, x_BxTxD.dtype)


class Gemma2Network(GemmaNetwork):
    """A Gemma 2 with a classification head or as a language model.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.
    """


FOUR_NORMS = {
    "attention_norm": "input_layernorm",
    "attention_after": "post_attention_layernorm",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_after": "post_feedforward_layernorm",
}
"""The norms of a layer: our name -> the file's."""


def _weight_table(config: Gemma2Config) -> WeightTable:
    """Total for `Gemma2ForSequenceClassification`, `Gemma2ForCausalLM` and `Gemma2Model`."""
    return gated_table(config, FOUR_NORMS)


GEMMA2 = Family(Gemma2Config, Gemma2Network, _weight_table, decoder_export)
