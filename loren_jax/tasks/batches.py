"""Token arrays of one fixed shape, and batches that depend on nothing but seed and step.

One shape means one compilation. A batch that is a pure function of (seed, step) means that a run
resumes at any step, and that a journal of losses can be replayed, without the state of a loader.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int, Int32, Int64


@lru_cache(maxsize=4)
def permutation(length: int, seed: int, *stream: int) -> Int64[np.ndarray, "length"]:
    """Return the permutation of `range(length)` that belongs to a seed and a stream, read-only.

    `stream` names independent permutations of one seed, such as that of an epoch. The last few
    results are kept, because consecutive batches ask for the same epoch.

    >>> sorted(permutation(6, 0, 1).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    if length < 0:
        raise ValueError(f"length is {length}; it must not be negative")
    if seed < 0:
        raise ValueError(f"seed is {seed}; give an integer that is not negative")
    words = np.random.Philox(np.random.SeedSequence(seed, spawn_key=stream)).random_raw(length)
    order = np.argsort(words, kind="stable").astype(np.int64)
    order.setflags(write=False)
    return order


class Tokens(NamedTuple):
    """Tokenised examples.

    Attributes:
      input_ids: int32 array [N, T].
      attention_mask: int32 array [N, T], 1 at tokens and 0 at padding.
      token_type_ids: int32 array [N, T], 1 at the second text of a pair where the tokenizer
        says so, else 0.
      labels: int32 array [N].
    """

    input_ids: Int32[np.ndarray, "examples length"]
    attention_mask: Int32[np.ndarray, "examples length"]
    token_type_ids: Int32[np.ndarray, "examples length"]
    labels: Int32[np.ndarray, "examples"]

    def rows(self, indices: Int[np.ndarray, "chosen"]) -> "Tokens":
        """Return the examples at `indices` [chosen], such as those of `batch_indices`."""
        return Tokens(*(array[indices] for array in self))


def batch_indices(
    seed: int, step: int, num_examples: int, batch_size: int
) -> Int64[np.ndarray, "batch"]:
    """Return which examples the batch of a step holds.

    The batches walk through one permutation per epoch. A batch that crosses into the next epoch
    takes the tail of one permutation and the head of the next, so every example occurs exactly
    once per epoch, whether or not the batch size divides the number of examples.

    Args:
      seed: of the permutations, not negative.
      step: the optimiser's step, from 0.
      num_examples: number of examples N.
      batch_size: number of examples per batch, at most N.

    Returns:
      int64 array [batch_size] of positions below N.

    Raises:
      ValueError: if `step` is negative or `batch_size` is not between 1 and N.

    >>> epoch = [batch_indices(0, step, 6, 2) for step in range(3)]
    >>> sorted(np.concatenate(epoch).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    if step < 0:
        raise ValueError(f"step is {step}; steps count from 0")
    if not 1 <= batch_size <= num_examples:
        raise ValueError(
            f"batch_size is {batch_size}, but must lie between 1 and the {num_examples} examples"
        )
    epoch, start = divmod(step * batch_size, num_examples)
    tail = permutation(num_examples, seed, epoch)[start : start + batch_size]
    missing = batch_size - len(tail)
    if not missing:
        return tail
    return np.concatenate([tail, permutation(num_examples, seed, epoch + 1)[:missing]])


def evaluation_batches(
    tokens: Tokens, batch_size: int
) -> Iterator[tuple[Tokens, Float32[np.ndarray, "batch"]]]:
    """Walk through all examples once, in order, in batches of one shape.

    Args:
      tokens: the examples to evaluate, at least one.
      batch_size: number of rows of every batch, the last included.

    Yields:
      `batch_size` examples, and float32 array [batch_size] of a weight for each: 1, or 0 for the
      rows that fill up the last batch.

    Raises:
      ValueError: if there are no examples or `batch_size` is below 1.

    >>> grid = np.zeros((3, 8), np.int32)
    >>> tokens = Tokens(grid, grid, grid, np.zeros(3, np.int32))
    >>> [weights.tolist() for _, weights in evaluation_batches(tokens, 2)]
    [[1.0, 1.0], [1.0, 0.0]]
    """
    num_examples = len(tokens.labels)
    if num_examples == 0:
        raise ValueError("tokens holds no examples to evaluate")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
    for start in range(0, num_examples, batch_size):
        positions = np.arange(start, start + batch_size)
        # The last example again, not zeros: attention over no token at all gives NaN, and NaN
        # times weight 0 is NaN.
        rows = tokens.rows(np.minimum(positions, num_examples - 1))
        yield rows, (positions < num_examples).astype(np.float32)
