"""Counts of right and wrong answers and the mean loss over a set of examples."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from loren_jax.tasks import METRICS, EvaluationBatch, Tokens, evaluation_batches
from loren_jax.train.cluster.devices import OneDevice
from loren_jax.train.loss import cross_entropy
from loren_jax.types import PyTree


class Score(NamedTuple):
    """How well a classifier does on a set of examples.

    Attributes:
        accuracy: Share of right answers, between 0 and 1.
        loss: Mean cross-entropy in nats.
        examples: How many there were.
        forward_passes: What it cost, in batches.
        confusion: How often class j was answered where class i was right, row i, column j.
    """

    accuracy: float
    loss: float
    examples: int
    forward_passes: int
    confusion: tuple[tuple[int, ...], ...] = ()

    def metric(self, name: str) -> float:
        """A metric by its name in `loren_jax.tasks.METRICS`.

        Example:
            >>> Score(0.5, 0.7, 4, 1, ((1, 1), (1, 1))).metric("matthews")
            0.0
        """
        return self.accuracy if name == "accuracy" else METRICS[name](self.confusion)


class Scorer:
    """Scores parameters on one set of examples; compiled once, however often it is called.

    Args:
        apply: `apply(params, input_ids, attention_mask, token_type_ids, *frozen) -> logits`.
        tokens: The examples.
        batch_size: Examples per forward pass.
        frozen: Further arguments of `apply`.
        title: Name of a progress bar, for a long evaluation; none by default.
        devices: Where the examples and the parameters lie.
    """

    def __init__(
        self,
        apply: Callable[..., jax.Array],
        tokens: Tokens,
        batch_size: int,
        frozen: tuple[Any, ...] = (),
        *,
        title: str | None = None,
        devices: OneDevice | None = None,
    ):
        self._tokens, self._devices = tokens, (devices := devices or OneDevice())
        # As many rows as are asked for, and so many more that each device has some.
        multiple = devices.evaluation_rows
        self._batch_size = -(-min(batch_size, len(tokens.labels)) // multiple) * multiple
        self._title, self._frozen = title, frozen

        def totals(
            params: PyTree, batch: EvaluationBatch, frozen: tuple[Any, ...]
        ) -> tuple[jax.Array, jax.Array]:
            logits = apply(params, *batch.tokens[:3], *frozen)
            labels = batch.tokens.labels
            answers = jnp.argmax(logits, axis=-1)
            counts = jnp.zeros((logits.shape[-1],) * 2, jnp.int32)
            counts = counts.at[labels, answers].add(batch.weights.astype(jnp.int32))
            losses = cross_entropy(logits, labels)
            # Not losses * weights: a filling row's NaN would survive a weight of zero.
            total = jnp.sum(jnp.where(batch.weights > 0, losses, 0.0))
            return devices.everywhere((counts, total))

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
        counts, losses, passes = None, 0.0, 0
        number = len(self._tokens.labels)
        silent = self._title is None or not sys.stderr.isatty()
        with tqdm(total=number, desc=self._title, leave=False, disable=silent) as bar:
            for batch in evaluation_batches(self._tokens, self._batch_size):
                if abandoned():
                    return None
                rows = self._devices.rows(batch.tokens, scored=True)
                batch = batch._replace(tokens=rows)
                more, loss = self._totals(params, batch, self._frozen)
                more = np.asarray(more, np.int64)
                counts = more if counts is None else counts + more
                losses += float(loss)
                passes += 1
                bar.update(min(self._batch_size, number - bar.n))
        assert counts is not None  # there is at least one batch
        confusion = tuple(tuple(row) for row in counts.tolist())
        accuracy = float(np.trace(counts)) / number
        return Score(accuracy, losses / number, number, passes, confusion)
