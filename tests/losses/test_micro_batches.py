"""A loss by micro-batches: the full batch's numbers, a micro-batch's memory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax.losses.micro_batches import micro_batched

RNG = np.random.default_rng(0)
BATCH = {
    "x": jnp.asarray(RNG.normal(size=(10, 4)), jnp.float32),
    "y": jnp.asarray(RNG.integers(0, 3, 10)),
}
PARAMS = {"kernel": jnp.asarray(RNG.normal(size=(4, 3)), jnp.float32), "bias": jnp.zeros(3)}


def loss(params, batch):
    logits = batch["x"] @ params["kernel"] + params["bias"][None]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 10, 64])
def test_equals_the_full_batch(size):
    """Also where the rows do not divide: every row counts alike."""
    ours = jax.jit(micro_batched(loss, BATCH, size))(PARAMS)
    np.testing.assert_allclose(ours, loss(PARAMS, BATCH), rtol=1e-6)
    assert ours.dtype == jnp.float32


@pytest.mark.each_value
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("make", [loren_jax.loren, loren_jax.mezo])
def test_updates_equal_those_of_the_full_batch(make, size):
    """One direction for all micro-batches of a query: losses and update are the full batch's."""
    tx = make(0.1, rank=1)

    def step(value_fn):
        updates, state = tx.update(None, tx.init(PARAMS), PARAMS, value_fn=value_fn)
        return updates, optax.tree.get(state, "losses")

    full, ours = jax.jit(
        lambda: (step(lambda p: loss(p, BATCH)), step(micro_batched(loss, BATCH, size)))
    )()
    np.testing.assert_allclose(ours[1], full[1], rtol=1e-6)
    for name in PARAMS:
        np.testing.assert_allclose(ours[0][name], full[0][name], rtol=1e-2, atol=1e-5)


def test_temporary_memory_is_that_of_a_micro_batch():
    """Activations of 64 rows take 16 times those of 4; compiled steps of LOREN, rank 1."""
    width = 64
    params = {f"layer_{i}": jnp.zeros((width, width)) for i in range(2)}
    batch = jnp.ones((64, 128, width))

    def deep(p, x):
        for name in sorted(p):
            x = jnp.tanh(x @ p[name])
        return jnp.mean(x)

    tx = loren_jax.loren(0.1, rank=1, chunk_size=1)

    def temporary(value_fn_of):
        step = lambda s, p, x: tx.update(None, s, p, value_fn=value_fn_of(x))
        compiled = jax.jit(step).lower(tx.init(params), params, batch).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    full = temporary(lambda x: lambda p: deep(p, x))
    small = temporary(lambda x: micro_batched(deep, x, 4))
    assert full > batch.nbytes
    assert small < full / 10


@pytest.mark.parametrize("size", [3, 5, 10])
def test_scalars_beside_the_loss_are_averaged_too(size):
    def right(params, batch):
        logits = batch["x"] @ params["kernel"] + params["bias"][None]
        return jnp.mean(jnp.argmax(logits, 1) == batch["y"])

    both = lambda params, batch: (loss(params, batch), {"accuracy": right(params, batch)})
    value, aux = micro_batched(both, BATCH, size)(PARAMS)
    np.testing.assert_allclose(value, loss(PARAMS, BATCH), rtol=1e-6)
    np.testing.assert_allclose(aux["accuracy"], right(PARAMS, BATCH), rtol=1e-6)


def test_works_under_jit_with_the_batch_as_an_argument():
    value = jax.jit(lambda params, batch: micro_batched(loss, batch, 4)(params))
    np.testing.assert_allclose(value(PARAMS, BATCH), loss(PARAMS, BATCH), rtol=1e-6)


@pytest.mark.parametrize(
    ("batch", "size", "error", "message"),
    [
        (BATCH, 0, ValueError, "size must be at least 1"),
        (
            {"x": jnp.ones((3, 2)), "y": jnp.ones(4)},
            2,
            ValueError,
            "batch must hold arrays with one",
        ),
        ({"x": jnp.ones((3, 2)), "weight": 1.0}, 2, ValueError, "batch must .*weight"),
        ({"x": jnp.ones((0, 2))}, 2, ValueError, "batch must hold"),
        ({}, 2, ValueError, "batch must hold .* no leaf"),
    ],
)
def test_bad_arguments_are_named(batch, size, error, message):
    with pytest.raises(error, match=message):
        micro_batched(loss, batch, size)


def test_a_loss_that_is_no_scalar_is_named():
    with pytest.raises(TypeError, match=r"loss must return a scalar, got shape \(4, 4\)"):
        micro_batched(lambda params, batch: batch["x"], BATCH, 4)(PARAMS)
