"""Arguments of `update`: what has no effect, is misspelt or is missing is named in one line."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax

PARAMS = {"w": jnp.ones((3, 2)), "b": jnp.ones(2)}
GRADIENT = jax.tree.map(jnp.ones_like, PARAMS)
EACH = pytest.mark.parametrize(
    "make", [loren_jax.loren, loren_jax.mezo, loren_jax.zo_muon, loren_jax.mezo_svrg]
)


def loss(params):
    return jnp.sum(params["w"] ** 2) + jnp.sum(params["b"] ** 2)


def update(optimizer, updates=None, params=PARAMS, **given):
    sources = {"value_fn": loss, "full_value_fn": loss} | given
    return optimizer.update(updates, optimizer.init(params), params, **sources)


@EACH
def test_a_gradient_is_refused(make):
    with pytest.raises(ValueError, match=r"a zeroth-order estimate takes none.*behind it"):
        update(make(0.1), GRADIENT)


@EACH
def test_a_gradient_in_a_compiled_step_is_named(make):
    optimizer = make(0.1)
    with pytest.warns(UserWarning, match="a zeroth-order estimate takes none"):
        jax.jit(lambda g: update(optimizer, g)[0])(GRADIENT)


BEFORE = {
    "norm": optax.clip_by_global_norm(1.0),
    "clip": optax.clip(0.1),
    "decay": optax.add_decayed_weights(0.1),
    "momentum": optax.trace(0.9),
}


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_what_stands_before_the_estimate_is_refused(before):
    with pytest.raises(ValueError, match="what stands before the estimate in a chain"):
        update(optax.chain(before, loren_jax.loren(0.1)), GRADIENT)


@EACH
def test_zeros_and_none_pass(make):
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected, _ = update(make(0.1))
        actual, _ = update(make(0.1), zeros)
    jax.tree.map(np.testing.assert_array_equal, actual, expected)


@EACH
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("valuefn", "value_fn"),
        ("value_func", "value_fn"),
        ("losss", "losses"),
        ("hasaux", "has_aux"),
        ("full_valuefn", "full_value_fn"),
    ],
)
def test_a_misspelt_keyword_beside_the_right_one(make, name, meant):
    with pytest.raises(TypeError, match=f"update takes no {name}=: did you mean {meant}="):
        update(make(0.1), **{name: loss})


def test_keywords_of_other_transformations_pass():
    extra = {"value": 1.0, "grad": None, "loss": 1.0, "step_count": 3, "batch": None}
    update(loren_jax.mezo(0.1), **extra)


def test_a_keyword_that_nobody_takes_is_named_where_one_is_missing():
    optimizer = loren_jax.mezo(0.1)
    with pytest.raises(ValueError, match=r"neither of value_fn and losses.*Of closure nothing"):
        optimizer.update(None, optimizer.init(PARAMS), PARAMS, closure=loss)


@EACH
@pytest.mark.parametrize("params", [{}, [], {"a": None}])
def test_a_tree_without_arrays(make, params):
    with pytest.raises(ValueError, match=r"params is .*a tree without arrays: there is nothing"):
        update(make(0.1), params=params)
