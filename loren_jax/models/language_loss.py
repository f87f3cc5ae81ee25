"""The loss of a language model on a part of a text.

Shape suffixes: B batch, T tokens, V vocabulary.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.models.layers import Mask, Tokens


def span_loss(logits: Float[Array, "B T V"], input_ids: Tokens, span: Mask) -> Float[Array, ""]:
    """Cross-entropy of the tokens of a span, each predicted from those before it.

    Args:
        logits: Of the token that follows each, as a language model's ``apply`` gives them.
        input_ids: The text.
        span: Non-zero at the tokens that are to be predicted: an answer, or all that is no padding.
            The first token of a row has nothing before it and never counts.

    Returns:
        Mean over the tokens of all rows' spans in nats, float32; 0 if there are none.

    Example:
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


def perplexity(logits: Float[Array, "B T V"], input_ids: Tokens, span: Mask) -> Float[Array, ""]:
    """Exponential of ``span_loss``: among how many equally likely tokens the model hesitates.

    Args:
        logits: As in ``span_loss``.
        input_ids: As in ``span_loss``.
        span: As in ``span_loss``.

    Returns:
        A number between 1 and infinity, float32; 1 if the span is empty.

    Example:
        >>> ids = jnp.array([[0, 1, 2]])
        >>> round(float(perplexity(jnp.zeros((1, 3, 4)), ids, ids >= 0)), 4)
        4.0
    """
    return jnp.exp(span_loss(logits, input_ids, span))
