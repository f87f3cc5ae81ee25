"""What Llama and its kin have in common: RMS norms, heads that turn, and a gated MLP.

A family says in its own file what its `config.json` means, which of its dense layers have biases,
and of what kind each layer is: how far it reads and how its heads turn.

Shape suffixes: B batch, T tokens, D hidden size.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from loren_jax.models.attention import SelfAttention
from loren_jax.models.cache import Memory, Places
from loren_jax.models.decoder import Decoder, DecoderConfig, decoder_table
from loren_jax.models.layer_kinds import (
    FULL,
    SLIDING,
    LayerKind,
    check_layer_types,
    layer_types,
    views_of,
)
from loren_jax.models.layers import Layer, RMSNorm, Tokens, linear, scan_layers, stack_layers
from loren_jax.models.network import ACTIVATIONS
from loren_jax.models.rotary import PLAIN, Rotary
from loren_jax.models.weights import WeightRow, WeightTable

ATTENTION, MLP = ("query", "key", "value", "output"), ("gate", "up", "down")
"""The dense layers of a layer."""


@dataclass(frozen=True, kw_only=True)
class GatedConfig(DecoderConfig):
    """Fields of every family of this kind; they carry Hugging Face's names, save `rotary`.

    Attributes:
      hidden_size: Width D of the residual stream.
      num_hidden_layers: Number of layers.
      num_attention_heads: Heads per layer N.
      intermediate_size: Width of the hidden layer of the MLP.
      num_key_value_heads: Heads of keys and values K, a divisor of N; None for N.
      head_dim: Width H of a head; None for `hidden_size / num_attention_heads`.
      max_position_embeddings: Longest sequence that the model was made for.
      rms_norm_eps: Added to the mean square in every norm.
      hidden_act: Activation of the MLP's gate, a key of `ACTIVATIONS`.
      rotary: How the heads turn with the position.
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
    tie_word_embeddings: bool = False
    rotary: Rotary = PLAIN

    THETA: ClassVar[float] = 10000.0
    """Base of the rotary embedding where the file says none."""

    UNSAID: ClassVar[Mapping[str, Any]] = {}
    """What transformers takes for entries that a file does not have, if no field says it."""

    HEAD_NORMS: ClassVar[bool] = False
    """Whether each head of the queries and keys is normalised before it turns."""

    NORM: ClassVar[type[RMSNorm]] = RMSNorm
    """The family's norm, of a width and of what is added to the mean square."""

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
    def score_scale(self) -> float | None:
        """What products of queries and keys are multiplied with; None for `H ** -0.5`."""
        return None

    @property
    def score_cap(self) -> float | None:
        """Bound that they come near to and never pass; None for none."""
        return None

    @property
    def biased(self) -> tuple[str, ...]:
        """Which dense layers of a layer have biases, by our names."""
        return ()

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kind of every layer, the first layer's first."""
        return (LayerKind(self.rotary),) * self.num_hidden_layers

    @classmethod
    def translate(cls, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        """The parsed file with `rotary`, which several of its entries describe."""
        rotary = Rotary.from_hugging_face(raw, theta=cls.THETA)
        return {**cls.UNSAID, **raw, "rotary": rotary}


@dataclass(frozen=True, kw_only=True)
class WindowedConfig(GatedConfig):
    """Fields of the families of which some layers may read the nearest tokens alone.

    Attributes:
      sliding_window: How many tokens these layers read, the reading one included; None where all
        layers read all tokens before.
      layer_types: Type of every layer, `full_attention` or `sliding_attention`; None where
        all read all.
    """

    sliding_window: int | None = None
    layer_types: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuses layers of another type, and windows without a size."""
        super().__post_init__()
        check_layer_types(self.types, self.num_hidden_layers)
        if SLIDING in self.types and (self.sliding_window or 0) < 1:
            raise ValueError(
                f"sliding_window={self.sliding_window} must be at least 1, as layer_types has "
                f"{SLIDING!r}"
            )

    @property
    def types(self) -> tuple[str, ...]:
        """Type of every layer."""
        if self.layer_types is None:
            return (FULL,) * self.num_hidden_layers
        return self.layer_types

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kind of every layer, the first layer's first."""
        whole, near = LayerKind(self.rotary), LayerKind(self.rotary, self.sliding_window)
        return tuple(near if kind == SLIDING else whole for kind in self.types)

    @classmethod
    def with_types(cls, raw: Mapping[str, Any], slides: Callable[[int], bool]) -> Mapping[str, Any]:
        """The translated file with a type for every layer.

        They are as the file lists them, or else of the numbers from 0 on that slide.
        """
        raw = super().translate(raw)
        return {**raw, "layer_types": layer_types(raw, slides)}


class GatedLayer(Layer):
    """A layer whose MLP is gated."""

    def __init__(self, config: GatedConfig, *, rngs: nnx.Rngs):
        widths, head = (config.hidden_size, config.intermediate_size), config.head_size
        norm_of = lambda width: config.NORM(width, config.rms_norm_eps)
        biased = config.biased
        attention = SelfAttention(
            *(config.hidden_size, head, rngs),
            inner=config.num_attention_heads * head,
            shared=config.key_value_heads * head,
            bias="query" in biased,
            output_bias="output" in biased,
            head_norm=(lambda: norm_of(head)) if config.HEAD_NORMS else None,
            scale=config.score_scale,
            cap=config.score_cap,
        )
        norm = lambda rngs: norm_of(config.hidden_size)
        activation = ACTIVATIONS[getattr(config, config.ACTIVATION)]
        super().__init__(attention, norm, widths, activation, rngs, bias="up" in biased)
        self.gate = linear(*widths, rngs, bias="gate" in biased)

    def mlp(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """Two dense layers side by side, one of which opens the other, and a third."""
        return self.down(self.activation(self.gate(x)) * self.up(x))


class GatedDecoder(Decoder):
    """Embedding, layers and a norm; a family may have another `layer` and another `embed`."""

    layer: ClassVar[type[GatedLayer]] = GatedLayer

    def __init__(self, config: GatedConfig, *, rngs: nnx.Rngs):
        super().__init__(config, config.hidden_size, rngs=rngs)
        self.config = config
        make = lambda rngs: self.layer(config, rngs=rngs)
        self.layers = stack_layers(make, config.num_hidden_layers, rngs)
        self.norm = config.NORM(config.hidden_size, config.rms_norm_eps)

    def embed(self, input_ids: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """What the first layer reads."""
        return self.word(input_ids)

    def hidden(
        self, input_ids: Tokens, places: Places, memory: Memory | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token; see `Decoder.hidden`.

        Heads turn by the place from the left edge; only differences matter.
        """
        size = self.config.head_size
        view = lambda kind: (places.mask(kind.window), kind.angles(places.new, size))
        shared, kinds = views_of(self.config.kinds, view)
        x_BxTxD = self.embed(jnp.asarray(input_ids))
        return self.norm(scan_layers(self.layers, x_BxTxD, *shared, kinds=kinds, memory=memory))


_LAYER = "model.layers.{layer}"
TWO_NORMS = {"attention_norm": "input_layernorm", "mlp_norm": "post_attention_layernorm"}
"""The norms of a layer: our name -> the file's."""


def gated_table(config: GatedConfig, norms: Mapping[str, str] = TWO_NORMS) -> WeightTable:
    """The table of a family whose tensors have Llama's names.

    It is total for the family's classifier, its language model and the decoder alone.
    """

    def dense(name: str, path: str) -> list[WeightRow]:
        bias = path.rpartition("/")[2] in config.biased
        return WeightRow.linear(f"{_LAYER}.{name}", f"layers/{path}", bias=bias)

    def norm(name: str, path: str) -> WeightRow:
        return WeightRow(f"{name}.weight", f"{path}/scale")

    rows = [
        WeightRow("model.embed_tokens.weight", "word/embedding"),
        *(norm(f"{_LAYER}.{theirs}", f"layers/{ours}") for ours, theirs in norms.items()),
        *dense("self_attn.q_proj", "attention/query"),
        *dense("self_attn.k_proj", "attention/key"),
        *dense("self_attn.v_proj", "attention/value"),
        *dense("self_attn.o_proj", "attention/output"),
        *dense("mlp.gate_proj", "gate"),
        *dense("mlp.up_proj", "up"),
        *dense("mlp.down_proj", "down"),
        norm("model.norm", "norm"),
    ]
    if config.HEAD_NORMS:
        rows.append(norm(f"{_LAYER}.self_attn.q_norm", "layers/attention/query_norm"))
        rows.append(norm(f"{_LAYER}.self_attn.k_norm", "layers/attention/key_norm"))
    # The rotary frequencies, and what is made of them, as tensors in old checkpoints.
    return decoder_table(config, "model.", rows, "model.*rotary_emb.*")
