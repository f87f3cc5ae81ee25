"""The training loss."""

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int


def cross_entropy(
    logits: Float[Array, "B C"], labels: Int[Array | np.ndarray, " B"]
) -> Float[Array, " B"]:
    """Cross-entropy of every example, in float32.

    A zeroth-order step lives on differences of losses that are smaller than bfloat16 can tell.

    Args:
        logits: One row of class logits per example.
        labels: The right classes.

    Returns:
        The loss of every example in nats.

    Example:
        >>> float(cross_entropy(jnp.zeros((1, 2)), jnp.array([1]))[0])  # log 2
        0.693147...
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels)
