"""Scores of a language model on held-out texts: how well it predicts each token that counts.

Shape suffixes: B rows, S places, V vocabulary.
"""

import math
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float
from tqdm import tqdm

from loren_jax.evaluation import Sharded
from loren_jax.objectives.scoring import cross_entropy, spread
from loren_jax.tasks.buckets import Buckets, SpanTokens
from loren_jax.types import PyTree


def token_nats(logits: Float[Array, "B S V"], tokens: SpanTokens) -> Float[Array, "B S"]:
    """Cross-entropy of every token that counts in nats, float32; 0 at filling."""
    nats = cross_entropy(logits, tokens.targets)
    # Selected and not multiplied: what stands at filling may be infinite.
    return jnp.where(tokens.weights > 0, nats, 0.0)


class TextScorer:
    """Scores parameters on one set of texts; a program for each shape, however often it is called.

    Args:
      apply: `apply(params, input_ids, attention_mask, positions, *frozen) -> logits`.
      rows: The texts.
      batch_size: Rows per forward pass.
      frozen: Further arguments of `apply`.
      evaluation: The mesh that the parameters lie on; the rows are spread over it.
      title: Name of a progress bar, for a long evaluation; none by default.

    Attributes:
      passes: Forward passes of a call.
    """

    def __init__(
        self,
        apply: Callable[..., jax.Array],
        rows: Buckets,
        batch_size: int,
        frozen: tuple[Any, ...] = (),
        *,
        evaluation: Sharded | None = None,
        title: str | None = None,
    ):
        self._rows, self._frozen, self._title = rows, frozen, title
        self._batch_size, self._place, everywhere = spread(evaluation, batch_size, len(rows))
        self.passes = rows.passes(self._batch_size)

        def totals(
            params: PyTree, tokens: SpanTokens, frozen: tuple[Any, ...]
        ) -> tuple[jax.Array, jax.Array]:
            logits = apply(params, *tokens[:3], *frozen)
            right = (jnp.argmax(logits, axis=-1) == tokens.targets) & (tokens.weights > 0)
            return everywhere((jnp.sum(token_nats(logits, tokens)), jnp.sum(right)))

        self._totals = jax.jit(totals)

    def __call__(self, params: PyTree) -> dict[str, Any]:
        """Scores parameters, which stay as they are.

        Args:
          params: The parameters.

        Returns:
          `loss`, the mean over all tokens that count in nats, its exponential `perplexity`,
          `token_accuracy`, the share that is the likeliest token, and the number of `examples`.
        """
        nats, right, number = 0.0, 0, len(self._rows)
        silent = self._title is None or sys.stderr is None or not sys.stderr.isatty()
        with tqdm(total=number, desc=self._title, leave=False, disable=silent) as bar:
            for tokens, _, weights in self._rows.walk(self._batch_size):
                # What fills up a batch predicts nothing.
                kept = tokens._replace(weights=tokens.weights * weights[:, None])
                more, hits = self._totals(params, self._place(kept), self._frozen)
                nats, right = nats + float(more), right + int(hits)
                bar.update(int(weights.sum()))
        loss = nats / self._rows.counted
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "token_accuracy": right / self._rows.counted,
            "examples": number,
        }
