"""How leaves are read as stacks of matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.directions.matrices import MatrixView, view_of, views_of
from loren_jax.types import MatrixAxes


def view(name, shape, matrix_axes=None):
    tree = {name: jax.ShapeDtypeStruct(shape, jnp.float32)}
    return views_of(tree, matrix_axes)[name]


@pytest.mark.parametrize(
    ("name", "shape", "stack", "m", "n"),
    [
        ("kernel", (3, 5), (), 5, 3),
        ("kernel", (7, 3, 5), (7,), 5, 3),
        ("embedding", (100, 8), (), 100, 8),
        ("pos_embedding", (100, 8), (), 100, 8),
        ("bias", (5,), (), 1, 5),
        ("bias", (7, 5), (7,), 1, 5),
        ("scale", (7, 5), (7,), 1, 5),
        ("w", (), (), 1, 1),
    ],
)
def test_defaults_follow_flax_names(name, shape, stack, m, n):
    got = view(name, shape)
    assert (got.stack, got.m, got.n) == (stack, m, n)


def test_axes_can_be_said_leaf_by_leaf():
    axes = lambda path, shape: MatrixAxes(-1, (0, 1)) if path == "kernel" else None
    assert view("kernel", (2, 3, 4), axes) == MatrixView((2, 3, 4), (2,), (0, 1))
    assert view("other", (2, 3), axes) == MatrixView((2, 3), (0,), (1,))


@pytest.mark.parametrize("axes", [MatrixAxes(5, 1), MatrixAxes(0, 0), MatrixAxes((), 1)])
def test_impossible_axes_are_named(axes):
    with pytest.raises(
        ValueError, match=r"matrix_axes gives .* for leaf 'kernel' of shape \(2, 3\)"
    ):
        view("kernel", (2, 3), lambda path, shape: axes)


def test_from_matrices_and_from_layers_place_every_entry():
    shape = (2, 3, 4, 5)
    got = MatrixView(shape, fan_in=(1,), fan_out=(3,))
    leaf = np.arange(np.prod(shape)).reshape(shape)
    matrices = leaf.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(got.from_matrices(jnp.asarray(matrices)), leaf)
    layers = leaf.transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(got.from_layers(jnp.asarray(layers)), leaf)
    assert got.layer == MatrixView((3, 5), (0,), (1,))


def test_a_bare_array_has_the_empty_path():
    assert view_of((), jnp.zeros((2, 3))) == MatrixView((2, 3), (0,), (1,))
