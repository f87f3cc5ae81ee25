"""Checks of arguments pass what cannot be looked at and name what is wrong."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import loren_jax
from loren_jax import arguments
from loren_jax.directions import resolve_mask


def test_schedules_and_tracers_pass():
    arguments.positive("learning_rate", lambda step: -1.0)
    jax.jit(lambda x: arguments.positive("learning_rate", x) or x)(-1.0)
    arguments.positive("learning_rate", jnp.asarray(0.1))


def test_value_at_takes_numbers_and_schedules():
    assert arguments.value_at(0.5, jnp.asarray(3)) == 0.5
    assert arguments.value_at(lambda step: 2.0 * step, jnp.asarray(3)) == 6.0
    assert arguments.value_at(1, jnp.asarray(0)).dtype == jnp.float32


@pytest.mark.parametrize("value", [True, 1.0, "3", None])
def test_counts_are_python_ints(value):
    with pytest.raises(TypeError, match="num_directions must be a Python int"):
        arguments.count("num_directions", value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_positive(value):
    with pytest.raises(ValueError, match="damping must be positive and finite"):
        arguments.positive("damping", value)


NO_NUMBERS = {
    "'1e-3' of type str": "1e-3",
    "None of type NoneType": None,
    r"\[0.1\] of type list": [0.1],
    "True of type bool": True,
    r"an array of type bool and shape \(\)": np.bool_(True),
    r"an array of type float32 and shape \(2,\)": jnp.ones(2),
    r"an array of type float64 and shape \(1,\)": np.ones(1),
    "1j of type complex": 1j,
    "a dict": dict.fromkeys(range(50), 0.1),
}
CHECKS = (
    arguments.positive,
    arguments.non_negative,
    arguments.fraction,
    arguments.positive_at_start,
)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("given", NO_NUMBERS)
def test_what_is_no_number_is_named_in_one_line(check, given):
    with pytest.raises(TypeError, match=f"^momentum must be one number, got {given}: pass [^\n]*$"):
        check("momentum", NO_NUMBERS[given])


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("value", [float("nan"), -1, np.float32("nan"), jnp.asarray(-1.0)])
def test_what_is_out_of_range_is_named_with_the_remedy(check, value):
    with pytest.raises(ValueError, match=r"^damping must be [^\n]*: pass a number [^\n]*$"):
        check("damping", value)


@pytest.mark.parametrize("check", CHECKS)
def test_numbers_of_every_kind_pass(check):
    for value in (0.5, np.float16(0.5), np.asarray(0.5), jnp.asarray(0.5, jnp.bfloat16)):
        check("momentum", value)
        jax.jit(lambda x: check("momentum", x) or x)(value)
        jax.jit(jax.vmap(lambda x: check("momentum", x) or x))(jnp.asarray([value, value]))


def test_a_schedule_is_looked_at_where_it_begins():
    scale = lambda value: arguments.positive_at_start("perturbation_scale", value)
    for fine in (optax.linear_schedule(1e-2, 0.0, 10), lambda step: 1e-3 / (1 + step)):
        scale(fine)
        jax.jit(lambda x, fine=fine: scale(fine) or x)(1.0)
    jax.jit(lambda x: scale(lambda step: x * (1 + step)) or x)(-1.0)  # not known when traced
    for bad in (optax.linear_schedule(0.0, 1.0, 10), lambda step: -1.0, lambda step: None):
        with pytest.raises((TypeError, ValueError), match=r"^perturbation_scale\(0\) must be"):
            scale(bad)
    with pytest.raises(ValueError, match=r"^perturbation_scale\(0\) must be"):
        jax.jit(lambda x: scale(lambda step: -1.0 - step) or x)(1.0)


def test_a_learning_rate_that_is_text_is_named_by_the_optimiser(without_checked_annotations):
    with pytest.raises(TypeError, match=r"^learning_rate must be one number, got '1e-3'"):
        loren_jax.descend("1e-3")


def test_the_remedy_names_the_path_that_masks_see():
    state = nnx.state(nnx.Dropout(0.5, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match="lambda path: path != ") as error:
        arguments.trainable_leaves(state)
    path = re.search("path != '(.*?)'", str(error.value)).group(1)
    flags = jax.tree.leaves(resolve_mask(lambda p: p != path, state))
    assert flags.count(False) == 1


def test_complex_leaves_are_refused():
    with pytest.raises(ValueError, match="leaf 'w' has dtype complex64"):
        arguments.trainable_leaves({"w": jnp.ones(2, jnp.complex64)})
