"""The network that BERT and its kin have in common.

Embeddings, a stack of layers that normalise after each sum, and a head: a classifier, of which
every family has its own, or a masked language model, whose output layer is the word embedding.
There is no dropout: zeroth-order fine-tuning compares losses of equal networks.

Shape suffixes: B batch, T tokens, D hidden size, C labels or choices, V vocabulary.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from loren_jax.models.attention import SelfAttention
from loren_jax.models.layers import (
    Embedding,
    Layer,
    Mask,
    Tokens,
    check_length,
    layer_norm,
    linear,
    padding_mask,
    scan_layers,
    stack_layers,
    token_at,
)
from loren_jax.models.network import ACTIVATIONS, Export, NetworkConfig
from loren_jax.models.weights import WeightRow, WeightTable


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(NetworkConfig):
    """Shape and options of an encoder; the fields carry the names that BERT gave them.

    Attributes:
      hidden_size: Width D of the residual stream.
      num_hidden_layers: Number of encoder layers.
      num_attention_heads: Heads per layer; must divide `hidden_size`.
      intermediate_size: Width of the hidden layer of the MLP.
      max_position_embeddings: Rows of the position embedding.
      layer_norm_eps: Added to the variance in every layer norm.
      hidden_act: Activation of the MLP, a key of `ACTIVATIONS`.
      mask_token_id: Token that a masked language model answers at.
      tie_word_embeddings: Whether the output layer of the language model is the word embedding;
        there is no language model of ours where it is not.
    """

    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int = 512
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    pad_token_id: int | None = 0
    mask_token_id: int | None = None
    tie_word_embeddings: bool | None = True
    pooling: str = "cls"

    POOLINGS: ClassVar[tuple[str, ...]] = ("cls",)
    FIXED: ClassVar[Mapping[str, Any]] = {
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
    }
    MULTIPLES: ClassVar[tuple[tuple[str, str], ...]] = (("hidden_size", "num_attention_heads"),)

    def __post_init__(self) -> None:
        """Refuses a language model with an output layer of its own."""
        super().__post_init__()
        if self.head == "language_model" and self.tie_word_embeddings is False:
            raise ValueError(
                "tie_word_embeddings=False is not supported; use a checkpoint with "
                "tie_word_embeddings=True"
            )


class EncoderEmbeddings(nnx.Module):
    """Sum of word, position and, where the family has them, segment embeddings, normalised."""

    def __init__(self, config: EncoderConfig, segments: int, *, rngs: nnx.Rngs):
        self.segments = segments
        self.word = Embedding(config.vocab_size, config.hidden_size, rngs=rngs)
        self.position = Embedding(config.max_position_embeddings, config.hidden_size, rngs=rngs)
        if segments:
            self.token_type = Embedding(segments, config.hidden_size, rngs=rngs)
        self.norm = layer_norm(config.hidden_size, config.layer_norm_eps, rngs)

    def __call__(
        self,
        input_ids: Int[Array, "B T"],
        positions: Int[Array, "#B T"],
        token_type_ids: Int[Array, "B T"] | None,
    ) -> Float[Array, "B T D"]:
        """Embeds the tokens; all are of the first segment if none is named."""
        x_BxTxD = self.word(input_ids)
        if self.segments:
            if token_type_ids is None or self.segments == 1:
                token_type_ids = jnp.zeros_like(input_ids)
            x_BxTxD = x_BxTxD + self.token_type(token_type_ids)
        return self.norm(x_BxTxD + self.position(positions))


class TwoLayerHead(nnx.Module):
    """Classifies by the first token: dense, activation, dense."""

    def __init__(
        self, config: EncoderConfig, activation: Callable[[Array], Array], *, rngs: nnx.Rngs
    ):
        self.activation = activation
        self.dense = linear(config.hidden_size, config.hidden_size, rngs)
        self.output = linear(config.hidden_size, config.num_labels, rngs)

    def __call__(self, x_BxTxD: Float[Array, "B T D"]) -> Float[Array, "B C"]:
        """Class logits, in float32 at least."""
        x_BxD = self.dense(x_BxTxD[:, 0])
        wide = jnp.promote_types(x_BxD.dtype, jnp.float32)
        return self.output(self.activation(x_BxD.astype(wide)))


class MaskedLMHead(nnx.Module):
    """Dense, activation and norm, then the products with the word embedding and a bias."""

    def __init__(self, config: EncoderConfig, activation: str, *, rngs: nnx.Rngs):
        self.activation = activation
        self.dense = linear(config.hidden_size, config.hidden_size, rngs)
        self.norm = layer_norm(config.hidden_size, config.layer_norm_eps, rngs)
        self.bias = nnx.Param(jnp.zeros((config.vocab_size,)))

    def __call__(
        self,
        x: Float[Array, "... D"],
        word: Embedding,
        index: Int[Array | np.ndarray, " C"] | None = None,
    ) -> Float[Array, "... V"]:
        """Logits of all tokens, or of those with the given numbers."""
        x = self.norm(ACTIVATIONS[self.activation](self.dense(x)))
        bias = self.bias[...] if index is None else self.bias[...][index]
        return word.logits(x, index) + bias.reshape((1,) * (x.ndim - 1) + bias.shape)


class MaskedNetwork(nnx.Module):
    """What every network does that reads in both directions; a family adds its layers and heads."""

    config: Any
    embeddings: Any
    """A module whose `word` is the embedding of the tokens."""
    masked_lm: Callable[..., Array]

    @abstractmethod
    def encode(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token, in the dtype of the parameters.

        The mask is not zero at the tokens to read, padding may be on either side and its states
        mean nothing; segments are all zero if left out. A ValueError where T exceeds the positions.
        """

    @abstractmethod
    def classify(
        self, x_BxTxD: Float[Array, "B T D"], mask_BxT: Bool[Array, "B T"]
    ) -> Float[Array, "B C"]:
        """Class logits, in float32 at least."""

    def __call__(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B C"] | Float[Array, "B T V"]:
        """Logits; the arguments are those of `encode`.

        Returns:
          Class logits (B, C), or those of all tokens (B, T, V) from a language model; in float32
          also when the parameters are not: the differences between losses that a zeroth-order
          step lives on are smaller than a bfloat16 can tell.
        """
        x_BxTxD = self.encode(input_ids, attention_mask, token_type_ids)
        if self.config.head == "language_model":
            return self.masked_lm(x_BxTxD, self.embeddings.word)
        return self.classify(x_BxTxD, jnp.asarray(attention_mask != 0))

    def choices(
        self,
        input_ids: Tokens,
        attention_mask: Mask,
        token_type_ids: Tokens | None,
        token_ids: Int[Array | np.ndarray, " C"],
    ) -> Float[Array, "B C"]:
        """Logits of C tokens at the first mask token of each row.

        They are in float32 at least; NaN where a row has no mask token.
        """
        if self.config.head != "language_model" or self.config.mask_token_id is None:
            raise ValueError(
                "choices needs a masked language model and its mask token, and this network has "
                f"head={self.config.head!r} and mask_token_id={self.config.mask_token_id}"
            )
        x_BxTxD = self.encode(input_ids, attention_mask, token_type_ids)
        masked_BxT = jnp.asarray(input_ids) == self.config.mask_token_id
        x_BxD = token_at(x_BxTxD, jnp.argmax(masked_BxT, axis=1))
        logits_BxC = self.masked_lm(x_BxD, self.embeddings.word, token_ids)
        return jnp.where(masked_BxT.any(axis=1)[:, None], logits_BxC, jnp.nan)


class Encoder(MaskedNetwork):
    """Embeddings and layers, and the head of a masked language model if that is asked for.

    A family adds its `classifier`, and may count positions in its own way. There are kinds of
    `segments`; with less than two, `token_type_ids` are not looked at. `lm_activation` is that of
    the masked language model's head.
    """

    classifier: Callable[..., Array]

    def __init__(self, config: EncoderConfig, *, segments: int, lm_activation: str, rngs: nnx.Rngs):
        self.config = config
        self.embeddings = EncoderEmbeddings(config, segments, rngs=rngs)
        widths = config.hidden_size, config.intermediate_size
        norm = lambda rngs: layer_norm(config.hidden_size, config.layer_norm_eps, rngs)

        def layer(rngs: nnx.Rngs) -> Layer:
            attention = SelfAttention(config.hidden_size, config.head_size, rngs)
            activation = ACTIVATIONS[config.hidden_act]
            return Layer(attention, norm, widths, activation, rngs, norm_first=False)

        self.layers = stack_layers(layer, config.num_hidden_layers, rngs)
        if config.head == "language_model":
            self.masked_lm = MaskedLMHead(config, lm_activation, rngs=rngs)

    def positions(
        self, input_ids: Int[Array, "B T"], read: Bool[Array, "B T"]
    ) -> Int[Array, "#B T"]:
        """Rows of the position embedding, counted from the left edge."""
        return jnp.arange(input_ids.shape[1])[None, :]

    def classify(
        self, x_BxTxD: Float[Array, "B T D"], mask_BxT: Bool[Array, "B T"]
    ) -> Float[Array, "B C"]:
        """Class logits, in float32 at least."""
        return self.classifier(x_BxTxD)

    def encode(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token; see `MaskedNetwork.encode`."""
        check_length(input_ids, self.config.max_length)
        ids_BxT, read_BxT = jnp.asarray(input_ids), jnp.asarray(attention_mask != 0)
        kinds_BxT = None if token_type_ids is None else jnp.asarray(token_type_ids)
        x_BxTxD = self.embeddings(ids_BxT, self.positions(ids_BxT, read_BxT), kinds_BxT)
        return scan_layers(self.layers, x_BxTxD, padding_mask(attention_mask))


def encoder_table(
    config: EncoderConfig,
    prefix: str,
    rows: list[WeightRow],
    classifier: list[WeightRow],
    masked_lm: Sequence[str],
    *ignored: str,
    pooler: str = "",
) -> WeightTable:
    """The table of an encoder whose `rows`, the word embedding first, have no head.

    `masked_lm` names the language model's dense layer, its norm, its bias, and the output layer,
    which is the word embedding. What is `ignored` are tensors of the head that is not wanted.
    """
    dense, norm, bias, decoder = masked_lm
    if config.head == "language_model":
        rows = rows + WeightRow.linear(dense, "masked_lm/dense")
        rows += [*WeightRow.norm(norm, "masked_lm/norm"), WeightRow(bias, "masked_lm/bias")]
    else:
        rows = rows + classifier
    twins = ((f"{decoder}.weight", rows[0].name), (f"{decoder}.bias", bias))
    return WeightTable(
        rows=tuple(rows),
        prefix=prefix,
        head="classifier",
        pooler=pooler,
        ignored=(f"{prefix}embeddings.position_ids", *ignored),  # the former is made from a shape
        tied=() if config.tie_word_embeddings is False else twins,
    )


def encoder_export(config: EncoderConfig) -> Export:
    """The torch class that computes the same; it is named as the configuration is."""
    head = "MaskedLM" if config.head == "language_model" else "SequenceClassification"
    return Export(f"{type(config).__name__.removesuffix('Config')}For{head}")
