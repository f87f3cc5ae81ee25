"""Data and losses that many cases share."""

import jax
import jax.numpy as jnp

IDS = jax.random.randint(jax.random.key(1), (4, 12), 0, 64)
LABELS = jnp.arange(4)
IMAGES = jax.random.normal(jax.random.key(0), (4, 16, 16, 3))


def normal(seed: int, *shape: int) -> jax.Array:
    """Weights or inputs of a modest size."""
    return jax.random.normal(jax.random.key(seed), shape) * 0.3


def cross_entropy(scores: jax.Array, labels: jax.Array = LABELS) -> jax.Array:
    """The mean."""
    logs = jax.nn.log_softmax(scores.astype(jnp.float32))
    return -jnp.mean(jnp.take_along_axis(logs, labels[..., None], -1))


def next_token(scores: jax.Array, ids: jax.Array = IDS) -> jax.Array:
    """Cross-entropy of a language model."""
    return cross_entropy(scores[:, :-1], ids[:, 1:])


def mean_square(x: jax.Array) -> jax.Array:
    """Of the distance from one, real where `x` is complex."""
    return jnp.mean(jnp.abs(x - 1) ** 2)
