"""What all decoders share: what they do after the last layer, and the loss of a text.

Shape suffixes: B batch, T tokens, D width of the last hidden states, V vocabulary, C labels.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from loren_jax.models.attention import soft_cap
from loren_jax.models.cache import Cache, Memory, Places
from loren_jax.models.layers import Embedding, Mask, Tokens, check_length, linear, token_at
from loren_jax.models.network import Export, NetworkConfig
from loren_jax.models.weights import WeightRow, WeightTable
from loren_jax.quantised import Quantised

OTHER_HEADS = ("lm_head.weight", "score.weight", "multiple_choice_head.*")
"""Tensors of a head that the network does not have, which a checkpoint may hold."""


@dataclass(frozen=True, kw_only=True)
class DecoderConfig(NetworkConfig):
    """Fields of every decoder.

    Attributes:
      tie_word_embeddings: Whether the output layer of the language model is the word embedding.
      pad_token_id: Token that fills short sequences. A classifier reads the last unmasked token
        that is another one; if this is None, the last unmasked one.
      pooling: `last`, the only one: the last token is the one that has read all others.
    """

    tie_word_embeddings: bool = True
    pooling: str = "last"

    POOLINGS: ClassVar[tuple[str, ...]] = ("last",)

    @property
    def logit_cap(self) -> float | None:
        """Bound that the language model's logits come near to and never pass; None for none."""
        return None


