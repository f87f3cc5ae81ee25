"""Masks: which leaves are meant."""

import jax
import jax.numpy as jnp
import pytest

from loren_jax import noise
from loren_jax.directions import rank_one, resolve_mask
from loren_jax.directions.masked import matching

PARAMS = {
    "head": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)},
    "body": {"kernel": jnp.ones((4, 4)), "ids": jnp.arange(3)},
}


def test_a_mask_of_another_structure_is_refused():
    with pytest.raises(ValueError, match=r"mask has the structure.*one bool for each leaf"):
        resolve_mask({"head": True}, PARAMS)


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(ValueError, match="mask must hold Python bools"):
        resolve_mask(jax.tree.map(lambda _: 1.0, PARAMS), PARAMS)


def test_integer_leaves_must_be_masked():
    with pytest.raises(ValueError, match=r"leaf 'body/ids' has dtype int32.*mask=lambda path"):
        rank_one().init(PARAMS, noise.run_key(0))


PATTERNED = {
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
    mask = matching(patterns, PATTERNED, "trainable")
    leaves = zip(noise.leaf_paths(PATTERNED), jax.tree.leaves(PATTERNED), strict=True)
    assert sum(leaf.size for path, leaf in leaves if mask(path)) == trained


def test_paths():
    assert noise.leaf_paths(PATTERNED) == ["head/bias", "head/kernel", "layers/norm/bias"]


def test_every_pattern_must_match():
    with pytest.raises(ValueError, match=r"'tail/\*' matches no parameter; they are head/bias"):
        matching(["head/*", "tail/*"], PATTERNED, "trainable")
