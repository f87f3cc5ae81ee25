"""How far a model has gone from the one that it was: in its parameters, and in what it says.

Shape suffixes: B rows, S places, V vocabulary.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from loren_jax.models.generation import round_length
from loren_jax.types import PyTree

BATCH = 4
"""Rows at a time: the logits of two models are there at once."""


class Drift:
    r"""Compares parameters with those of the start.

    .. math::

        \text{distance} = \frac{|x - x_0|}{|x_0|}, \qquad
        \text{kl} = \frac{1}{N} \sum_n \sum_v p_x(v | n) \log \frac{p_x(v | n)}{p_{x_0}(v | n)}

    The latter, in nats a token, is over all places of the answers that the model itself gave.

    Args:
      apply: `apply(params, input_ids, attention_mask, positions) -> logits`, of a whole model.
      start: The parameters at the start, which are copied.
    """

    def __init__(self, apply: Callable[..., jax.Array], start: PyTree):
        self._start = jax.tree.map(jnp.copy, start)

        @jax.jit
        def total(params: PyTree, start: PyTree, ids: Array, mask: Array, said: Array) -> Array:
            places = jnp.broadcast_to(jnp.arange(ids.shape[1] - 1), (len(ids), ids.shape[1] - 1))
            ours, theirs = (apply(x, ids, mask, places) for x in (params, start))
            return jnp.sum(jnp.where(said[:, 1:], _kl(ours, theirs), 0.0))

        self._total, self._distance = total, jax.jit(_distance)

    def __call__(
        self,
        params: PyTree,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
    ) -> dict[str, float]:
        """Compares.

        Args:
          params: Of the whole model.
          prompts: Tokens.
          answers: The tokens of the answers to them.

        Returns:
          `distance` and `kl`.
        """
        width = round_length(max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True)))
        nats, tokens = 0.0, sum(map(len, answers))
        for start in range(0, len(prompts), BATCH):
            some = slice(start, start + BATCH)
            rows = _rows(prompts[some], answers[some], width)
            nats += float(self._total(params, self._start, *rows))
        return {
            "distance": float(self._distance(params, self._start)),
            "kl": nats / max(tokens, 1),
        }


def _rows(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], width: int
) -> tuple[np.ndarray, Bool[np.ndarray, "B S"], Bool[np.ndarray, "B S"]]:
    """Prompts with their answers, where there is text at all, and where it is an answer."""
    ids = np.zeros((BATCH, width), np.int32)
    mask, said = np.zeros(ids.shape, bool), np.zeros(ids.shape, bool)
    mask[:, 0] = True  # of a row that fills up: without a token its logits might be no numbers
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        begin, end = len(prompt), len(prompt) + len(answer)
        ids[row, :end] = [*prompt, *answer]
        mask[row, :end], said[row, begin:end] = True, True
    return ids, mask, said


def _kl(ours: Float[Array, "B S V"], theirs: Float[Array, "B S V"]) -> Float[Array, "B S"]:
    log_p, log_q = (jax.nn.log_softmax(x.astype(jnp.float32)) for x in (ours, theirs))
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), axis=-1)


def _distance(params: PyTree, start: PyTree) -> Float[Array, ""]:
    wide = lambda x: jnp.asarray(x, jnp.float32)
    square = lambda tree: sum(jnp.sum(jnp.square(x)) for x in jax.tree.leaves(tree))
    moved = jax.tree.map(lambda x, y: wide(x) - wide(y), params, start)
    return jnp.sqrt(square(moved) / square(jax.tree.map(wide, start)))
