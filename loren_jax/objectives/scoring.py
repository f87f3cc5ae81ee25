"""Scores of a classifier on a set of examples: what was answered, and the mean loss."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int
from tqdm import tqdm

from loren_jax.evaluation import Sharded
from loren_jax.reports.class_scores import BY_CLASS, class_scores
from loren_jax.tasks import METRICS, Tokens, evaluation_batches
from loren_jax.types import PyTree


def cross_entropy(
    logits: Float[Array, "*B C"], labels: Int[Array | np.ndarray, "*B"]
) -> Float[Array, "*B"]:
    """Cross-entropy of every example, in float32.

    A zeroth-order step lives on differences of losses that are smaller than bfloat16 can tell.

    Args:
      logits: One row of class logits per example.
      labels: The right classes.

    Returns:
      The loss of every example in nats.

    >>> float(cross_entropy(jnp.zeros((1, 2)), jnp.array([1]))[0])  # log 2
    0.693147...
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels)


def spread(
    evaluation: Sharded | None, batch_size: int, number: int
) -> tuple[int, Callable[[Any], Any], Callable[[Any], Any]]:
    """How the rows of an evaluation lie on a mesh; on one device as they are.

    Args:
      evaluation: The mesh; None for one device.
      batch_size: Rows per forward pass that are asked for.
      number: Rows in all.

    Returns:
      Rows per forward pass: as many as are asked for, and so many more that each device has
      some. What places a batch, and what brings a result to every device.
    """
    if evaluation is None:
        return min(batch_size, number), lambda rows: rows, lambda tree: tree
    axes = (*evaluation.population, *evaluation.data)
    multiple = int(np.prod([evaluation.mesh.shape[name] for name in axes]))
    place = replace(evaluation, data=axes).place_batch
    return -(-min(batch_size, number) // multiple) * multiple, place, evaluation.replicate


class Scorer:
    """Scores parameters on one set of examples; compiled once, however often it is called.

    Args:
      apply: `apply(params, input_ids, attention_mask, token_type_ids, *frozen) -> logits`.
      tokens: The examples.
      batch_size: Examples per forward pass.
      frozen: Further arguments of `apply`.
      metrics: Names in `loren_jax.tasks.METRICS` of what to tell beside accuracy and loss.
      label_names: The classes, for scores of each; without them there are none.
      evaluation: The mesh that the parameters lie on; the examples are spread over it.
      title: Name of a progress bar, for a long evaluation; none by default.

    Attributes:
      passes: Forward passes of a call.
    """

    def __init__(
        self,
        apply: Callable[..., jax.Array],
        tokens: Tokens,
        batch_size: int,
        frozen: tuple[Any, ...] = (),
        *,
        metrics: Sequence[str] = (),
        label_names: Sequence[str] = (),
        evaluation: Sharded | None = None,
        title: str | None = None,
    ):
        self._tokens, self._frozen = tokens, frozen
        self._label_names = tuple(label_names)
        self._metrics, self._title = [name for name in metrics if name != "accuracy"], title
        self._batch_size, self._place, everywhere = spread(
            evaluation, batch_size, len(tokens.labels)
        )
        self.passes = -(-len(tokens.labels) // self._batch_size)

        def totals(
            params: PyTree, tokens: Tokens, weights: jax.Array, frozen: tuple[Any, ...]
        ) -> tuple[jax.Array, jax.Array]:
            logits, labels = apply(params, *tokens[:3], *frozen), tokens.labels
            answers = jnp.argmax(logits, axis=-1)
            counts = jnp.zeros((logits.shape[-1],) * 2, jnp.int32)
            counts = counts.at[labels, answers].add(weights.astype(jnp.int32))
            losses = cross_entropy(logits, labels)
            # Not losses * weights: a filling row's NaN would survive a weight of zero.
            total = jnp.sum(jnp.where(weights > 0, losses, 0.0))
            return everywhere((counts, total))

        self._totals = jax.jit(totals)

    def __call__(self, params: PyTree) -> dict[str, Any]:
        """Scores parameters, which stay as they are.

        Args:
          params: The parameters.

        Returns:
          `loss` (mean cross-entropy in nats), `accuracy` between 0 and 1, the other metrics, the
          number of `examples` and, where the classes were named, `by_class`: see
          `loren_jax.reports.class_scores.class_scores`.
        """
        counts, losses, number = 0, 0.0, len(self._tokens.labels)
        silent = self._title is None or sys.stderr is None or not sys.stderr.isatty()
        with tqdm(total=number, desc=self._title, leave=False, disable=silent) as bar:
            for rows, weights in evaluation_batches(self._tokens, self._batch_size):
                more, loss = self._totals(params, self._place(rows), weights, self._frozen)
                counts = counts + np.asarray(more, np.int64)
                losses += float(loss)
                bar.update(min(self._batch_size, number - bar.n))
        confusion = tuple(tuple(row) for row in np.asarray(counts).tolist())
        scores: dict[str, Any] = {
            "loss": losses / number,
            "accuracy": float(np.trace(counts)) / number,
        }
        scores |= {name: METRICS[name](confusion) for name in self._metrics}
        if self._label_names:
            scores[BY_CLASS] = class_scores(confusion, self._label_names)
        return {**scores, "examples": number}
