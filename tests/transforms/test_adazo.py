"""R-AdaZO's scaling against the formula."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles_adaptive
import pytest

from loren_jax.transforms.adazo import scale_by_adazo

KNOBS = {"b1": 0.8, "b2": 0.95, "eps": 1e-4}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_five_steps_of_the_formula(dtype):
    """State and updates are float32, also for bfloat16 gradients and parameters."""
    params = jnp.ones(6, dtype)
    tx = scale_by_adazo(**KNOBS)
    state = tx.init(params)
    m = v = np.zeros(6)
    for t in range(5):
        gradient = jnp.sin(jnp.arange(6.0) + t).astype(dtype)
        updates, state = tx.update(gradient, state, params, value=1.0)
        x, m, v = oracles_adaptive.adazo_step(
            np.zeros(6), m, v, np.asarray(gradient, np.float64), eta=1.0, **KNOBS
        )
        np.testing.assert_allclose(updates, -x, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(state.nu, v, rtol=1e-5)
    assert {leaf.dtype for leaf in jax.tree.leaves((updates, state))} == {jnp.dtype(jnp.float32)}


def test_first_update_has_the_length_that_the_docstring_says():
    tx = scale_by_adazo()
    updates, _ = tx.update(jnp.asarray([0.1, -5.0]), tx.init(jnp.zeros(2)))
    np.testing.assert_allclose(updates, [1 / np.sqrt(1e-3), -1 / np.sqrt(1e-3)], rtol=1e-3)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"b1": 1.0}, "b1 must be at least 0 and below 1"),
        ({"b2": 1.5}, "b2 must be at least 0 and below 1"),
        ({"eps": -1.0}, "eps must be zero or more"),
    ],
)
def test_bad_knobs_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        scale_by_adazo(**kwargs)


def test_where_nothing_has_been_seen_nothing_is_divided():
    tx = scale_by_adazo(eps=0.0)
    updates, _ = tx.update(jnp.zeros(2), tx.init(jnp.zeros(2)))
    np.testing.assert_array_equal(updates, 0)
