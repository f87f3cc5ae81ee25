"""Momentum, decay and learning rate: the formula, the mask, the errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.transforms import descend

PARAMS = {"a": jnp.asarray([1.0, 2.0]), "b": jnp.asarray([3.0])}
GRADIENT = {"a": jnp.asarray([0.5, -1.0]), "b": jnp.asarray([2.0])}


def test_three_steps_of_the_formula():
    tx = descend(0.1, momentum=0.9, weight_decay=0.01)
    state, momentum = tx.init(PARAMS), 0.0
    for _ in range(3):
        updates, state = tx.update(GRADIENT, state, PARAMS)
        momentum = 0.9 * momentum + np.asarray(GRADIENT["a"])
        expected = -0.1 * (momentum + 0.01 * np.asarray(PARAMS["a"]))
        np.testing.assert_allclose(updates["a"], expected, rtol=1e-6)


def test_without_momentum_there_is_no_buffer():
    floats = lambda tx: [x for x in jax.tree.leaves(tx.init(PARAMS)) if x.size > 1]
    assert not floats(descend(0.1))
    assert floats(descend(0.1, momentum=0.9))


def test_momentum_is_float32_for_low_precision_parameters():
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    state = descend(0.1, momentum=0.9).init(params)
    assert {x.dtype for x in jax.tree.leaves(state) if x.ndim} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": -1e-3}, "learning_rate must be positive"),
        ({"learning_rate": float("inf")}, "learning_rate must be positive"),
        ({"learning_rate": 0.1, "momentum": 1.0}, "momentum must be at least 0 and below 1"),
        ({"learning_rate": 0.1, "weight_decay": -0.1}, "weight_decay must be zero or more"),
    ],
)
def test_bad_knobs_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        descend(**kwargs)
