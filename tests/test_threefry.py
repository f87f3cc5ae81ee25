"""The generator against JAX's own."""

import jax
import numpy as np
import pytest
from jax.extend.random import threefry2x32_p

from loren_jax.threefry import threefry


@pytest.mark.parametrize("seed", [0, 1])
def test_words_are_those_of_the_primitive(seed):
    words = np.random.default_rng(seed).integers(0, 2**32, (4, 1000), dtype=np.uint32)
    ours = jax.jit(lambda k, c: threefry(k, c))(tuple(words[:2]), tuple(words[2:]))
    for own, theirs in zip(ours, threefry2x32_p.bind(*words), strict=True):
        np.testing.assert_array_equal(own, theirs)


def test_keys_and_counters_are_broadcast():
    keys = np.arange(6, dtype=np.uint32).reshape(2, 3, 1)
    numbers = np.arange(4, dtype=np.uint32)[None]
    first, second = threefry((keys[0], keys[1]), (np.uint32(0), numbers))
    assert first.shape == second.shape == (3, 4)
    row = threefry((keys[0, 1], keys[1, 1]), (np.uint32(0), numbers[0]))
    np.testing.assert_array_equal(first[1], row[0])
    np.testing.assert_array_equal(second[1], row[1])
