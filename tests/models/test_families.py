"""What all families share: entries that fit each other, initial parameters, choices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.tiny_checkpoints import SIZES, checkpoint_of, shapes_of

import loren_jax
from loren_jax.models import (
    FAMILIES,
    BertConfig,
    apply_function,
    bind,
    choice_function,
    init_params,
)
from loren_jax.models.families import abstract_params
from loren_jax.models.weights import flatten_params, unflatten_params


@pytest.mark.parametrize("head", ["classification", "language_model"])
def test_every_kind_of_leaf_gets_its_initial_value(head):
    config = BertConfig(**{**SIZES, "vocab_size": 2000}, head=head)
    params = init_params(config)
    flat = flatten_params(params)
    assert {path: leaf.shape for path, leaf in flat.items()} == shapes_of(config)
    for path, leaf in flat.items():
        kind = path.rpartition("/")[2]
        if kind in ("scale", "bias"):
            np.testing.assert_array_equal(leaf, float(kind == "scale"))
        else:
            assert 0.7 * 0.02 < leaf.std() < 1.3 * 0.02, path
    kernel = params["layers"]["up"]["kernel"]
    assert not np.allclose(kernel[0], kernel[1])


def test_seeds_and_dtypes_of_initial_parameters():
    config = BertConfig(**SIZES)
    first, again = init_params(config, key=3), init_params(config, key=jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, first, again)
    narrow = init_params(config, key=3, dtype=jnp.bfloat16)
    cast = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), first)
    jax.tree.map(np.testing.assert_array_equal, cast, narrow)
    kernel = init_params(config, key=4)["classifier"]["kernel"]
    assert not np.allclose(kernel, first["classifier"]["kernel"])


def test_choices_need_a_language_model():
    config = BertConfig(**SIZES)
    with pytest.raises(ValueError, match=r"config\.head='classification' has no token logits"):
        choice_function(config, [1, 2])
    ids = jnp.ones((1, 3), jnp.int32)
    network = bind(config, init_params(config))
    with pytest.raises(ValueError, match="head='classification'"):
        network.choices(ids, ids, None, np.array([1, 2]))


def test_weight_table_and_network_must_cover_each_other():
    config, family = BertConfig(**SIZES), FAMILIES["bert"]
    flat = flatten_params(abstract_params(config))
    flat.popitem()
    with pytest.raises(ValueError, match="disagree about the parameters"):
        family.weight_table(config).tensor_rows(unflatten_params(flat))


@pytest.mark.parametrize("head", ["classification", "language_model"])
@pytest.mark.parametrize("family", FAMILIES)
def test_names_tell_which_axes_the_network_sums_over(family, head):
    config = checkpoint_of(family, head=head).config
    apply, params = apply_function(config), abstract_params(config)
    ids = np.ones((2, 6), np.int32)
    axes = loren_jax.matrix_axes(lambda params: jnp.mean(apply(params, ids, ids)), params)
    assert axes.beside_names(params) == {}
    assert len(axes.axes) > 5
