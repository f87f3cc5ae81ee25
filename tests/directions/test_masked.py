"""Frozen leaves are neither perturbed nor updated, and cost no state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import noise
from loren_jax.directions import Zero, masked, rank_one, resolve_mask
from loren_jax.directions.masked import matching
from loren_jax.types import Coefficients

PARAMS = {
    "head": {"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)},
    "body": {"kernel": jnp.ones((4, 4)), "ids": jnp.arange(3)},
}
HEAD = lambda path: path.startswith("head/")


@pytest.mark.parametrize("mask", [HEAD, resolve_mask(HEAD, PARAMS)], ids=["path", "tree"])
def test_frozen_leaves(mask):
    directions = masked(rank_one(), mask)
    state = directions.init(PARAMS, noise.run_key(0))
    assert len(jax.tree.leaves(state)) == 2
    keys = noise.fold_all(noise.run_key(1), (3,))
    drawn = jax.vmap(lambda key: directions.draw(state, PARAMS, key))(keys)
    assert isinstance(drawn["body"]["kernel"], Zero)
    ones = Coefficients(jnp.ones(3), jnp.ones(3))
    estimate, after = directions.absorb(state, PARAMS, drawn, ones)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    np.testing.assert_array_equal(estimate["body"]["kernel"], np.zeros((4, 4)))
    assert estimate["body"]["ids"].dtype == PARAMS["body"]["ids"].dtype
    assert np.abs(estimate["head"]["kernel"]).min() > 0


def test_noise_is_that_of_the_unmasked_run():
    whole, part = rank_one(), masked(rank_one(), HEAD)
    params = {"head": PARAMS["head"], "body": {"kernel": PARAMS["body"]["kernel"]}}
    draw = lambda d: d.draw(d.init(params, noise.run_key(0)), params, noise.run_key(1))
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(
            draw(whole)["head"][name].to_dense(), draw(part)["head"][name].to_dense()
        )


def test_a_mask_of_another_structure_is_refused():
    with pytest.raises(ValueError, match=r"mask has the structure.*one bool for each leaf"):
        masked(rank_one(), {"head": True}).init(PARAMS, noise.run_key(0))


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(ValueError, match="mask must hold Python bools"):
        resolve_mask(jax.tree.map(lambda _: 1.0, PARAMS), PARAMS)


def test_a_mask_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="no trainable leaf"):
        masked(rank_one(), lambda path: False).init(PARAMS, noise.run_key(0))


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
