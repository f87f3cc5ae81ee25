"""Float64 from end to end where JAX has it on: sum, losses, difference, update, journal."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from methods import EACH, METHODS

import loren_jax
from loren_jax import journal

FAR = 2e7
"""A loss so large that float32 has steps of 2 there."""


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def build(name, **changes):
    method = METHODS[name]
    knobs = {"perturbation_scale": 1e-3} | method.knobs | changes
    return method.make(knobs.pop("learning_rate", method.learning_rate), **knobs)


def params():
    rng = np.random.default_rng(0)
    return {"w": jnp.asarray(rng.normal(size=(5, 4))), "b": jnp.asarray(rng.normal(size=4))}


def far_loss(p):
    return FAR + jnp.sum(p["w"] * jnp.arange(4.0)[None]) + jnp.sum(p["b"] ** 2)


def both(optimizer, params, loss):
    @jax.jit
    def first_step():
        state = optimizer.init(params)
        sources = {"value_fn": loss, "full_value_fn": loss}
        return state, *optimizer.update(None, state, params, **sources)

    return first_step()


@EACH
def test_a_large_loss_keeps_its_differences(name):
    """The same update as of the loss without its constant, and a state of the same types."""
    near = lambda p: far_loss(p) - FAR
    start, updates, after = both(build(name), params(), far_loss)
    _, expected, _ = both(build(name), params(), near)
    assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, start)
    assert optax.tree.get(after, "losses").dtype == jnp.float64
    for key, update in updates.items():
        assert update.dtype == jnp.float64
        assert np.abs(update).max() > 0
        np.testing.assert_allclose(
            update, expected[key], rtol=1e-4, atol=1e-6 * np.abs(update).max()
        )


@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("evaluation", [None, loren_jax.evaluation.materialised])
@pytest.mark.parametrize("make", [loren_jax.mezo, loren_jax.loren])
def test_parameters_are_not_rounded_before_the_loss_sees_them(make, rank, evaluation):
    start = {"w": jnp.asarray([[1e8 + 0.125, 1.0], [0.0, 2.0]])}
    loss = lambda p: p["w"][0, 0] - 1e8 + p["w"][0, 1]
    _, _, after = both(make(0.1, rank=rank, evaluation=evaluation), start, loss)
    losses = np.asarray(optax.tree.get(after, "losses"))
    np.testing.assert_allclose(losses, 1.125, atol=0.02)
    assert np.ptp(losses) > 0


def test_the_update_is_the_slope_times_the_direction():
    """Of a linear loss, to ten digits: the noise is exact in float32, all else in float64."""
    start, g = params(), jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)))
    loss = lambda p: 1e3 + jnp.sum(p["w"] * g)
    optimizer = loren_jax.estimate(
        loren_jax.directions.isotropic(),
        loren_jax.schemes.two_sided(),
        num_directions=1,
        perturbation_scale=2.0**-10,
    )
    state, estimate, _ = both(optimizer, start, loss)
    y = (np.asarray(optimizer.ask(start, state, 0, 0)["w"]) - np.asarray(start["w"])) * 2**10
    expected = np.sum(y * np.asarray(g)) * y
    np.testing.assert_allclose(estimate["w"], expected, rtol=1e-8)


@pytest.mark.parametrize("momentum", [None, 0.9])
def test_a_step_in_place_keeps_the_digits_of_the_parameters(momentum):
    """A float32 sum at 1e8 would lose an update of less than 4."""
    start = {"w": jnp.full((3, 4), 1e8)}
    loss = lambda p: jnp.sum((p["w"] - 1e8) * 0.5)
    optimizer = loren_jax.loren(1e-3, momentum=momentum)
    step = loren_jax.train_step(loss, optimizer)
    moved, _ = step(jax.tree.map(jnp.copy, start), optimizer.init(start))
    assert moved["w"].dtype == jnp.float64
    assert 0 < np.abs(np.asarray(moved["w"]) - 1e8).max() < 1


def test_float32_parameters_stay_float32():
    start = jax.tree.map(lambda x: x.astype(jnp.float32), params())
    before, updates, after = both(loren_jax.loren(0.1), start, far_loss)
    assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype(jnp.float32)}
    assert jax.tree.map(lambda x: x.dtype, before) == jax.tree.map(lambda x: x.dtype, after)


def test_micro_batches_and_losses_of_python_keep_their_digits():
    rows = jnp.asarray([[FAR + 0.25], [FAR + 0.5], [FAR + 0.75]])
    micro = loren_jax.losses.micro_batched(lambda p, x: jnp.mean(x) + p, rows, 2)
    np.testing.assert_allclose(micro(jnp.asarray(0.0)), FAR + 0.5, rtol=1e-15)
    outside = loren_jax.losses.outside(lambda p: float(p) + FAR + 0.125)
    np.testing.assert_allclose(jax.jit(outside)(jnp.asarray(0.5)), FAR + 0.625, rtol=1e-15)


def test_a_journal_replays_to_the_bit(tmp_path):
    start, method = params(), journal.Method("loren", {"learning_rate": 1e-3, "rank": 1})
    optimizer = method.build()
    step = loren_jax.train_step(far_loss, optimizer)
    now, state = jax.tree.map(jnp.copy, start), optimizer.init(start)
    file = tmp_path / "run.journal"
    with journal.create(file, journal.header(start, (6, 1), method=method)) as log:
        for t in range(5):
            losses = step.probe(now, state)
            log.append(t, losses)
            now, state = step.absorb(now, state, losses)
    assert np.ptp(journal.read(file).losses[0]) > 0
    again = journal.replay(start, file).params
    for key in start:
        np.testing.assert_array_equal(again[key], now[key])
    with jax.enable_x64(False), pytest.raises(journal.JournalError, match="losses are float64"):
        journal.replay(start, file)


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, c: jnp.sum(jnp.sin(p["a"] * c)),
        lambda p, c: jnp.sum(jnp.sort(p["a"].astype(jnp.float64) * c)),
        lambda p, c: jnp.sum((p["a"] * c) ** 2),
        lambda p, c: jnp.sum(jnp.ones(300) @ (p["a"] * c)),
    ],
)
def test_full_noise_of_columns_that_are_scaled_in_float64(loss):
    params = {"a": jnp.linspace(-1, 1, 300 * 200, dtype=jnp.float32).reshape(300, 200)}
    columns = jnp.linspace(0.5, 2, 200, dtype=jnp.float64)[None]
    found = []
    for evaluation in (None, loren_jax.evaluation.materialised):
        optimizer = loren_jax.mezo(0.1, rank=None, evaluation=evaluation)
        value_fn = lambda params: loss(params, columns)
        _, state = optimizer.update(None, optimizer.init(params), params, value_fn=value_fn)
        found.append(np.asarray(optax.tree.get(state, "losses")))
    # The copies' sum is rounded to the parameters' float32.
    np.testing.assert_allclose(*found, atol=1e-3 * np.ptp(found[0]))
    assert found[0].dtype == np.float64


@pytest.mark.parametrize(
    ("make", "static"),
    [
        (loren_jax.loren, ("num_directions", "rank", "matrix_axes", "chunk_size", "key")),
        (
            loren_jax.hizoo,
            ("num_directions", "bounds", "use_same_diagonal", "matrix_axes", "chunk_size", "key"),
        ),
    ],
)
def test_injected_numbers_leave_what_is_learned_in_its_type(make, static):
    """As a scan needs; numbers that are injected take the widest type of the parameters."""
    optimizer = optax.inject_hyperparams(make, static_args=(*static, "evaluation"))(1e-2)
    params = jnp.ones((4, 3), jnp.float64)

    def step(carried, _):
        params, state = carried
        value_fn = lambda params: jnp.sum(params**2)
        updates, state = optimizer.update(None, state, params, value_fn=value_fn)
        return (optax.apply_updates(params, updates), state), None

    carried = params, optimizer.init(params)
    after, _ = jax.lax.scan(step, carried, length=2)
    chex.assert_trees_all_equal_dtypes(after, carried)
