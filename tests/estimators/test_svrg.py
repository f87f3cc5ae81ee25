"""The variance-reduced estimate: its parts, its snapshot, its replay, what it does with NaN."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from loren_jax import noise
from loren_jax.directions import isotropic, rank_one
from loren_jax.estimators import estimate, svrg
from loren_jax.parts import trained
from loren_jax.schemes import leave_one_out, two_sided

# In one worker, where the compiled steps are that tests share.
pytestmark = pytest.mark.xdist_group("svrg")

PARAMS = {"kernel": jnp.cos(jnp.arange(24.0)).reshape(6, 4), "bias": jnp.full(4, 1.0)}
ROWS = jnp.sin(jnp.arange(48.0)).reshape(8, 6)


def loss(params, rows=ROWS):
    return jnp.mean((rows @ params["kernel"] + params["bias"][None, :]) ** 2)


def part(params):
    return loss(params, ROWS[:2])


def build(directions=None, scheme=None, **changes):
    knobs = {"every": 3, "num_directions": 2, "perturbation_scale": 1e-2} | changes
    return svrg(directions or isotropic(), scheme or two_sided(), **knobs)


def stepper(tx, value_fn=part, full_value_fn=loss):
    return jax.jit(
        lambda state, params: tx.update(
            None, state, params, value_fn=value_fn, full_value_fn=full_value_fn
        )
    )


def moved(params, updates, rate=0.05):
    return jax.tree.map(lambda x, g: x - rate * g, params, updates)


def plain(tree):
    return optax.tree.unwrap_random_key_data(tree)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, plain(a), plain(b))


KINDS = {
    "isotropic": (isotropic(), two_sided()),
    "rank 1": (isotropic(rank=1), two_sided()),
    "learned": (rank_one(), leave_one_out()),
}


@functools.cache
def probe(kind="isotropic"):
    return stepper(build(*KINDS[kind]))


@functools.cache
def absorb(kind="isotropic"):
    tx = build(*KINDS[kind])
    return jax.jit(lambda state, params, losses: tx.update(None, state, params, losses=losses))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_made_of_ordinary_estimates(kind):
    """On either kind of step, for any directions and scheme, to rounding."""
    directions, scheme = KINDS[kind]
    params, state = PARAMS, build(directions, scheme).init(PARAMS)
    one = estimate(directions, scheme, num_directions=2, perturbation_scale=1e-2)
    start = one.init(params)

    @jax.jit
    def spsa(whole, state, params):
        value_fn = lambda p: jnp.where(whole, loss(p), part(p))
        return one.update(None, state, params, value_fn=value_fn)[0]

    for t in range(5):
        directions = state.directions or start.directions
        own = start._replace(count=state.count, directions=directions)
        if t % 3 == 0:
            anchor, full = params, spsa(True, own, params)
            expected = full
        else:
            here, there = spsa(False, own, params), spsa(False, own, anchor)
            expected = jax.tree.map(lambda a, b, c: a - b + c, here, there, full)
        updates, state = probe(kind)(state, params)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), updates, expected
        )
        params = moved(params, updates)


def test_the_snapshot_is_a_copy():
    """Later steps leave it alone, also where parameters and state are donated together."""
    tx = build()
    first = jax.tree.map(jnp.array, PARAMS)
    params, state = jax.tree.map(jnp.array, PARAMS), tx.init(PARAMS)

    def step(params, state):
        updates, state = tx.update(None, state, params, value_fn=part, full_value_fn=loss)
        return moved(params, updates), state

    donating = jax.jit(step, donate_argnums=(0, 1))
    full = None
    for t in range(3):
        params, state = donating(params, state)
        assert_equal(state.snapshot, first)
        assert t == 0 or not np.array_equal(params["kernel"], first["kernel"])
        full = full or jax.tree.map(np.array, state.full_estimate)
        assert_equal(state.full_estimate, full)
    before = jax.tree.map(np.array, params)
    params, state = donating(params, state)
    assert_equal(state.snapshot, before)
    assert not np.array_equal(state.full_estimate["kernel"], full["kernel"])


def test_in_place_changes_of_the_parameters_do_not_reach_the_initial_snapshot():
    tx, params = build(), {"bias": np.ones(3, np.float32)}
    state = tx.init(params)
    params["bias"] += 1
    np.testing.assert_array_equal(state.snapshot["bias"], 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_losses_alone_replay_the_run(kind):
    params, state = PARAMS, build(*KINDS[kind]).init(PARAMS)
    twin, twin_state = params, state
    for t in range(7):
        updates, state = probe(kind)(state, params)
        again, twin_state = absorb(kind)(twin_state, twin, state.losses)
        assert_equal((again, twin_state), (updates, state))
        points = state.losses.shape[1] // 2
        assert (np.asarray(state.losses)[:, points:] == 0).all() == (t % 3 == 0)
        params, twin = moved(params, updates), moved(twin, again)


def test_the_forward_passes_of_a_step_are_those_of_its_branch():
    calls = []

    def counting(name, fn):
        note = lambda value: calls.append(name) or np.asarray(value)
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return lambda p: jax.pure_callback(note, shape, fn(p), vmap_method="sequential")

    tx = build(chunk_size=1)
    step = stepper(tx, counting("part", part), counting("full", loss))
    state = tx.init(PARAMS)
    for expected in (["full"] * 4, ["part"] * 8, ["part"] * 8, ["full"] * 4):
        calls.clear()
        _, state = jax.block_until_ready(step(state, PARAMS))
        assert calls == expected


def test_it_compiles_once():
    tx, traces = build(), []
    value_fn = lambda p: traces.append(1) or part(p)
    step, state = stepper(tx, value_fn), tx.init(PARAMS)
    state = step(state, PARAMS)[1]
    number = len(traces)
    for _ in range(4):
        state = step(state, PARAMS)[1]
    assert len(traces) == number


def test_state_keeps_its_dtypes():
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    assert PARAMS["bias"].weak_type
    tx = build()
    start = tx.init(params)
    assert not start.snapshot["bias"].weak_type
    updates, state = stepper(tx)(start, params)
    assert updates["kernel"].dtype == jnp.bfloat16
    assert state.snapshot["kernel"].dtype == jnp.bfloat16
    assert state.full_estimate["kernel"].dtype == jnp.float32
    same = lambda a, b: a.shape == b.shape and a.dtype == b.dtype
    assert jax.tree.all(jax.tree.map(same, start, state))


def test_frozen_leaves_are_not_kept():
    """They may be of any dtype, and the current ones are used at the snapshot too."""
    params = PARAMS | {"ids": jnp.arange(3)}
    tx = trained(build(), lambda path: path == "bias")
    state = tx.init(params)
    kept = {"kernel", "bias", "ids"}
    assert {k for k in kept if state.snapshot[k] == optax.MaskedNode()} == {"kernel", "ids"}
    step = stepper(tx)
    for _ in range(2):
        updates, state = step(state, params)
    assert (np.asarray(updates["kernel"]) == 0).all()
    assert optax.apply_updates(params, updates)["ids"].dtype == params["ids"].dtype
    # At the snapshot itself the minibatch says nothing.
    np.testing.assert_allclose(updates["bias"], state.full_estimate["bias"], rtol=1e-4, atol=1e-5)


def test_state_tells_the_losses_at_the_parameters():
    tx = optax.chain(build(), optax.scale(-0.1))
    state = tx.init(PARAMS)
    assert np.isinf(optax.tree.get(state, "loss"))
    losses = jnp.asarray([[1.0, 2.0, 50.0, 60.0], [3.0, jnp.nan, 70.0, jnp.inf]])
    _, state = jax.jit(lambda s: tx.update(None, s, PARAMS, losses=losses))(state)
    assert optax.tree.get(state, "loss") == 2.0
    assert optax.tree.get(state, "nonfinite") == 2
    np.testing.assert_array_equal(optax.tree.get(state, "losses"), losses)


# What a step does with losses that are not finite.


def directions_of(state, params, number):
    keys = noise.fold_all(noise.fold(noise.from_words(state.key), state.count), (number,))
    return [isotropic().draw((), params, key)["bias"].to_dense() for key in keys]


GOOD = [[3.0, 1.0, 2.0, 1.5], [2.0, 5.0, 4.0, 4.5], [1.0, 2.0, 7.0, 4.0]]


def test_a_direction_is_dropped_at_both_points():
    """Unbalanced, the control variate would add the very noise that it is there to take off."""
    params = {"bias": PARAMS["bias"]}
    tx = build(num_directions=3)
    state = tx.init(params)._replace(count=jnp.int32(1))
    run = jax.jit(lambda losses: tx.update(None, state, params, losses=losses))
    u = directions_of(state, params, 3)
    slopes = [(a - b - c + d) / 2e-2 for a, b, c, d in GOOD]
    expected = (slopes[0] * u[0] + slopes[2] * u[2]) / 2
    for column, bad in itertools.product(range(4), (np.nan, np.inf)):
        losses = np.array(GOOD)
        losses[1, column] = bad
        updates, after = run(losses)
        np.testing.assert_allclose(updates["bias"], expected, rtol=1e-4)
        assert after.nonfinite == 1


def test_a_full_step_without_a_finite_loss_keeps_the_old_pair():
    updates, state = probe()(build().init(PARAMS), PARAMS)
    later = moved(PARAMS, updates)
    state = state._replace(count=jnp.int32(3))
    for poison in (jnp.nan, jnp.inf):
        losses = np.array([[poison, poison, 0.0, 0.0]] * 2, np.float32)
        updates, after = absorb()(state, later, losses)
        assert_equal((after.snapshot, after.full_estimate), (PARAMS, state.full_estimate))
        assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(updates))
        assert np.isnan(after.loss)
    losses[0] = [2.0, 1.0, 0.0, 0.0]
    updates, after = absorb()(state, later, losses)
    assert_equal((after.snapshot, after.full_estimate), (later, updates))
    assert np.isfinite(after.full_estimate["kernel"]).all()


def test_a_minibatch_step_without_a_finite_loss_moves_nothing():
    _, state = probe()(build().init(PARAMS), PARAMS)
    updates, after = absorb()(state, PARAMS, jnp.full((2, 4), jnp.nan))
    assert all((np.asarray(x) == 0).all() for x in jax.tree.leaves(updates))
    assert_equal(after.full_estimate, state.full_estimate)


def update(params=PARAMS, **extra):
    tx = build()
    return tx.update(None, tx.init(PARAMS), params, **extra)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: build(every=0), ValueError, r"every must be at least 1, got 0"),
        (lambda: build(num_directions=0), ValueError, r"num_directions must be at least 1"),
        (
            lambda: build(scheme=leave_one_out(), num_directions=1),
            ValueError,
            r"num_directions must be at least 2",
        ),
        (lambda: build(perturbation_scale=0.0), ValueError, r"perturbation_scale must be positive"),
        (lambda: build(chunk_size=0), ValueError, r"chunk_size must be at least 1"),
        (lambda: build().init(None), ValueError, r"params is None"),
        (
            lambda: update(params=None, value_fn=loss, full_value_fn=loss),
            ValueError,
            r"params is None.*Pass them",
        ),
        (lambda: update(value_fn=loss), ValueError, r"no full_value_fn: pass .* every call"),
        (lambda: update(full_value_fn=loss), ValueError, r"no value_fn: pass value_fn"),
        (lambda: update(), ValueError, r"no value_fn and full_value_fn: pass"),
        (
            lambda: update(losses=jnp.ones((2, 4)), full_value_fn=loss),
            ValueError,
            r"losses and full_value_fn: pass losses=array alone",
        ),
        (lambda: update(losses=jnp.ones((2, 2))), ValueError, r"\(2, 2\), expected \(2, 4\)"),
        (lambda: update(losses=1.0), ValueError, r"shape \(\), expected \(2, 4\)"),
    ],
)
def test_misuse_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
