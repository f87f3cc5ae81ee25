"""Weights that a loss forces dense are named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import loren_jax
from loren_jax import directions
from loren_jax.diagnostics import DenseLeaf, dense_leaves

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(5, 16)), jnp.float32)
KERNEL = jnp.asarray(RNG.normal(size=(16, 16)), jnp.float32)
IDS = jnp.asarray([0, 3, 7])


def test_reports_path_primitive_and_size_of_what_is_forced():
    params = {"block": {"kernel": KERNEL, "gate": jnp.ones((16, 12), jnp.bfloat16)}}
    loss = lambda p: jnp.sum(
        X @ p["block"]["kernel"] @ jnp.tanh(p["block"]["gate"].astype(jnp.float32))
    )
    assert dense_leaves(loss, params) == [DenseLeaf("block/gate", "tanh", 16 * 12 * 4)]


@pytest.mark.parametrize(
    "loss",
    [
        lambda p: jnp.sum(X @ p["embedding"]),
        lambda p: jnp.sum((p["embedding"].T @ X.T) * 0.5),
        lambda p: jnp.sum(p["embedding"][IDS] @ p["embedding"].T),  # a tied embedding
    ],
)
def test_reports_nothing_for_products_and_rows(loss):
    assert dense_leaves(loss, {"embedding": KERNEL}) == []


def test_a_stack_in_a_scan_costs_one_layer():
    def loss(params):
        return jnp.sum(jax.lax.scan(lambda h, w: (h @ jnp.sin(w), None), X, params["w"])[0])

    stack = jnp.stack([KERNEL, KERNEL, KERNEL])
    assert dense_leaves(loss, {"w": stack}) == [DenseLeaf("w", "sin", KERNEL.nbytes)]


def test_reports_each_operation_once():
    loss = lambda p: jnp.sum(jnp.sin(p["w"]) + jnp.sin(p["w"]) + jnp.cos(p["w"]))
    found = dense_leaves(loss, {"w": KERNEL})
    assert [leaf.primitive for leaf in found] == ["sin", "cos"]


def test_shapes_are_enough_and_directions_decide():
    params = {"w": jax.ShapeDtypeStruct((4096, 4096), jnp.float32), "b": KERNEL}
    loss = lambda p: jnp.sum(jnp.sin(p["w"])) + jnp.sum(jnp.cos(p["b"]))
    assert [leaf.path for leaf in dense_leaves(loss, params)] == ["w", "b"]
    assert dense_leaves(lambda p: jnp.sum(jnp.ones(4096) @ p["w"]), params) == []
    assert dense_leaves(loss, params, directions.isotropic())[0].path == "w"


def test_a_flax_model_keeps_its_structure():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.up = nnx.Linear(16, 64, rngs=rngs)
            self.norm = nnx.LayerNorm(64, rngs=rngs)
            self.down = nnx.Linear(64, 16, rngs=rngs)

        def __call__(self, x):
            return self.down(nnx.gelu(self.norm(self.up(x))))

    graph, state = nnx.split(Model(nnx.Rngs(0)))
    assert dense_leaves(lambda state: jnp.mean(nnx.merge(graph, state)(X) ** 2), state) == []


def test_a_convolution_keeps_its_kernel():
    conv = nnx.Conv(8, 32, (3, 3), rngs=nnx.Rngs(0))
    graph, state = nnx.split(conv)
    image = jnp.ones((2, 6, 6, 8))
    assert dense_leaves(lambda state: jnp.mean(nnx.merge(graph, state)(image) ** 2), state) == []


def halved(w):
    """By a loop that carries it."""
    step = lambda carry: (carry[0] + 1, carry[1] * 0.5)
    return jax.lax.while_loop(lambda carry: carry[0] < 3, step, (0, w))[1]


@pytest.mark.parametrize(
    ("loss", "shape", "said"),
    [
        (lambda p: jnp.sum(jnp.einsum("bi,ihd->bhd", X, p["w"])), (16, 2, 8), "matrix_axes"),
        (lambda p: jnp.sum(jnp.sin(p["w"])), (16, 16), "once outside the loss"),
        (lambda p: jnp.sum(halved(p["w"])), (16, 16), "the loop changes"),
        (lambda p: p["w"], (16, 16), "returns the weight"),
        (lambda p: jnp.sum(jnp.sort(p["w"])), (16, 16), "once outside the loss"),
    ],
)  # fmt: skip
def test_each_comes_with_what_can_be_done(loss, shape, said):
    found = dense_leaves(loss, {"w": jnp.ones(shape)})
    assert found
    assert all(said in leaf.advice.lower() for leaf in found)


def test_the_advice_on_axes_is_worth_following():
    params = {"w": jnp.ones((16, 2, 8))}
    loss = lambda p: jnp.sum(jnp.einsum("bi,ihd->bhd", X, p["w"]))
    used = loren_jax.matrix_axes(loss, params)
    assert dense_leaves(loss, params)
    assert dense_leaves(loss, params, directions.isotropic(1, used)) == []