class Decoder(nnx.Module):
    """Base of the decoders; a family adds its layers and `hidden`.

    `width` is that of the word embedding and of the last hidden states.
    """

    text_places = staticmethod(Places.whole)
    """What of a text that is read at once has which position."""

    def __init__(self, config: DecoderConfig, width: int, *, rngs: nnx.Rngs):
        self.head = config.head
        self.pad_token_id = config.pad_token_id
        self.max_length = config.max_length
        self.logit_cap = config.logit_cap
        self.word = Embedding(config.vocab_size, width, rngs=rngs)
        if config.head == "classification":
            self.score = linear(width, config.num_labels, rngs, bias=False)
        elif not config.tie_word_embeddings:
            self.lm_head = linear(width, config.vocab_size, rngs, bias=False)

    @abstractmethod
    def hidden(
        self, input_ids: Tokens, places: Places, memory: Memory | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token.

        The layers get the mask of `places`, and go through `scan_layers` with the memory.
        """

    def encode(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token; see `MaskedNetwork.encode`.

        Decoders know no segments, and leave `token_type_ids` alone.
        """
        check_length(input_ids, self.max_length)
        return self.hidden(input_ids, self.text_places(attention_mask))

    def read(
        self,
        input_ids: Tokens,
        places: Places,
        earlier: Cache | None = None,
        room: int | None = None,
    ) -> tuple[Float[Array, "B T D"], Cache]:
        """Last hidden state of tokens behind earlier ones, and what is to be remembered of them.

        Args:
          input_ids: The new tokens.
          places: Where they stand. All of a text must be counted in the same way, so that the
            positions of new tokens go on where those of the earlier ones end.
          earlier: Keys and values of the earlier tokens, with room for all places of the text.
          room: Places that what is to be remembered has room for; None for those of the tokens.

        Returns:
          The hidden states, and the keys and values of the new tokens, which `earlier` does not
          have yet.
        """
        memory = Memory(earlier, room)
        return self.hidden(input_ids, places, memory), memory.new

    def __call__(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B C"] | Float[Array, "B T V"]:
        """Logits of the head; the arguments are those of `encode`.

        Returns:
          Class logits (B, C), or the logits (B, T, V) of the token that follows each, in float32
          as those of an encoder.
        """
        x_BxTxD = self.encode(input_ids, attention_mask, token_type_ids)
        if self.head == "language_model":
            return self.token_logits(x_BxTxD)
        read = jnp.asarray(attention_mask) != 0
        if self.pad_token_id is not None:
            # Hugging Face looks at the ids alone, and so does its export of our tuned model. By
            # the mask as well, nothing depends on what else the padding may consist of.
            read &= jnp.asarray(input_ids) != self.pad_token_id
        pooled_BxD = token_at(x_BxTxD, last_true(read))
        return self.score(pooled_BxD.astype(jnp.promote_types(pooled_BxD.dtype, jnp.float32)))

    def token_logits(
        self, x: Float[Array, "... D"], token_ids: Int[Array | np.ndarray, " C"] | None = None
    ) -> Float[Array, "... V"]:
        """The language model's logits for some hidden states, of all tokens or of a few.

        They are summed and kept in float32; no wider copy of the output layer is made.
        """
        if not hasattr(self, "lm_head"):
            return soft_cap(self.word.logits(x, token_ids), self.logit_cap)
        kernel = self.lm_head.kernel.get_value()
        if isinstance(kernel, Quantised):
            chosen = kernel if token_ids is None else kernel.take(jnp.asarray(token_ids))
            return soft_cap(chosen.product(x, wide=True), self.logit_cap)
        kernel = self.lm_head.kernel[...]
        if token_ids is not None:
            kernel = jnp.take(kernel, token_ids, axis=1)
        logits = jax.lax.dot_general(
            x,
            kernel,
            (((x.ndim - 1,), (0,)), ((), ())),
            preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
        )
        return soft_cap(logits, self.logit_cap)

    def choices(
        self,
        input_ids: Tokens,
        attention_mask: Mask,
        token_type_ids: Tokens | None,
        token_ids: Int[Array | np.ndarray, " C"],
    ) -> Float[Array, "B C"]:
        """Logits of a few tokens as the one that follows the text; see `MaskedNetwork.choices`.

        Those of the other tokens of the vocabulary are not computed.
        """
        if self.head != "language_model":
            raise ValueError(
                f"choices needs a language model, and this network has head={self.head!r}; load it "
                "with load_language_model or load_prompted"
            )
        x_BxTxD = self.encode(input_ids, attention_mask, token_type_ids)
        last_BxD = token_at(x_BxTxD, last_true(jnp.asarray(attention_mask) != 0))
        return self.token_logits(last_BxD, token_ids)


def last_true(flags: Bool[Array, "B T"]) -> Int[Array, " B"]:
    """Position of the last true flag of every row, 0 where there is none.

    >>> last_true(jnp.array([[True, True, False], [False, False, False]])).tolist()
    [1, 0]
    """
    return jnp.argmax(np.arange(flags.shape[1])[None, :] * flags, axis=1)


def decoder_table(
    config: DecoderConfig, prefix: str, rows: list[WeightRow], *ignored: str
) -> WeightTable:
    """The table of a decoder, whose `rows` begin with the word embedding and have no head."""
    tied, linear = config.tie_word_embeddings, WeightRow.linear
    head = [] if tied else linear("lm_head", "lm_head", bias=False)
    if config.head == "classification":
        head = linear("score", "score", bias=False)
    return WeightTable(
        rows=(*rows, *head),
        prefix=prefix,
        head="score",
        ignored=(*ignored, *OTHER_HEADS),
        tied=(("lm_head.weight", rows[0].name),) if tied else (),
    )


def decoder_export(config: DecoderConfig, language_model: str = "ForCausalLM") -> Export:
    """The torch class that computes the same; it is named as the configuration is."""
    family = type(config).__name__.removesuffix("Config")
    settings: dict[str, Any] = {"pad_token_id": config.pad_token_id}
    if config.head == "language_model":
        settings["tie_word_embeddings"] = config.tie_word_embeddings
        return Export(family + language_model, settings=settings)
    return Export(f"{family}ForSequenceClassification", settings=settings)


def span_loss(logits: Float[Array, "B T V"], input_ids: Tokens, span: Mask) -> Float[Array, ""]:
    """Cross-entropy of the tokens of a span, each predicted from those before it.

    Args:
      logits: Of the token that follows each, as a language model's `apply` gives them.
      input_ids: The text.
      span: Non-zero at the tokens that are to be predicted: an answer, or all that is no padding.
        The first token of a row has nothing before it and never counts.

    Returns:
      Mean over the tokens of all rows' spans in nats, float32; 0 if there are none.

    >>> logits = jnp.zeros((1, 3, 4))
    >>> ids = jnp.array([[0, 1, 2]])
    >>> round(float(span_loss(logits, ids, jnp.array([[0, 0, 1]]))), 4)  # log 4
    1.3863
    """
    wide = logits[:, :-1].astype(jnp.promote_types(logits.dtype, jnp.float32))
    targets_BxT = jnp.asarray(input_ids)[:, 1:]
    weight_BxT = (jnp.asarray(span)[:, 1:] != 0).astype(wide.dtype)
    chosen_BxT = jnp.take_along_axis(wide, targets_BxT[:, :, None], axis=-1)[:, :, 0]
    nats_BxT = jax.nn.logsumexp(wide, axis=-1) - chosen_BxT
    # Selected and not multiplied: what stands outside the span may be infinite.
    total = jnp.sum(jnp.where(weight_BxT > 0, nats_BxT, 0))
    return total / jnp.maximum(jnp.sum(weight_BxT), 1)
