"""From what answers are worth to the losses of a step."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax.precision import wide


class Fitness(NamedTuple):
    """The losses of a step whose queries were rewarded, and what they are worth.

    Attributes:
      losses: for `optimizer.update(losses=...)`; lower is better.
      tied: the share of prompts whose rewards were all the same, which say nothing.
      missing: the share of rewards that were not there.
    """

    losses: Float[Array, "K S"]
    tied: Float[Array, ""]
    missing: Float[Array, ""]


def fitness(
    rewards: Float[Array, "K S B"], scale: Literal["std", "rank"] | None = "std"
) -> Fitness:
    r"""Compares the rewards of each prompt over the queries, and averages over the prompts.

    .. math::

        f_{ks} = -\frac{1}{B} \sum_b \frac{r_{ksb} - \bar r_b}{\sigma}, \qquad
        \sigma^2 = \frac{1}{K S B} \sum_{ksb} (r_{ksb} - \bar r_b)^2

    Prompts differ in how much an answer to them can be worth: centred, none of that is in the
    losses. One scale for all prompts leaves those alone that say more; dividing each by its own
    would give a prompt with one lucky answer the weight of all others.

    Args:
      rewards: of each query's answer to each prompt, higher is better. One that is not finite, as
        of an answer that could not be judged, counts as the mean of its prompt.
      scale: `"std"`: as above. `"rank"`: ranks within each prompt in place of the rewards, from
        -1/2 to 1/2, equal ones in the middle of theirs. None: the centred rewards as they are.

    Returns:
      The losses, and how much of the batch said something.

    Raises:
      ValueError: `scale` is none of these.

    >>> rewards = jnp.asarray([[[1.0, 5.0]], [[0.0, 5.0]]])  # two queries, two prompts
    >>> losses, tied, missing = fitness(rewards, scale=None)
    >>> losses.ravel().tolist(), float(tied)
    ([-0.25, 0.25], 0.5)

    References:
      EGGROLL, https://arxiv.org/abs/2511.16652 (one scale for all prompts).
    """
    if scale not in ("std", "rank", None):
        raise ValueError(f"scale={scale!r} must be 'std', 'rank' or None")
    queries = rewards.reshape(-1, rewards.shape[-1]).astype(wide(rewards))
    there = jnp.isfinite(queries)
    kept = jnp.where(there, queries, 0.0)
    mean_1xB = jnp.sum(kept, 0, keepdims=True) / jnp.maximum(jnp.sum(there, 0, keepdims=True), 1)
    centred = jnp.where(there, queries - mean_1xB, 0.0)
    # By the rewards themselves: a mean is rounded, so that equal ones may seem to differ from it.
    highest = jnp.max(jnp.where(there, queries, -jnp.inf), 0)
    lowest = jnp.min(jnp.where(there, queries, jnp.inf), 0)
    tied_B = highest <= lowest
    centred = jnp.where(tied_B[None], 0.0, centred)
    if scale == "rank":
        # Of the rewards themselves: beside one far away the others are centred to one number.
        centred = jnp.where(there, _ranks(kept, there), 0.0)
    elif scale == "std":
        spread = jnp.sqrt(jnp.mean(jnp.square(centred)))
        centred = centred / jnp.where(spread > 0, spread, 1.0)
    losses = -jnp.mean(centred, -1).reshape(rewards.shape[:-1])
    return Fitness(losses, jnp.mean(tied_B), jnp.mean(~there))


def _ranks(values: Float[Array, "Q B"], there: Array) -> Float[Array, "Q B"]:
    """Between -1/2 and 1/2: how many of the others are lower less how many are higher."""
    lower = (values[:, None] > values[None]) & there[None]
    higher = (values[:, None] < values[None]) & there[None]
    others = jnp.maximum(jnp.sum(there, 0, keepdims=True) - 1, 1)
    return (jnp.sum(lower, 1) - jnp.sum(higher, 1)) / (2 * others)
