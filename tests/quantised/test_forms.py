"""Codes and scales are those of the `gguf` package, and packing rounds as little as it can."""

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quantised.block_draws import blocks_of

from loren_jax.quantised import Quantised
from loren_jax.quantised.absmax import quantise_rows
from loren_jax.quantised.forms import FORMS, common_form, convert, form_numbered

STORED = ["Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"]


def expected(name, blocks):
    packing = gguf.GGMLQuantizationType[name]
    return gguf.quants.dequantize(blocks.reshape(len(blocks), -1), packing)


def matrix(name, fields, **more):
    arrays = {field: jnp.asarray(values) for field, values in fields.items()}
    return Quantised(**arrays, name=name, kernel=False, **more)


@pytest.mark.parametrize("name", STORED)
def test_rows_are_those_of_the_gguf_package(name):
    blocks, form = blocks_of(name), FORMS[name]
    assert form_numbered(gguf.GGMLQuantizationType[name].value) == form
    assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]] == (form.block, form.size)
    rows = matrix(name, form.fields(blocks)).rows()
    np.testing.assert_array_equal(rows, expected(name, blocks))
    compiled = jax.jit(Quantised.rows)(matrix(name, form.fields(blocks)))
    np.testing.assert_allclose(compiled, expected(name, blocks), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("name", "to"), [("Q4_0", "Q8_0"), ("Q4_K", "K8"), ("Q6_K", "K8")])
def test_layers_of_two_forms_share_one_to_the_bit(name, to):
    blocks = blocks_of(name)
    fields = convert(FORMS[name], FORMS[name].fields(blocks), FORMS[to])
    np.testing.assert_array_equal(matrix(to, fields).rows(), expected(name, blocks))
    assert common_form([name, "Q8_0" if to == "Q8_0" else "Q6_K"]).name in (to, name)


@pytest.mark.parametrize("name", STORED)
def test_scales_are_put_back_and_nothing_else_changes(name):
    blocks, form = blocks_of(name), FORMS[name]
    fields = form.fields(blocks)
    np.testing.assert_array_equal(form.with_scales(blocks, fields["scales"]), blocks)
    doubled = form.fields(form.with_scales(blocks, 2 * fields["scales"]))
    np.testing.assert_array_equal(doubled["scales"], 2 * fields["scales"])
    for other in fields.keys() - {"scales"}:
        np.testing.assert_array_equal(doubled[other], fields[other])


@pytest.mark.parametrize(("kind", "bound"), [("int8", 1 / 127), ("int4", 1 / 8)])
def test_packing_is_wrong_by_a_step_at_most(kind, bound):
    rows = np.random.default_rng(2).normal(size=(5, 96)).astype(np.float32)
    form, fields = quantise_rows(rows, kind)
    error = np.abs(np.asarray(matrix(form.name, fields).rows()) - rows).reshape(5, 3, 32)
    largest = np.abs(rows).reshape(5, 3, 32).max(-1, keepdims=True)
    # The largest of the other sign is cut by int4, by a step; all others are off by half of one.
    assert np.all(error <= largest * bound * (0.51 if kind == "int8" else 1.01))
    assert fields["codes"].nbytes == rows.size // (1 if kind == "int8" else 2)


def test_int4_of_our_own_is_as_near_as_that_of_the_gguf_package():
    rows = np.random.default_rng(3).normal(size=(8, 320)).astype(np.float32)
    packing = gguf.GGMLQuantizationType.Q4_0
    theirs = gguf.quants.dequantize(gguf.quants.quantize(rows, packing), packing)
    form, fields = quantise_rows(rows, "int4")
    ours = np.asarray(matrix(form.name, fields).rows())
    assert np.square(ours - rows).mean() <= 1.02 * np.square(theirs - rows).mean()


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_a_block_of_zeros_is_zero_and_what_is_not_finite_is_refused(kind):
    form, fields = quantise_rows(np.zeros((1, 32), np.float32), kind)
    np.testing.assert_array_equal(matrix(form.name, fields).rows(), 0)
    with pytest.raises(ValueError, match=f"no {kind} block can hold"):
        quantise_rows(np.full((1, 32), np.inf, np.float32), kind)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("weight", [np.nan, np.inf, 3.4e38])
def test_a_number_that_none_can_hold_is_refused(kind, weight):
    with pytest.raises(ValueError, match=f"no {kind} number can hold"):
        quantise_rows(np.full((1, 4), weight, np.float32), kind)
