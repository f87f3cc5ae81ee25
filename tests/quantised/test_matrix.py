"""A quantised matrix is multiplied, looked up and adapted as the floats that it stands for."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.noise import leaf_paths
from loren_jax.quantised import Quantised, as_dense, as_shapes, matrix, quantise
from loren_jax.quantised.absmax import quantise_rows


def drawn(kind="int4", rows=24, width=64, *, kernel=True, dtype="float32"):
    values = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    form, fields = quantise_rows(values, kind)
    arrays = {name: jnp.asarray(field) for name, field in fields.items()}
    return Quantised(**arrays, name=form.name, dtype=dtype, kernel=kernel)


X = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 64)), jnp.float32)
KINDS = ["int8", "int4", "bfloat16", "float16"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at_once", [1 << 22, 640])
def test_a_product_is_that_of_the_floats_whole_or_in_parts(kind, at_once, monkeypatch):
    monkeypatch.setattr(matrix, "AT_ONCE", at_once)
    own = drawn(kind)
    np.testing.assert_allclose(own.product(X), X @ own.to_dense(), rtol=1e-5, atol=1e-5)


def test_a_product_in_bfloat16_is_wide_where_that_is_asked_for():
    own = drawn(dtype="bfloat16")
    assert own.product(jnp.asarray(X, jnp.bfloat16)).dtype == jnp.bfloat16
    assert own.product(jnp.asarray(X, jnp.bfloat16), wide=True).dtype == jnp.float32


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_looked_up_and_one_that_is_not_there_is_no_number(kind):
    table = drawn(kind, kernel=False)
    index = jnp.array([[3, 0], [23, 3]])
    np.testing.assert_array_equal(table.look_up(index), table.to_dense()[index])
    assert np.all(np.isnan(table.look_up(jnp.array([24]))))


def test_what_is_added_is_in_the_product_in_the_rows_and_in_the_floats():
    factors = np.random.default_rng(2).normal(size=(2, 64, 24)).astype(np.float32)
    down, up = jnp.asarray(factors[0, :, :3]), jnp.asarray(factors[1, :3])
    table = dataclasses.replace(drawn(kernel=False), down=down, up=up)
    close = lambda made, expected: np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)
    close(table.to_dense(), drawn(kernel=False).to_dense() + (down @ up).T)
    index = jnp.array([[3, 0], [23, 3]])
    close(table.look_up(index), table.to_dense()[index])
    close(table.product(X), X @ table.to_dense().T)
    close(table.take(index[0]).product(X), (X @ table.to_dense().T)[..., index[0]])


def test_leaves_have_names_below_the_matrix_and_shapes_count_it_as_one():
    params = {"dense": {"kernel": drawn()}}
    assert leaf_paths(params) == ["dense/kernel/codes", "dense/kernel/scales"]
    assert leaf_paths(as_shapes(params)) == ["dense/kernel"]
    assert as_shapes(params)["dense"]["kernel"].shape == (64, 24) == params["dense"]["kernel"].shape
    np.testing.assert_array_equal(
        as_dense(params)["dense"]["kernel"], params["dense"]["kernel"].to_dense()
    )


def test_a_stack_is_cut_into_its_layers_by_a_scan():
    one = drawn()
    stack = jax.tree.map(lambda field: jnp.stack([field, field]), one)
    assert stack.shape == (2, 64, 24)
    by_layer = jax.lax.scan(lambda _, layer: (None, layer.product(X)), None, stack)[1]
    np.testing.assert_allclose(by_layer[1], one.product(X), rtol=1e-6)


@pytest.mark.parametrize("kernel", [True, False])
def test_stacks_of_floats_are_packed_matrix_by_matrix(kernel):
    weight = np.random.default_rng(4).normal(size=(3, 64, 32)).astype(np.float32)
    made = quantise(weight, "int8", kernel=kernel, dtype="bfloat16")
    assert (made.shape, made.dtype) == (weight.shape, "bfloat16")
    np.testing.assert_allclose(made.to_dense().astype(np.float32), weight, atol=0.05)
    one = quantise(weight[1], "int8", kernel=kernel)
    np.testing.assert_array_equal(made.codes[1], one.codes)


@pytest.mark.parametrize(
    ("kind", "width", "words"),
    [("int3", 32, "kind must be one of int8"), ("int4", 48, "fan-in 48 is no multiple of 32")],
)
def test_what_cannot_be_packed_is_refused(kind, width, words):
    with pytest.raises(ValueError, match=words):
        quantise(np.zeros((width, 4)), kind)
