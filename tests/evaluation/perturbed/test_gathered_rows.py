"""Rows out of range are the fill value, unperturbed, whatever draws the others."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax

IDS = jnp.asarray([[0, 3, 999], [-1, -999, 7]])
MODES = (
    *({"mode": "fill", "fill_value": value} for value in (0, 1.0, -2.0)),
    *({"mode": "clip"}, {}),
)
# A leaf of more than 2^14 numbers is drawn where it is used.
TABLES = {"small": (12, 6), "drawn": (256, 128)}
METHODS = {
    "loren rank 1": lambda **k: loren_jax.loren(0.1, rank=1, **k),
    "mezo": lambda **k: loren_jax.mezo(0.1, **k),
    "loren": lambda **k: loren_jax.loren(0.1, **k),
    "lozo": lambda **k: loren_jax.lozo(0.1, rank=2, **k),
    "hizoo": lambda **k: loren_jax.hizoo(0.1, **k),
}


QUICK = ("loren rank 1", "mezo")
SOME = [
    pytest.param(make, id=name, marks=[pytest.mark.slow] * (name not in QUICK))
    for name, make in METHODS.items()
]
"""All of them, of which two are not slow."""


def losses(make, params, loss, **knobs):
    optimizer = make(**knobs)
    run = jax.jit(lambda s: optimizer.update(None, s, params, value_fn=loss)[1])
    return np.asarray(optax.tree.get(run(optimizer.init(params)), "losses"), np.float64)


def assert_as_on_copies(make, params, loss):
    ours = losses(make, params, loss)
    copies = losses(make, params, loss, evaluation=loren_jax.evaluation.materialised)
    tolerance = 2e-3 * np.ptp(copies) + 2e-6 * np.abs(copies).max()
    np.testing.assert_allclose(ours, copies, atol=tolerance)


@pytest.mark.each_value
@pytest.mark.parametrize("make", SOME)
@pytest.mark.parametrize("shape", TABLES.values(), ids=TABLES)
def test_rows_of_a_table(make, shape):
    """In all modes at once: one program, as it is the compiler that takes the time."""
    params = {"embedding": jax.random.normal(jax.random.key(0), shape)}
    rows = lambda p: [p["embedding"].at[IDS].get(**mode) for mode in MODES]
    loss = lambda p: sum(jnp.sum(jnp.sin(found + i)) for i, found in enumerate(rows(p)))
    assert_as_on_copies(make, params, loss)


@pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
def test_columns_and_pairs_with_a_fill_value(make):
    params = {"w": jax.random.normal(jax.random.key(0), (12, 6))}
    columns = lambda p: p["w"].at[:, IDS].get(mode="fill", fill_value=1.0)
    pairs = lambda p: p["w"].at[IDS, IDS[::-1]].get(mode="fill", fill_value=3.0)
    assert_as_on_copies(make, params, lambda p: jnp.sum(jnp.sin(columns(p))))
    assert_as_on_copies(make, params, lambda p: jnp.sum(jnp.sin(pairs(p))))


@pytest.mark.parametrize("make", [METHODS["loren rank 1"], METHODS["mezo"]], ids=["rank 1", "full"])
def test_layers_by_number_with_a_fill_value(make):
    params = {"w": jax.random.normal(jax.random.key(0), (3, 6, 5))}
    layers = lambda p: p["w"].at[jnp.asarray([2, 7, 0])].get(mode="fill", fill_value=0.5)
    assert_as_on_copies(make, params, lambda p: jnp.sum(jnp.sin(jnp.ones((3, 1, 6)) @ layers(p))))


@pytest.mark.parametrize("shape", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("make", [METHODS["loren rank 1"], METHODS["mezo"]], ids=["rank 1", "full"])
def test_padding_alone_is_not_perturbed(make, shape):
    """Nothing but a row out of range is read: all losses of the step are the same number."""
    params = {"embedding": jnp.zeros(shape), "other": jnp.zeros(2)}
    padding = lambda p: p["embedding"].at[jnp.asarray([999])].get(mode="fill", fill_value=0)
    found = losses(make, params, lambda p: jnp.sum(padding(p)) + 0 * jnp.sum(p["other"]))
    np.testing.assert_array_equal(found, np.zeros_like(found))


def test_indices_that_are_numpy_constants_of_the_loss():
    ids = np.array([[0, 3], [1, 2]])
    numbers = jax.lax.GatherDimensionNumbers((2,), (0,), (0,))
    rows = lambda p: jax.lax.gather(p["w"], ids[..., None], numbers, (1, 6))
    params = {"w": jax.random.normal(jax.random.key(0), (12, 6))}
    assert_as_on_copies(METHODS["loren rank 1"], params, lambda p: jnp.sum(jnp.sin(rows(p))))


def each(take):
    """Of every row of ids and every id in it, as a loss of one example under `vmap` asks."""
    return jax.vmap(jax.vmap(take))(IDS)


WINDOWS = {
    "one row": lambda w: each(lambda i: w[i]),
    "one row kept": lambda w: each(lambda i: jax.lax.dynamic_slice_in_dim(w, i, 1)),
    "neighbours": lambda w: each(lambda i: jax.lax.dynamic_slice_in_dim(w, i, 3)),
    "one column": lambda w: each(lambda i: jax.lax.dynamic_index_in_dim(w, i, 1, keepdims=False)),
    "columns": lambda w: each(lambda i: jax.lax.dynamic_slice_in_dim(w, i, 2, 1)),
    "a block": lambda w: each(lambda i: jax.lax.dynamic_slice(w, (i, i + 1), (2, 3))),
    "an entry": lambda w: each(lambda i: w[i, i % 5]),
}


@pytest.mark.parametrize("make", SOME)
def test_slices_whose_places_are_mapped(make):
    params = {"w": jax.random.normal(jax.random.key(0), (12, 6))}
    found = lambda p: [window(p["w"]) for window in WINDOWS.values()]
    loss = lambda p: sum(jnp.sum(jnp.sin(rows + i)) for i, rows in enumerate(found(p)))
    assert_as_on_copies(make, params, loss)


@pytest.mark.parametrize("name", ["one row", "one row kept", "neighbours"])
def test_a_mapped_embedding_is_not_built(name):
    params = {"w": jnp.ones((5000, 6))}
    window = WINDOWS[name]
    assert (
        loren_jax.diagnostics.dense_leaves(lambda p: jnp.sum(jnp.sin(window(p["w"]))), params) == []
    )


@pytest.mark.parametrize("number", [-7, -1, 0, 5, 9])
def test_a_row_before_the_first_is_the_first_as_the_primitive_has_it(number):
    """`w[i]` adds the size to a negative place once, and what is still negative is clamped."""
    params = {"w": jax.random.normal(jax.random.key(0), (4, 6))}
    loss = lambda p: jnp.sum(jnp.sin(jnp.transpose(p["w"])[jnp.int32(number)]))
    assert_as_on_copies(METHODS["loren rank 1"], params, loss)
