"""A weight times an activation of any type: the losses are those of perturbed copies."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax

INTEGERS = np.arange(-12, 12).reshape(3, 8)
TYPES = ["int8", "int16", "int32", "uint8", "bool", "float16", "bfloat16", "float32"]
METHODS = {
    "loren rank 1": lambda evaluation: loren_jax.loren(0.1, rank=1, evaluation=evaluation),
    "mezo rank 2": lambda evaluation: loren_jax.mezo(0.1, rank=2, evaluation=evaluation),
    "lozo": lambda evaluation: loren_jax.lozo(0.1, rank=2, evaluation=evaluation),
    "mezo full": lambda evaluation: loren_jax.mezo(0.1, evaluation=evaluation),
}
PRODUCTS = {
    "x @ w": lambda x, w: x @ w,
    "w.T @ x.T": lambda x, w: w.T @ x.T,
    "w[0] @ x.T": lambda x, w: w @ jnp.resize(x, (w.shape[1], 2)),
    "vmap": lambda x, w: jax.vmap(lambda row: row @ w)(x),
    "einsum": lambda x, w: jnp.einsum("bi,ij->bj", x, w),
    "dot_general": lambda x, w: jax.lax.dot_general(
        x, w, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32
    ),
}


def losses(make, evaluation, params, loss):
    optimizer = make(evaluation)
    run = jax.jit(lambda s: optimizer.update(None, s, params, value_fn=loss)[1])
    return np.asarray(optax.tree.get(run(optimizer.init(params)), "losses"), np.float64)


def assert_as_on_copies(make, params, loss, rtol=2e-3):
    ours = losses(make, None, params, loss)
    copies = losses(make, loren_jax.evaluation.materialised, params, loss)
    spread = np.ptp(copies)
    assert spread > 0
    np.testing.assert_allclose(ours, copies, atol=rtol * spread + 2e-6 * np.abs(copies).max())


@pytest.mark.parametrize(
    ("make", "product"),
    # Each product with each second method: what a method has of its own, three products show.
    [
        pytest.param(make, product, id=f"{name}-{way}")
        for i, (name, make) in enumerate(METHODS.items())
        for j, (way, product) in enumerate(PRODUCTS.items())
        if (i + j) % 2 == 0
    ],
)
def test_every_product_with_every_kind_of_direction(make, product):
    x = jnp.asarray(INTEGERS, jnp.int8)
    params = {"w": jax.random.normal(jax.random.key(0), (8, 6))}
    assert_as_on_copies(make, params, lambda p: jnp.sum(jnp.sin(product(x, p["w"]))))


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type(dtype):
    x = jnp.asarray(np.abs(INTEGERS) if dtype == "uint8" else INTEGERS, dtype)
    params = {"w": jax.random.normal(jax.random.key(0), (8, 6))}
    make = METHODS["loren rank 1"]
    assert_as_on_copies(make, params, lambda p: jnp.sum(jnp.sin(x @ p["w"])))
    assert_as_on_copies(make, params, lambda p: jnp.sum(jnp.sin(p["w"].T @ x.T)))


@pytest.mark.parametrize("dtype", [jnp.float8_e4m3fn, jnp.float8_e5m2])
@pytest.mark.parametrize("scale", [1e-4, 1e-2])
def test_narrow_activations_do_not_round_the_factor_away(dtype, scale):
    """The slope along a direction, beside the exact one: 8 bits would keep nothing of 1e-4."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(8, 16)), dtype)
    w = jnp.asarray(np.random.default_rng(1).normal(size=(6, 16)), jnp.float32)
    multiply = lambda p: jax.lax.dot_general(
        x, p["w"], (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32
    )
    loss = lambda p: jnp.mean(multiply(p) ** 2)
    exact = jax.grad(lambda p: jnp.mean((x.astype(jnp.float32) @ p["w"].T) ** 2))({"w": w})["w"]
    optimizer = loren_jax.mezo(0.1, rank=1, perturbation_scale=scale)
    state = optimizer.init({"w": w})
    _, after = optimizer.update(None, state, {"w": w}, value_fn=loss)
    plus, minus = (optimizer.ask({"w": w}, state, 0, point)["w"] for point in (0, 1))
    direction = (np.asarray(plus, np.float64) - np.asarray(minus, np.float64)) / (2 * scale)
    measured = np.asarray(after[0].losses, np.float64)
    found = np.ptp(measured) / (2 * scale)
    expected = abs(np.sum(direction * np.asarray(exact, np.float64)))
    # A machine adds the loss up in its own order: a few last digits of it, seen through the scale.
    rounding = 8 * np.finfo(np.float32).eps * measured.max() / (2 * scale)
    assert expected > 2 * rounding
    np.testing.assert_allclose(found, expected, rtol=0.01, atol=rounding)


def test_counts_are_learned_from():
    """A classifier on bags of words, by `X @ w.T`: as many steps as with floats do the same."""
    rng = np.random.default_rng(0)
    x = rng.poisson(1.0, size=(64, 12))
    y = jnp.asarray((x[:, :6].sum(1) > x[:, 6:].sum(1)).astype(np.int32))
    start = {"w": jnp.zeros((2, 12))}

    def trained(x):
        logits = lambda p: x @ p["w"].T
        loss = lambda p: jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits(p), y))
        optimizer = loren_jax.loren(0.05, rank=1, momentum=None)
        step = loren_jax.train_step(loss, optimizer)
        params, state = jax.tree.map(jnp.copy, start), optimizer.init(start)
        for _ in range(100):
            params, state = step(params, state)
        return float(loss(params))

    ints, floats = trained(jnp.asarray(x, jnp.int32)), trained(jnp.asarray(x, jnp.float32))
    assert ints < 0.5
    np.testing.assert_allclose(ints, floats, rtol=1e-3)


def test_an_activation_of_two_types_of_complex_numbers():
    x = jnp.asarray(INTEGERS + 1j * INTEGERS[::-1], jnp.complex64)
    params = {"w": jax.random.normal(jax.random.key(0), (8, 6))}
    multiply = lambda p: jax.lax.dot_general(x, p["w"], (((1,), (0,)), ((), ())))
    loss = lambda p: jnp.sum(jnp.sin(jnp.abs(multiply(p))))
    assert_as_on_copies(METHODS["loren rank 1"], params, loss)
