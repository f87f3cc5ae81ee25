"""Patterns choose parameters."""

import jax.numpy as jnp
import pytest

from loren_jax.train.trainable import leaf_paths, parameter_counts, trainable_mask

PARAMS = {
    "head": {"bias": jnp.zeros(2), "kernel": jnp.zeros((3, 2))},
    "layers": {"norm": {"bias": jnp.zeros(5)}},
}


@pytest.mark.parametrize(
    ("patterns", "trained"),
    [
        (["*"], 13),
        (["head/*"], 8),
        (["*/bias"], 7),
        (["head/kernel", "layers/*"], 11),
        (["head/*", "head/bias"], 8),
    ],
)
def test_patterns(patterns, trained):
    assert parameter_counts(trainable_mask(patterns, PARAMS), PARAMS) == (trained, 13)


def test_paths():
    assert leaf_paths(PARAMS) == ["head/bias", "head/kernel", "layers/norm/bias"]


def test_every_pattern_must_match():
    with pytest.raises(ValueError, match=r"'tail/\*' matches no parameter; they are head/bias"):
        trainable_mask(["head/*", "tail/*"], PARAMS)
