"""What every decoder does after its last layer: class logits, token logits, choices.

Shape suffixes: B batch, T tokens, D width of the last hidden states, V vocabulary, C labels.
"""

from abc import abstractmethod

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from loren_jax.models.decoder_config import DecoderConfig
from loren_jax.models.export import Export
from loren_jax.models.layers import Embedding, Mask, Tokens, linear, token_at
from loren_jax.models.weights import WeightRow

OTHER_HEADS = ("lm_head.weight", "score.weight")
"""Tensors of a head that the network does not have, which a checkpoint may hold."""


class Decoder(nnx.Module):
    """Base of the decoders; a family adds its layers and ``encode``.

    Args:
        config: The configuration.
        width: Width of the word embedding and of the last hidden states.
        rngs: Source of the random initial parameters.
    """

    def __init__(self, config: DecoderConfig, width: int, *, rngs: nnx.Rngs):
        self.head = config.head
        self.pad_token_id = config.pad_token_id
        self.max_length = config.max_length
        self.word = Embedding(config.vocab_size, width, rngs=rngs)
        if config.head == "classification":
            self.score = linear(width, config.num_labels, rngs, bias=False)
        elif not config.tie_word_embeddings:
            self.lm_head = linear(width, config.vocab_size, rngs, bias=False)

    @abstractmethod
    def encode(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B T D"]:
        """Last hidden state of every token.

        Args:
            input_ids: Token ids, (B, T).
            attention_mask: Non-zero at the tokens to read, (B, T); padding may be on either side.
            token_type_ids: Ignored: decoders know no segments.

        Returns:
            Hidden states (B, T, D) in the dtype of the parameters. Those of padding mean nothing.

        Raises:
            ValueError: If T exceeds the positions that the model has.
        """

    def __call__(
        self, input_ids: Tokens, attention_mask: Mask, token_type_ids: Tokens | None = None
    ) -> Float[Array, "B C"] | Float[Array, "B T V"]:
        """Logits of the head; the arguments are those of ``encode``.

        Returns:
            Class logits (B, C), or the logits (B, T, V) of the token that follows each, in float32
            also when the parameters are not: the differences between losses that a zeroth-order
            step lives on are smaller than a bfloat16 can tell.
        """
        x_BxTxD = self.encode(input_ids, attention_mask, token_type_ids)
        if self.head == "language_model":
            return self.token_logits(x_BxTxD)
        read = jnp.asarray(attention_mask) != 0
        if self.pad_token_id is not None:
            # Hugging Face looks at the ids, and so does its export of our tuned model.
            read = jnp.asarray(input_ids) != self.pad_token_id
        pooled_BxD = token_at(x_BxTxD, last_true(read))
        return self.score(pooled_BxD.astype(jnp.promote_types(pooled_BxD.dtype, jnp.float32)))

    def token_logits(
        self, x: Float[Array, "... D"], token_ids: Int[Array | np.ndarray, " C"] | None = None
    ) -> Float[Array, "... V"]:
        """The language model's logits for some hidden states, of all tokens or of a few.

        Args:
            x: Hidden states.
            token_ids: The tokens; all, if left out.

        Returns:
            Logits, summed and kept in float32; no wider copy of the output layer is made.
        """
        if not hasattr(self, "lm_head"):
            return self.word.logits(x, token_ids)
        kernel = self.lm_head.kernel[...]
        if token_ids is not None:
            kernel = jnp.take(kernel, token_ids, axis=1)
        return jax.lax.dot_general(
            x,
            kernel,
            (((x.ndim - 1,), (0,)), ((), ())),
            preferred_element_type=jnp.promote_types(x.dtype, jnp.float32),
        )

    def choices(
        self,
        input_ids: Tokens,
        attention_mask: Mask,
        token_type_ids: Tokens | None,
        token_ids: Int[Array | np.ndarray, " C"],
    ) -> Float[Array, "B C"]:
        """Logits of a few tokens as the one that follows the text.

        Args:
            input_ids: Token ids, (B, T).
            attention_mask: Non-zero at the tokens to read, (B, T); padding may be on either side.
            token_type_ids: Ignored.
            token_ids: The C candidates.

        Returns:
            The language model's logits (B, C) at the last unmasked token of each row, in float32.
            Those of the other tokens of the vocabulary are not computed.

        Raises:
            ValueError: If the network has a classification head.
        """
        if self.head != "language_model":
            raise ValueError(
                f"choices needs a language model, and this network has head={self.head!r}; load it "
                "with load_language_model or load_prompted"
            )
        x_BxTxD = self.encode(input_ids, attention_mask, token_type_ids)
        last_BxD = token_at(x_BxTxD, last_true(jnp.asarray(attention_mask) != 0))
        return self.token_logits(last_BxD, token_ids)

    def check_length(self, input_ids: jax.Array | np.ndarray) -> None:
        """Refuses rows that are longer than the model has positions."""
        if input_ids.shape[1] > self.max_length:
            raise ValueError(
                f"input_ids has {input_ids.shape[1]} tokens a row, but the model has "
                f"{self.max_length} positions; truncate the text"
            )


def last_true(flags: Bool[Array, "B T"]) -> Int[Array, " B"]:
    """Position of the last true flag of every row, 0 where there is none.

    Example:
        >>> last_true(jnp.array([[True, True, False], [False, False, False]])).tolist()
        [1, 0]
    """
    return jnp.argmax(np.arange(flags.shape[1])[None, :] * flags, axis=1)


def dense_rows(name: str, path: str, *, bias: bool, transposed: bool = True) -> list[WeightRow]:
    """The rows of a dense layer of which the bias may be absent.

    Args:
        name: The layer's name in a checkpoint.
        path: Its path in the parameters.
        bias: Whether it has one.
        transposed: Whether the checkpoint keeps the matrix as (fan_out, fan_in).

    Returns:
        One or two rows.
    """
    rows = [WeightRow(f"{name}.weight", f"{path}/kernel", transposed=transposed)]
    return [*rows, WeightRow(f"{name}.bias", f"{path}/bias")] if bias else rows


def head_rows(config: DecoderConfig) -> list[WeightRow]:
    """The rows of the head, none where the output layer is the word embedding."""
    if config.head == "classification":
        return dense_rows("score", "score", bias=False)
    return [] if config.tie_word_embeddings else dense_rows("lm_head", "lm_head", bias=False)


def decoder_export(config: DecoderConfig, classifier: str, language_model: str) -> Export:
    """The torch class that computes the same, given the names of the family's two."""
    if config.head == "language_model":
        settings = {"tie_word_embeddings": config.tie_word_embeddings}
        return Export(language_model, settings=settings)
    return Export(classifier, settings={"pad_token_id": config.pad_token_id})
