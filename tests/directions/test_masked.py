"""Masks: which leaves are meant."""

import re

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
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


HEAD = lambda path: path.startswith("head/")
MATRICES = lambda params: jax.tree.map(lambda x: x.ndim > 1, params)
LAYERS = {"head": {"kernel": True, "bias": False}, "body": {"kernel": True, "ids": False}}


@pytest.mark.parametrize(
    "mask",
    [
        MATRICES,
        lambda params: jax.tree.map(lambda x: np.bool_(x.ndim > 1), params),
        jax.tree.map(np.bool_, LAYERS),
        lambda path: np.bool_(path.endswith("kernel")),
        # With the tree both give a bool, and with a tree without such a name an error or a leaf.
        lambda path: "kernel" in path,
        lambda path: path == "head/kernel" or path in ("body/kernel",),
        lambda path: bool(re.search("kernel$", path)),
        lambda path: {"head/kernel": True, "body/kernel": True}.get(path, False),
        lambda path: path[-1] == "l",
    ],
    ids=["optax", "optax numpy", "tree numpy", "path numpy", "in", "==", "re", "dict", "index"],
)
def test_masks_of_every_form_are_told_apart(mask):
    found = resolve_mask(mask, PARAMS)
    assert found == LAYERS
    assert all(type(flag) is bool for flag in jax.tree.leaves(found))
    traced = []
    jax.jit(lambda params: traced.append(resolve_mask(mask, params)))(PARAMS)
    assert traced == [LAYERS]


def test_a_mask_in_the_style_of_optax_freezes():
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(3)}
    optimizer = loren_jax.trained(loren_jax.loren(0.1, weight_decay=0.1), MATRICES)
    loss = lambda params: sum(jnp.sum(x**2) for x in jax.tree.leaves(params))
    updates, _ = optimizer.update(None, optimizer.init(params), params, value_fn=loss)
    assert np.abs(updates["kernel"]).min() > 0
    np.testing.assert_array_equal(updates["bias"], np.zeros(3))


def test_a_single_leaf_has_one_flag_by_either_form():
    assert resolve_mask(lambda path: path == "", jnp.ones(2)) is True
    assert resolve_mask(MATRICES, jnp.ones(2)) is False


def test_a_module_of_bools_that_can_be_called_is_a_tree():
    module = equinox.nn.Linear(2, 3, key=jax.random.key(0))
    flags = jax.tree.map(lambda x: x.ndim > 1, module)
    assert jax.tree.leaves(resolve_mask(flags, module)) == [True, False]


@pytest.mark.parametrize("params", [PARAMS, jnp.ones(3)], ids=["tree", "leaf"])
@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (lambda path: None, "returned None"),
        (lambda path: re.search("", path), "returned <re.Match"),
        (lambda x: x.missing, "raised AttributeError: 'str' object has no attribute 'missing'"),
        (lambda params: jax.tree.map(lambda x: 1.0, params), "returned 1.0"),
        (lambda params: {"head": True}, r"returned {'head': True}"),
    ],
)
def test_a_function_of_neither_form_is_told_both(mask, said, params):
    told = (
        rf"^mask is a function of neither form \([^\n]*{said}[^\n]*path[^\n]*tree of bools[^\n]*$"
    )
    with pytest.raises(ValueError, match=told):
        resolve_mask(mask, params)


def test_an_empty_tree_has_an_empty_mask():
    for mask in (MATRICES, HEAD, {}):
        assert resolve_mask(mask, {}) == {}
        loren_jax.trained(loren_jax.loren(0.1), mask).init({})


def test_a_mask_finds_a_field_named_value():
    class Attention(equinox.Module):
        query: jax.Array
        key: jax.Array
        value: jax.Array

    params = {"attn": Attention(jnp.ones((2, 2)), jnp.ones((2, 2)), jnp.ones((2, 2)))}
    optimizer = loren_jax.trained(
        loren_jax.loren(0.1, rank=1), lambda path: path.endswith("/value")
    )
    loss = lambda params: sum(jnp.sum(x**2) for x in jax.tree.leaves(params))
    updates, _ = optimizer.update(None, optimizer.init(params), params, value_fn=loss)
    moved = [bool(np.abs(x).max() > 0) for x in jax.tree.leaves(updates)]
    assert moved == [False, False, True]
    assert jax.tree.leaves(resolve_mask(matching(["*/value"], params, "x"), params)) == moved


def test_integer_leaves_must_be_masked():
    with pytest.raises(
        ValueError, match=r"leaf 'body/ids' has dtype int32.*trained\(optimizer, lambda path"
    ):
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
