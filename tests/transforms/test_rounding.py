"""Rounding of narrow parameters: exact landings, no bias, no lost residual, nothing poisoned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax.transforms.precision import in_float32
from loren_jax.transforms.rounding import compensated_sum, stochastic_rounding

NARROW = [jnp.bfloat16, jnp.float16]
MAKERS = [stochastic_rounding, compensated_sum]


def wide(x):
    return np.asarray(jnp.asarray(x, jnp.float32), np.float64)


def numbers(dtype, size=20_000, seed=0):
    """Parameters and updates of very different sizes, cancellations and zeros among them."""
    rng = np.random.default_rng(seed)
    least = -12 if dtype == jnp.float16 else -40
    draw = lambda low, high: rng.normal(size=size) * 2.0 ** rng.integers(low, high, size)
    p = jnp.asarray(draw(least, 8) * (rng.random(size) > 0.05), dtype)
    u = jnp.asarray(draw(least - 10, 8) * (rng.random(size) > 0.05), jnp.float32)
    cancel = rng.random(size) < 0.2
    return p, jnp.where(cancel, -p.astype(jnp.float32) * (1 + 2.0**-10 * u), u)


def neighbours(s, dtype):
    """The numbers of `dtype` at or next to each float64 `s`, below and above."""
    near = jnp.asarray(s, jnp.float32).astype(dtype)
    inf = jnp.asarray(np.inf, dtype)
    down, up = jnp.nextafter(near, -inf), jnp.nextafter(near, inf)
    return (
        np.where(wide(near) <= s, wide(near), wide(down)),
        np.where(wide(near) >= s, wide(near), wide(up)),
    )


@pytest.mark.parametrize("dtype", NARROW)
def test_stochastic_rounding_lands_next_to_the_exact_sum(dtype):
    p, u = numbers(dtype)
    tx = stochastic_rounding(key=1)
    moves, _ = jax.jit(tx.update)(u, tx.init(p), p)
    assert moves.dtype == jnp.float32
    landed = wide(optax.apply_updates(p, moves))
    exact = wide(p.astype(jnp.float32) + u)
    below, above = neighbours(exact, dtype)
    # Numbers this small have a finer grid than float32 arithmetic can use.
    tiny = np.abs(exact) < 2.0**-100
    assert ((landed == below) | (landed == above) | tiny).all()
    assert 0.4 < (landed == above)[below != above].mean() < 0.6


@pytest.mark.parametrize("dtype", NARROW)
def test_stochastic_rounding_is_unbiased(dtype):
    """The mean of 40,000 roundings of eight sums; each within five standard errors."""
    start = jnp.asarray([1.0, -1.0, 0.3, 0.3, 0.0, 2.0, -2.0, 1e-3], dtype)
    move = jnp.asarray([1e-3, 1e-5, -1e-4, 2e-6, 3e-7, -1e-5, 1e-4, 1e-7], jnp.float32)
    p, u = (jnp.tile(x, (40_000, 1)) for x in (start, move))
    tx = stochastic_rounding()
    moves, _ = jax.jit(tx.update)(u, tx.init(p), p)
    landed, exact = wide(optax.apply_updates(p, moves)), wide(p.astype(jnp.float32) + u)
    below, above = neighbours(exact[0], dtype)
    standard_error = np.sqrt((exact[0] - below) * (above - exact[0]) / 40_000)
    assert (np.abs(landed.mean(0) - exact[0]) <= 5 * standard_error).all()


def test_noise_belongs_to_step_and_path():
    half = {"a": jnp.ones(1000, jnp.bfloat16), "b": jnp.ones(1000, jnp.bfloat16)}
    u = jax.tree.map(lambda p: jnp.full(p.shape, 2.0**-8), half)
    tx = stochastic_rounding(key=3)
    first, state = tx.update(u, tx.init(half), half)
    second, _ = tx.update(u, state, half)
    for x, y in [(first["a"], first["b"]), (first["a"], second["a"])]:
        assert abs(np.corrcoef(x, y)[0, 1]) < 5 / np.sqrt(1000)
    alone, _ = tx.update({"a": u["a"]}, tx.init({"a": half["a"]}), {"a": half["a"]})
    np.testing.assert_array_equal(alone["a"], first["a"])


@pytest.mark.parametrize("dtype", NARROW)
def test_compensated_sum_is_training_with_float32_masters(dtype):
    """1,000 small steps: the parameters are those of a float32 run, cast."""
    rng = np.random.default_rng(0)
    p = jnp.asarray(rng.normal(size=500), dtype)
    u = jnp.asarray(rng.normal(size=(1000, 500)) * 1e-4 + 1e-5, jnp.float32)
    tx = compensated_sum()

    @jax.jit
    def run(p, u):
        def step(carry, u):
            p, state, master = carry
            moves, state = tx.update(u, state, p)
            return (optax.apply_updates(p, moves), state, master + u), None

        return jax.lax.scan(step, (p, tx.init(p), p.astype(jnp.float32)), u)[0]

    ours, state, master = run(p, u)
    assert state.residual.dtype == jnp.int16
    away = np.abs(wide(ours) - wide(master)) / np.spacing(np.abs(np.asarray(ours))).astype(float)
    assert away.max() <= 0.501
    assert (wide(ours) == wide(master.astype(dtype))).mean() > 0.995
    assert np.abs(wide(p) + wide(u).sum(0) - wide(ours)).max() < 0.01


@pytest.mark.parametrize("dtype", NARROW)
def test_compensated_sum_lands_on_the_nearest(dtype):
    p, u = numbers(dtype)
    tx = compensated_sum()
    moves, state = jax.jit(tx.update)(u, tx.init(p), p)
    landed = wide(optax.apply_updates(p, moves))
    exact = wide(p.astype(jnp.float32) + u)
    nearest = wide(jnp.asarray(exact, jnp.float32).astype(dtype))
    tiny = np.abs(exact) < 2.0**-100
    assert ((landed == nearest) | tiny).all()
    assert np.abs(np.asarray(state.residual, np.int64)).max() > 2**14


@pytest.mark.parametrize("make", MAKERS)
def test_other_leaves_pass_unchanged(make):
    params = {
        "float": jnp.ones(3),
        "integer": jnp.ones(2, jnp.int32),
        "half": jnp.ones(2, "bfloat16"),
    }
    updates = {"float": jnp.full(3, 1e-9), "integer": jnp.ones(2, jnp.int32), "half": jnp.zeros(2)}
    tx = make()
    state = tx.init(params)
    moves, _ = tx.update(updates, state, params)
    assert moves["float"] is updates["float"]
    assert moves["integer"] is updates["integer"]
    np.testing.assert_array_equal(moves["half"], [0, 0])
    arrays = jax.tree.leaves(optax.tree.unwrap_random_key_data(state))
    assert sum(x.nbytes for x in arrays) == (12 if make is stochastic_rounding else 4)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("dtype", NARROW)
def test_what_is_not_finite_is_a_plain_addition(make, dtype):
    """And a later finite update does not find a residual of it."""
    big = float(jnp.finfo(dtype).max)
    p = jnp.asarray([1.0, 1.0, np.inf, np.nan, big, -big, big], dtype)
    u = jnp.asarray([np.nan, np.inf, 1.0, 1.0, big, -big, 0.0], jnp.float32)
    tx = make()
    moves, state = tx.update(u, tx.init(p), p)
    np.testing.assert_array_equal(
        wide(optax.apply_updates(p, moves)), wide(optax.apply_updates(p, u))
    )
    again, _ = tx.update(jnp.zeros(7), state, p)
    np.testing.assert_array_equal(wide(optax.apply_updates(p, again)), wide(p))


@pytest.mark.parametrize("make", MAKERS)
def test_params_are_needed(make):
    tx = make()
    with pytest.raises(ValueError, match="params is None"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_a_bfloat16_model_moves_as_its_float32_twin_where_plain_addition_stalls():
    """300 steps of MeZO on a least-squares fit; distances in units of the float32 run's path."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(32, 8)), jnp.float32)
    y = x @ jnp.full((8, 1), 1.1)
    loss = lambda p: jnp.mean((x @ p["kernel"].astype(jnp.float32) - y) ** 2)
    start = {"kernel": jnp.ones((8, 1), jnp.bfloat16)}
    knobs = {"num_directions": 4, "perturbation_scale": 0.05, "key": 2}
    directions, scheme = loren_jax.directions.isotropic(), loren_jax.schemes.two_sided()
    estimate = loren_jax.estimate(directions, scheme, **knobs)
    descend = in_float32(optax.scale_by_learning_rate(1e-3))

    def train(params, *last):
        optimizer = optax.chain(estimate, descend, *last)

        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(None, state, params, value_fn=loss)
            return (optax.apply_updates(params, updates), state), None

        run = lambda p: jax.lax.scan(step, (p, optimizer.init(p)), length=300)[0][0]
        return float(loss(jax.jit(run)(params)))

    before = float(loss(start))
    twin = train(jax.tree.map(lambda p: p.astype(jnp.float32), start))
    assert twin < 0.3 * before
    assert train(start) > 0.95 * before
    assert train(start, compensated_sum()) < 0.4 * before
    assert train(start, stochastic_rounding()) < 0.6 * before
