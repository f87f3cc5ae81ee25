"""Rows of tokens in batches of a few shapes, each of which is one compiled program.

A batch is a function of the seed and the step alone, as `loren_jax.tasks.batches` has it: the same
walk through one permutation per epoch, in which the rows of a few batches are sorted by shape.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64

from loren_jax.tasks.batches import batch_indices, permutation
from loren_jax.tasks.spans import Spanned

_MULTIPLE = 8
_WINDOW = 16
"""Batches among which rows are sorted: enough to find their like, few enough to stay random."""


class SpanTokens(NamedTuple):
    """Rows of one shape.

    Attributes:
      input_ids: int32 array [N, T].
      attention_mask: int32 array [N, T], 1 at tokens and 0 at padding, which is on the right.
      positions: int32 array [N, S], the places from which a token is predicted: the one before.
      targets: int32 array [N, S], the tokens that are predicted there.
      weights: float32 array [N, S], 1 at those that count and 0 at filling.
    """

    input_ids: Int32[np.ndarray, "rows length"]
    attention_mask: Int32[np.ndarray, "rows length"]
    positions: Int32[np.ndarray, "rows span"]
    targets: Int32[np.ndarray, "rows span"]
    weights: Float32[np.ndarray, "rows span"]


class Shape(NamedTuple):
    """The longest row of a bucket, and the most tokens that one predicts."""

    length: int
    span: int


def bucket_shapes(rows: Sequence[Spanned], buckets: int, positions: int) -> tuple[Shape, ...]:
    """Shapes, the smallest first, into which about equally many rows fall.

    Args:
      rows: all rows of a run.
      buckets: how many shapes at most.
      positions: what no length is rounded up beyond.

    Returns:
      Different shapes, the last of which holds every row.

    >>> row = lambda length: Spanned(np.zeros(length, np.int32), np.arange(length) > 5)
    >>> bucket_shapes([row(7), row(8), row(30), row(31)], 2, 512)
    (Shape(length=8, span=8), Shape(length=32, span=32))
    """
    lengths = np.array([len(row.input_ids) for row in rows])
    spans = np.array([int(row.counted[1:].sum()) for row in rows])
    ranks = np.ceil(np.arange(1, buckets + 1) / buckets * len(rows)).astype(int) - 1
    edges = sorted({min(_round_up(edge), positions) for edge in np.sort(lengths)[ranks].tolist()})
    return tuple(Shape(edge, _round_up(int(spans[lengths <= edge].max()))) for edge in edges)


def _round_up(length: int) -> int:
    return -(-length // _MULTIPLE) * _MULTIPLE


class Buckets:
    """Rows of tokens, taken in batches of a few shapes.

    Args:
      rows: at least one.
      shapes: those of `bucket_shapes`, which hold every row.

    Attributes:
      shapes: as given.
      counted: how many tokens are predicted in all.
    """

    def __init__(self, rows: Sequence[Spanned], shapes: Sequence[Shape]):
        self._rows, self.shapes = tuple(rows), tuple(shapes)
        lengths = np.array([len(row.input_ids) for row in rows])
        self._bucket = np.searchsorted([shape.length for shape in shapes], lengths)
        self.counted = sum(int(row.counted[1:].sum()) for row in rows)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def take(self, indices: Int[np.ndarray, "chosen"], shape: Shape | None = None) -> SpanTokens:
        """Return the rows at `indices` [chosen], of the smallest shape that holds them all."""
        chosen = [self._rows[index] for index in indices]
        shape = shape or self.shapes[int(self._bucket[indices].max())]
        whole, part = (len(chosen), shape.length), (len(chosen), shape.span)
        tokens = SpanTokens(
            input_ids=np.zeros(whole, np.int32),
            attention_mask=np.zeros(whole, np.int32),
            positions=np.zeros(part, np.int32),
            targets=np.zeros(part, np.int32),
            weights=np.zeros(part, np.float32),
        )
        for number, row in enumerate(chosen):
            length, predicted = len(row.input_ids), np.flatnonzero(row.counted[1:])
            tokens.input_ids[number, :length] = row.input_ids
            tokens.attention_mask[number, :length] = 1
            tokens.positions[number, : len(predicted)] = predicted
            tokens.targets[number, : len(predicted)] = row.input_ids[predicted + 1]
            tokens.weights[number, : len(predicted)] = 1
        return tokens

    def batch(self, seed: int, step: int, batch_size: int) -> SpanTokens:
        """Return the rows of a step; the very first has the largest shape, so that memory is known.

        Every row occurs once per epoch, as in `batch_indices`.
        """
        indices = self.indices(seed, step, batch_size)
        return self.take(indices, None if step else self.shapes[-1])

    def indices(self, seed: int, step: int, batch_size: int) -> Int64[np.ndarray, "batch"]:
        """Return which rows the batch of a step holds."""
        window = max(1, min(_WINDOW, len(self) // batch_size))
        number, place = divmod(step, window)
        # One window is a batch of as many rows, cut into its own batches.
        rows = batch_indices(seed, number, len(self), window * batch_size)
        rows = rows[np.argsort(self._bucket[rows], kind="stable")].reshape(window, batch_size)
        return rows[permutation(window, seed, number, 1)[place]]

    def walk(
        self, batch_size: int
    ) -> Iterator[tuple[SpanTokens, Int64[np.ndarray, "batch"], Float32[np.ndarray, "batch"]]]:
        """Go through all rows once, shape by shape.

        Args:
          batch_size: rows of every batch, the last of a shape included.

        Yields:
          `batch_size` rows, their numbers, and a weight for each: 0 for what fills up a batch.
        """
        for bucket in range(len(self.shapes)):
            own = np.flatnonzero(self._bucket == bucket)
            for start in range(0, len(own), batch_size):
                places = np.arange(start, start + batch_size)
                rows = own[np.minimum(places, len(own) - 1)]
                yield self.take(rows), rows, (places < len(own)).astype(np.float32)

    def passes(self, batch_size: int) -> int:
        """Return the number of batches of `walk`."""
        counts = np.bincount(self._bucket, minlength=len(self.shapes))
        return int(sum(-(-counts // batch_size)))

    def flat(self) -> dict[str, np.ndarray]:
        """Return all rows as three arrays, which tell whether a resumed run found the same."""
        return {
            "input_ids": np.concatenate([row.input_ids for row in self._rows]),
            "counted": np.concatenate([row.counted for row in self._rows]),
            "lengths": np.array([len(row.input_ids) for row in self._rows], np.int32),
        }
