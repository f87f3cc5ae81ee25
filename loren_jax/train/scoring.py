"""Accuracy and mean loss over a set of examples."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax.tasks import EvaluationBatch, Tokens, evaluation_batches
from loren_jax.train.loss import cross_entropy
from loren_jax.types import PyTree


class Score(NamedTuple):
    """How well a classifier does on a set of examples.

    Attributes:
        accuracy: Share of right answers, between 0 and 1.
        loss: Mean cross-entropy in nats.
        examples: How many there were.
        forward_passes: What it cost, in batches.
    """

    accuracy: float
    loss: float
    examples: int
    forward_passes: int


class Scorer:
    """Scores parameters on one set of examples; compiled once, however often it is called.

    Args:
        apply: `apply(params, input_ids, attention_mask, token_type_ids) -> logits`.
        tokens: The examples.
        batch_size: Examples per forward pass.
    """

    def __init__(self, apply: Callable[..., jax.Array], tokens: Tokens, batch_size: int):
        self._tokens = tokens
        self._batch_size = min(batch_size, len(tokens.labels))

        def totals(params: PyTree, batch: EvaluationBatch) -> tuple[jax.Array, jax.Array]:
            logits = apply(params, *batch.tokens[:3])
            right = (jnp.argmax(logits, axis=-1) == batch.tokens.labels) * batch.weights
            losses = cross_entropy(logits, batch.tokens.labels)
            # Not losses * weights: a filling row's NaN would survive a weight of zero.
            return jnp.sum(right), jnp.sum(jnp.where(batch.weights > 0, losses, 0.0))

        self._totals = jax.jit(totals)

    def __call__(
        self, params: PyTree, abandoned: Callable[[], bool] = lambda: False
    ) -> Score | None:
        """Scores parameters, which stay as they are.

        Args:
            params: The parameters.
            abandoned: Asked before every batch whether to give up.

        Returns:
            The score, or None where it was given up.
        """
        totals = []
        for batch in evaluation_batches(self._tokens, self._batch_size):
            if abandoned():
                return None
            totals.append(np.asarray(self._totals(params, batch), np.float64))
        accuracy, loss = np.sum(totals, axis=0) / len(self._tokens.labels)
        return Score(float(accuracy), float(loss), len(self._tokens.labels), len(totals))
