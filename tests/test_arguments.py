"""Checks of arguments pass what cannot be looked at and name what is wrong."""

import jax
import jax.numpy as jnp
import pytest

from loren_jax import arguments


def test_schedules_and_tracers_pass():
    arguments.positive("learning_rate", lambda step: -1.0)
    jax.jit(lambda x: arguments.positive("learning_rate", x) or x)(-1.0)
    arguments.positive("learning_rate", jnp.asarray(0.1))


def test_scheduled_takes_numbers_and_schedules():
    assert arguments.scheduled(0.5, jnp.asarray(3)) == 0.5
    assert arguments.scheduled(lambda step: 2.0 * step, jnp.asarray(3)) == 6.0
    assert arguments.scheduled(1, jnp.asarray(0)).dtype == jnp.float32


@pytest.mark.parametrize("value", [True, 1.0, "3", None])
def test_counts_are_python_ints(value):
    with pytest.raises(TypeError, match="num_directions must be a Python int"):
        arguments.count("num_directions", value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_positive(value):
    with pytest.raises(ValueError, match="damping must be positive and finite"):
        arguments.positive("damping", value)


def test_complex_leaves_are_refused():
    with pytest.raises(ValueError, match="leaf 'w' has dtype complex64"):
        arguments.trainable_leaves({"w": jnp.ones(2, jnp.complex64)})
