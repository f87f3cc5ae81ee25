"""The transformation: probe and absorb, state, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax import noise
from loren_jax.directions import isotropic, rank_one
from loren_jax.estimators import estimate
from loren_jax.schemes import leave_one_out, two_sided

PARAMS = {"kernel": jnp.ones((6, 4)), "bias": jnp.zeros(4)}


def loss(params):
    return jnp.sum(params["kernel"] ** 2) + jnp.sum((params["bias"] - 1) ** 2)


def build(**changes):
    knobs = {"num_directions": 3, "perturbation_scale": 1e-2} | changes
    return estimate(rank_one(), leave_one_out(), **knobs)


def test_the_estimate_is_the_sum_of_coefficients_times_directions():
    tx = estimate(isotropic(), two_sided(), num_directions=2, perturbation_scale=1e-2)
    state = tx.init(PARAMS)
    got, after = tx.update(None, state, PARAMS, value_fn=loss)
    step = noise.fold(noise.from_words(state.key), 0)
    expected = jax.tree.map(jnp.zeros_like, PARAMS)
    for k in range(2):
        key = noise.fold(step, k)
        u = jax.tree.map(lambda _, d: d.to_dense(), PARAMS, isotropic().draw((), PARAMS, key))
        f = [loss(jax.tree.map(lambda p, z: p + s * 1e-2 * z, PARAMS, u)) for s in (1, -1)]  # noqa: B023
        np.testing.assert_allclose(after.losses[k], f, rtol=1e-5)
        c = (f[0] - f[1]) / (2 * 1e-2 * 2)
        expected = jax.tree.map(lambda e, z: e + c * z, expected, u)  # noqa: B023
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-3), got, expected)


def test_absorbing_the_losses_is_the_second_half_of_probing():
    tx = build()
    state = tx.init(PARAMS)
    probed = jax.jit(lambda s: tx.update(None, s, PARAMS, value_fn=loss))(state)
    absorbed = jax.jit(lambda s, f: tx.update(None, s, PARAMS, losses=f))(state, probed[1].losses)
    for a, b in zip(jax.tree.leaves(probed), jax.tree.leaves(absorbed), strict=True):
        if not jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_array_equal(a, b)


def test_state_tells_the_losses():
    tx = optax.chain(build(), optax.scale(-0.1))
    state = tx.init(PARAMS)
    assert np.isinf(optax.tree.get(state, "loss"))
    _, state = tx.update(None, state, PARAMS, value_fn=loss)
    losses = optax.tree.get(state, "losses")
    assert losses.shape == (3, 1)
    assert losses.dtype == jnp.float32
    np.testing.assert_allclose(optax.tree.get(state, "loss"), losses.mean(), rtol=1e-6)
    assert optax.tree.get(state, "count") == 1


def test_steps_differ_and_runs_repeat():
    tx = build(key=5)
    first, state = tx.update(None, tx.init(PARAMS), PARAMS, value_fn=loss)
    second, _ = tx.update(None, state, PARAMS, value_fn=loss)
    again, _ = tx.update(None, tx.init(PARAMS), PARAMS, value_fn=loss)
    other, _ = build(key=6).update(None, build(key=6).init(PARAMS), PARAMS, value_fn=loss)
    np.testing.assert_array_equal(first["kernel"], again["kernel"])
    assert not np.allclose(first["kernel"], second["kernel"])
    assert not np.allclose(first["kernel"], other["kernel"])


def test_a_schedule_of_the_perturbation_scale():
    seen = []
    tx = estimate(
        isotropic(),
        two_sided(),
        num_directions=1,
        perturbation_scale=lambda step: 1e-2 * (step + 1),
    )
    linear = lambda params: jnp.sum(params["bias"])
    state = tx.init(PARAMS)
    for _ in range(2):
        _, state = tx.update(None, state, PARAMS, value_fn=linear)
        seen.append(state.losses)
    for t in range(2):
        key = noise.fold(noise.fold(noise.from_words(state.key), t), 0)
        z = isotropic().draw((), PARAMS, key)["bias"].to_dense()
        np.testing.assert_allclose(seen[t][0, 0], 1e-2 * (t + 1) * z.sum(), rtol=1e-4)


def test_losses_that_are_not_finite_are_counted():
    tx = build()
    state = tx.init(PARAMS)
    losses = jnp.asarray([[1.0], [jnp.nan], [3.0]])
    estimate_, state = tx.update(None, state, PARAMS, losses=losses)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(estimate_))
    assert state.nonfinite == 1
    assert state.loss == 2.0
    _, state = tx.update(None, state, PARAMS, losses=jnp.full((3, 1), jnp.inf))
    assert state.nonfinite == 4
    assert np.isnan(state.loss)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: build(num_directions=1), ValueError, r"num_directions must be at least 2, got 1"),
        (lambda: build(perturbation_scale=0.0), ValueError, r"perturbation_scale must be positive"),
        (
            lambda: build(perturbation_scale=-1.0),
            ValueError,
            r"perturbation_scale must be positive",
        ),
        (lambda: build(chunk_size=0), ValueError, r"chunk_size must be at least 1"),
        (lambda: build().init(None), ValueError, r"params is None"),
        (lambda: update(params=None, value_fn=loss), ValueError, r"params is None.*Pass them"),
        (lambda: update(), ValueError, r"neither of value_fn and losses: pass value_fn=loss"),
        (lambda: update(value_fn=loss, losses=jnp.ones((3, 1))), ValueError, r"both of value_fn"),
        (lambda: update(losses=jnp.ones(3)), ValueError, r"shape \(3,\), expected \(3, 1\)"),
    ],
)
def test_misuse_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def update(params=PARAMS, **extra):
    tx = build()
    return tx.update(None, tx.init(PARAMS), params, **extra)


@pytest.mark.parametrize("make", [loren_jax.loren, loren_jax.mezo, loren_jax.hizoo])
def test_a_schedule_of_the_scale_may_end_at_zero(make):
    """Along nothing there is no slope; the parameters stay where they are."""
    optimizer = make(
        1e-2, perturbation_scale=optax.cosine_decay_schedule(1e-2, 3), num_directions=4
    )
    step, params = loren_jax.train_step(lambda x: jnp.sum(x**2), optimizer), jnp.ones(3)
    state, seen = optimizer.init(params), []
    for _ in range(6):
        params, state = step(params, state)
        seen.append(np.asarray(params))
    np.testing.assert_array_equal(seen[3], seen[5])
    assert not np.array_equal(seen[0], seen[2])
