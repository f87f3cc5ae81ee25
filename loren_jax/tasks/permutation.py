"""Seeded permutations whose numbers never change, for splits and for batches.

A split that moves with the NumPy version would silently mix training and held-out rows. NumPy
freezes the raw output of `Philox` and of `SeedSequence`, but not the numbers of
`Generator.permutation`, so the order is taken from the raw output.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Int64


@lru_cache(maxsize=4)
def permutation(length: int, seed: int, *stream: int) -> Int64[np.ndarray, "length"]:
    """Return the permutation of `range(length)` that belongs to a seed and a stream, read-only.

    `stream` names independent permutations of one seed, such as that of an epoch. The last few
    results are kept, because consecutive batches ask for the same epoch.

    Example:
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
