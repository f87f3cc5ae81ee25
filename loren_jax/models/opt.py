"""OPT: configuration, network and weight table.

Shape suffixes: B batch, T tokens, S width of the residual stream, D of the word embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from loren_jax.models.attention import SelfAttention
from loren_jax.models.cache import Memory, Places
from loren_jax.models.decoder import Decoder, DecoderConfig, decoder_export, decoder_table
from loren_jax.models.layers import (
    Embedding,
    Layer,
    Tokens,
    layer_norm,
    linear,
    scan_layers,
    stack_layers,
)
from loren_jax.models.network import ACTIVATIONS, Family
from loren_jax.models.weights import WeightRow, WeightTable


@dataclass(frozen=True, kw_only=True)
class OPTConfig(DecoderConfig):
    """Shape and options of an OPT; the fields carry Hugging Face's names.

    Attributes:
      hidden_size: Width of the residual stream.
      num_hidden_layers: Number of layers.
      num_attention_heads: Heads per layer; must divide `hidden_size`.
      ffn_dim: Width of the hidden layer of the MLP.
      max_position_embeddings: Longest sequence that the model can read.
      word_embed_proj_dim: Width D of the word embedding and of the last hidden states; None for
        `hidden_size`. Where the two differ, as in OPT-350m, a matrix leads from one to the
        other at either end.
      do_layer_norm_before: Whether a layer norm stands before each block (true in every size but
        350m) or after it; there is then no final one.
      remove_final_layer_norm: Whether the final layer norm is absent all the same, as in models
        that were tuned before transformers 4.20.1, whose `config.json` says
        `_remove_final_layer_norm`.
      enable_bias: Whether the dense layers have biases.
      layer_norm_elementwise_affine: Whether the layer norms have a scale and a bias.
      activation_function: Activation of the MLP, a key of `ACTIVATIONS`.

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
    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = (("hidden_size", "num_attention_heads"),)

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


POSITION_OFFSET = 2
"""Row of the position embedding that belongs to the first token of a text."""

EPSILON = 1e-5
"""Added to the variance in every layer norm; no configuration changes it."""


class OPTNetwork(Decoder):
    """An OPT with a classification head or as a language model.

    Args:
      config: The configuration.
      rngs: Source of the random initial parameters.

    >>> config = OPTConfig(vocab_size=8, hidden_size=4, num_hidden_layers=3,
    ...     num_attention_heads=2, ffn_dim=8, max_position_embeddings=6)
    >>> model = nnx.eval_shape(lambda: OPTNetwork(config, rngs=nnx.Rngs(0)))
    >>> model.layers.up.kernel.shape, model.position.embedding.shape
    ((3, 4, 8), (8, 4))
    """

    text_places = staticmethod(Places.counted)
    """Positions count the unmasked tokens, so padding on the left moves none."""

    def __init__(self, config: OPTConfig, *, rngs: nnx.Rngs):
        super().__init__(config, config.embed_size, rngs=rngs)
        positions = config.max_position_embeddings + POSITION_OFFSET
        self.position = Embedding(positions, config.hidden_size, rngs=rngs)
        norm = lambda rngs: layer_norm(
            config.hidden_size, EPSILON, rngs, affine=config.layer_norm_elementwise_affine
        )

        def layer(rngs: nnx.Rngs) -> Layer:
            width, bias = config.hidden_size, config.enable_bias
            return Layer(
                SelfAttention(width, config.head_size, rngs, bias=bias),
                norm,
                (width, config.ffn_dim),
                ACTIVATIONS[config.activation_function],
                rngs,
                bias=bias,
                norm_first=config.do_layer_norm_before,
            )

        self.layers = stack_layers(layer, config.num_hidden_layers, rngs)
        if config.final_norm:
            self.norm = norm(rngs)
        if config.projected:
            self.project_in = linear(config.embed_size, config.hidden_size, rngs, bias=False)
            self.project_out = linear(config.hidden_size, config.embed_size, rngs, bias=False)

    def hidden(
        self, input_ids: Tokens, places: Places, memory: Memory | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token; see `Decoder.hidden`."""
        x_BxTxS = self.word(jnp.asarray(input_ids))
        if hasattr(self, "project_in"):
            x_BxTxS = self.project_in(x_BxTxS)
        x_BxTxS = x_BxTxS + self.position(jnp.asarray(places.position) + POSITION_OFFSET)
        # The attention has no angles.
        x_BxTxS = scan_layers(self.layers, x_BxTxS, places.mask(), None, memory=memory)
        if hasattr(self, "norm"):
            x_BxTxS = self.norm(x_BxTxS)
        return self.project_out(x_BxTxS) if hasattr(self, "project_out") else x_BxTxS


_DECODER = "model.decoder"
_LAYER = f"{_DECODER}.layers.{{layer}}"


def _weight_table(config: OPTConfig) -> WeightTable:
    """Total for `OPTForSequenceClassification`, `OPTForCausalLM` and `OPTModel`."""
    affine = config.layer_norm_elementwise_affine

    def norm(name: str, path: str) -> list[WeightRow]:
        return WeightRow.norm(name, path) if affine else []

    def dense(name: str, path: str) -> list[WeightRow]:
        return WeightRow.linear(name, path, bias=config.enable_bias)

    rows = [
        WeightRow(f"{_DECODER}.embed_tokens.weight", "word/embedding"),
        WeightRow(f"{_DECODER}.embed_positions.weight", "position/embedding"),
        *norm(f"{_LAYER}.self_attn_layer_norm", "layers/attention_norm"),
        *dense(f"{_LAYER}.self_attn.q_proj", "layers/attention/query"),
        *dense(f"{_LAYER}.self_attn.k_proj", "layers/attention/key"),
        *dense(f"{_LAYER}.self_attn.v_proj", "layers/attention/value"),
        *dense(f"{_LAYER}.self_attn.out_proj", "layers/attention/output"),
        *norm(f"{_LAYER}.final_layer_norm", "layers/mlp_norm"),
        *dense(f"{_LAYER}.fc1", "layers/up"),
        *dense(f"{_LAYER}.fc2", "layers/down"),
        *(norm(f"{_DECODER}.final_layer_norm", "norm") if config.final_norm else []),
    ]
    if config.projected:
        rows += WeightRow.linear(f"{_DECODER}.project_in", "project_in", bias=False)
        rows += WeightRow.linear(f"{_DECODER}.project_out", "project_out", bias=False)
    # What metaseq's own format is counted by, in old checkpoints.
    return decoder_table(config, "model.", rows, f"{_DECODER}.version")


OPT = Family(OPTConfig, OPTNetwork, _weight_table, decoder_export)
