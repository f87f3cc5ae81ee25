"""Learning rates that nobody chooses, against float64 and on losses of any scale."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax import journal, noise
from loren_jax.directions import isotropic
from loren_jax.lengths import TRUST
from loren_jax.optimizers import METHODS
from loren_jax.pacing import BEGINNING, FORGETTING, require_plan
from loren_jax.walk import LONGEST, SHARE

X, STEPS, WALK = jnp.asarray([0.5, -0.3, 0.8]), 12, 0.7


def loss(x):
    return jnp.sum(jnp.sin(2 * x)) + x[0] * x[1] + 3.0


def loss64(x):
    return np.sum(np.sin(2 * x)) + x[0] * x[1] + 3.0


def made(name, steps=STEPS, walk=WALK, **knobs):
    knobs = {"factors": {}} | knobs if name == "input_subspace" else knobs
    return loren_jax.automatic(METHODS[name].factory, steps, walk=walk, **knobs)


def run(tx, params, value_fn, steps):
    step, state = loren_jax.train_step(value_fn, tx), tx.init(params)
    params = jax.tree.map(jnp.copy, params)
    for _ in range(steps):
        params, state = step(params, state)
    return params, state


def growth64(first, recent, longest):
    return np.clip((first - recent) / (SHARE * first), 1.0, longest)


def test_the_formula():
    """MeZO's slopes and losses, their running means, and the rate made of them, in float64."""
    walk, longest, steps = 2.0, 1.5, 12
    tx = made("mezo", walk=walk, longest=longest, num_directions=2, perturbation_scale=1e-2)
    key, x, mean, weight = tx.init(X).inner[0].key, np.asarray(X, np.float64), 0.0, 0.0
    means, grown = [], []
    for t in range(10):
        first = np.mean(means[:BEGINNING]) if t else 0.0
        recent = np.mean(means[: min(t, BEGINNING)]) if t else 0.0
        for value in means[BEGINNING:]:
            recent += (value - recent) / 5  # the window of so short a run
        grown.append(growth64(first, recent, longest) if t else 1.0)
        seen = 2 * t
        length = walk / np.sqrt(steps) * (1 - t / steps) * grown[-1] * seen / (seen + TRUST)
        rate = length / np.sqrt(mean / weight) if t else 0.0
        step, estimate, square, losses = noise.fold(noise.from_words(key), t), 0.0, 0.0, []
        for k in range(2):
            u = isotropic().draw((), X, noise.fold(step, k)).to_dense()
            u = np.asarray(u, np.float64)
            pair = loss64(x + 1e-2 * u), loss64(x - 1e-2 * u)
            slope = (pair[0] - pair[1]) / 2e-2 / 2
            estimate, square = estimate + slope * u, square + slope**2
            losses += pair
        x = x - rate * estimate
        means.append(np.mean(losses))
        mean, weight = (
            old + FORGETTING * (new - old) for old, new in ((mean, square), (weight, 1))
        )
    assert max(grown) == longest
    assert min(grown) == 1.0
    assert any(1.0 < g < longest for g in grown)
    params, state = run(tx, X, loss, 10)
    np.testing.assert_allclose(params, x, atol=1e-4)
    np.testing.assert_allclose(state.rate, rate, rtol=1e-3)


def test_steps_grow_by_what_was_gained_and_no_more_than_asked():
    """A loss that falls far, a cap of one, and a loss that rises again."""
    plain = {"steps": 300, "walk": 0.05, "num_directions": 4}
    value = lambda x: jnp.sum(x**2)
    x = jnp.ones(8)
    grown, _ = run(made("mezo", **plain), x, value, 300)
    capped, _ = run(made("mezo", longest=1.0, **plain), x, value, 300)
    assert 1.5 < float(jnp.linalg.norm(grown - x) / jnp.linalg.norm(capped - x)) < 3.0
    tx = made("mezo", num_directions=2)
    _, state = run(tx, X, loss, 6)
    lost = jnp.full((2, 2), jnp.nan)
    _, after = tx.update(None, state, X, losses=lost)
    assert (after.first, after.recent) == (state.first, state.recent)
    high = state._replace(first=jnp.float32(1.0), recent=jnp.float32(2.0))
    low = state._replace(first=jnp.float32(1.0), recent=jnp.float32(0.6))
    below = state._replace(first=jnp.float32(-1.0), recent=jnp.float32(-3.0))
    rate = lambda state: float(tx.update(None, state, X, losses=jnp.ones((2, 2)))[1].rate)
    assert rate(high) == rate(below)
    np.testing.assert_allclose(rate(low), min(0.4 / SHARE, LONGEST) * rate(high), rtol=1e-5)


def test_what_is_above_chance_is_no_gain():
    tx, plain = (made("mezo", num_directions=2, chance=chance) for chance in (0.5, np.inf))
    _, state = run(tx, X, loss, 6)
    state = state._replace(first=jnp.float32(1.0), recent=jnp.float32(0.4))
    none = state._replace(recent=state.first)
    rate = lambda tx, state: float(tx.update(None, state, X, losses=jnp.ones((2, 2)))[1].rate)
    np.testing.assert_allclose(rate(tx, state), 0.1 / (SHARE * 0.5) * rate(tx, none), rtol=1e-5)
    np.testing.assert_allclose(rate(plain, state), LONGEST * rate(plain, none), rtol=1e-5)


PARAMS = {"kernel": jnp.ones((64, 66)) / 64, "bias": jnp.zeros(66)}
INPUTS = jnp.cos(jnp.arange(8.0 * 64)).reshape(8, 64)


def network(params):
    out = jnp.tanh(INPUTS @ params["kernel"] + params["bias"][None])
    return jnp.mean((out - 0.3) ** 2)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_moves_by_the_planned_length(name):
    """The root mean square of all changes of 30 steps is what a walk of noise may add."""
    if name == "mezo_svrg":
        pytest.skip("full steps, which it takes beside, are ten times as long")
    params, _ = run(made(name, steps=30, walk=0.01), PARAMS, network, 30)
    change = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), params, PARAMS)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(PARAMS))
    moved = float(jnp.sqrt(sum(jax.tree.leaves(change)) / numbers))
    assert 0.001 < moved < 0.03


@pytest.mark.parametrize("name", ["mezo", "input_subspace", "lozo", "tezo"])
def test_the_scale_of_the_loss_changes_nothing_where_nothing_is_learned(name):
    plain, _ = run(made(name), PARAMS, network, 8)
    large, _ = run(made(name), PARAMS, lambda params: 1024 * network(params), 8)
    for one, other in zip(jax.tree.leaves(plain), jax.tree.leaves(large), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    assert np.any(plain["kernel"] != PARAMS["kernel"])


def test_the_step_in_place_is_the_step_of_updates():
    tx = made("mezo", num_directions=3)
    inplace, _ = run(tx, X, loss, 6)
    params, state = X, tx.init(X)
    update = jax.jit(lambda s, p: tx.update(None, s, p, value_fn=loss))
    for _ in range(6):
        updates, state = update(state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(inplace, params, rtol=1e-5)


def test_a_step_that_is_not_compiled_is_the_same():
    tx, x = made("input_subspace"), X
    state = tx.init(x)
    for _ in range(3):
        updates, state = tx.update(None, state, x, value_fn=loss)
        x = optax.apply_updates(x, updates)
    np.testing.assert_allclose(x, run(made("input_subspace"), X, loss, 3)[0], rtol=1e-5)


def test_losses_alone_determine_the_step():
    tx = made("loren")
    state = tx.init(X)
    step = loren_jax.train_step(loss, tx)
    params = jnp.copy(X)
    for _ in range(3):
        losses = step.probe(params, state)
        params, state = step.absorb(params, state, losses)
    again, _ = run(tx, X, loss, 3)
    np.testing.assert_allclose(params, again, rtol=1e-6)


def test_lost_losses_leave_the_mean_as_it_is():
    tx = made("mezo", num_directions=2)
    _, state = run(tx, X, loss, 3)
    _, after = tx.update(None, state, X, losses=jnp.full((2, 2), jnp.nan))
    assert (after.square, after.weight) == (state.square, state.weight)
    assert after.taken == 4


def test_losses_that_count_for_nothing_are_no_first_loss():
    """What the scheme takes for overflown is not what a run began with."""
    one, other = (made("mezo", steps=60, num_directions=2) for _ in range(2))
    _, state = run(one, X, loss, 1)
    huge, lost = (jnp.full((2, 2), value, jnp.float32) for value in (1e20, jnp.nan))
    first = lambda tx, losses: tx.update(None, state, X, losses=losses)[1].first
    assert first(one, huge) == first(other, lost) == state.first


def test_a_journal_of_one_step_replays():
    """Which moved nothing: a run of one is refused before it begins."""
    method = journal.Method("mezo", {}, schedule={"automatic": {"steps": 1, "walk": WALK}})
    found, _ = run(method.build(), X, loss, 1)
    np.testing.assert_allclose(found, X, atol=1e-30)


def test_nothing_moves_behind_the_last_step():
    params, _ = run(made("mezo"), X, loss, STEPS)
    later, _ = run(made("mezo"), X, loss, STEPS + 3)
    np.testing.assert_array_equal(params, later)


def test_momentum_is_not_a_larger_step():
    long = {"steps": 200, "walk": 0.3, "num_directions": 4}
    ends = [
        float(loss(run(made("mezo", **long, **m), X, loss, 200)[0]))
        for m in ({}, {"momentum": 0.9})
    ]
    assert abs(ends[0] - ends[1]) < 0.2 * abs(float(loss(X)) - ends[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: made("mezo", walk=0.0), "walk must be positive"),
        (lambda: made("mezo", longest=0.5), "longest is 0.5: give 1"),
        (lambda: made("mezo", chance=0.0), "chance must be above zero, got 0.0"),
        (lambda: made("mezo", steps=0), "steps must be at least 1"),
        (lambda: require_plan(loren_jax.mezo, 1), "steps is 1, and without a learning rate"),
        (lambda: made("zo_muon", vector_learning_rate=0.1), "vector_learning_rate is given, but"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_journal_describes_it():
    """Built from the description, and again from its JSON, it gives the same bits."""
    schedule = {"automatic": {"steps": STEPS, "walk": WALK, "longest": LONGEST}}
    method = journal.Method("mezo", {"num_directions": 2}, schedule=schedule, seed=3)
    again = journal.Method.from_json(method.as_json())
    first, second = (run(m.build(), X, loss, 5)[0] for m in (method, again))
    plain, _ = run(made("mezo", num_directions=2, key=3), X, loss, 5)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, plain)


def test_a_journal_of_before_has_steps_that_do_not_grow():
    schedule = {"automatic": {"steps": STEPS, "walk": WALK}}
    method = journal.Method("mezo", {"num_directions": 2}, schedule=schedule, seed=3)
    falling = lambda x: 100 * loss(x)
    found, _ = run(method.build(), X, falling, 10)
    expected, _ = run(made("mezo", num_directions=2, key=3, longest=1.0), X, falling, 10)
    np.testing.assert_array_equal(found, expected)


def test_a_run_that_paused_ends_in_the_same_bits(tmp_path):
    schedule = {"automatic": {"steps": 8, "walk": WALK}}
    method = journal.Method("mezo", {"num_directions": 2}, schedule=schedule)
    value = lambda x, batch: loss(x)
    fit = lambda name, **more: loren_jax.fit(
        value, X, [0.0], optimizer=method, directory=tmp_path / name, steps=8,
        checkpoint_every=3, **more,
    )  # fmt: skip
    whole = fit("whole")
    fit("parts", pause_at=5)
    np.testing.assert_array_equal(fit("parts").params, whole.params)
    replayed = journal.replay(X, tmp_path / "whole" / "run.journal")
    np.testing.assert_array_equal(replayed.params, whole.params)


@pytest.mark.parametrize("every", [1, 2, 10])
def test_the_first_loss_is_that_of_steps_alone(every):
    """Of full steps of mezo_svrg half of the losses are zeros, which nobody asked for."""
    optimizer = loren_jax.automatic(loren_jax.mezo_svrg, 20, walk=1e-3, every=every)
    params, loss = jnp.ones(3), lambda x: 1.0 + 0 * jnp.sum(x)
    state = optimizer.init(params)
    for _ in range(8):
        _, state = optimizer.update(None, state, params, value_fn=loss, full_value_fn=loss)
    np.testing.assert_allclose([state.first, state.recent], 1.0, rtol=1e-6)


def test_steps_without_a_loss_are_no_part_of_the_first_one():
    optimizer = loren_jax.automatic(loren_jax.mezo, 20, walk=1e-3)
    params = jnp.ones(3)
    state = optimizer.init(params)
    for number in range(8):
        loss = lambda x, number=number: jnp.where(number < 6, jnp.nan, 1.0) + 0 * jnp.sum(x)
        _, state = optimizer.update(None, state, params, value_fn=loss)
        assert number < 6 or (float(state.first), float(state.recent)) == (1.0, 1.0)


@pytest.mark.parametrize("kernel", ["linear", "cubic", "quintic"])
def test_random_radii_are_paced_by_their_mean_squares(kernel):
    """A single draw of kerzoo is up to a hundred times as large as another."""
    knobs = {"kernel": kernel, "half_width": 0.7, "constant": 1.3, "num_directions": 4}
    target = jnp.linspace(-1, 1, 400).reshape(20, 20)
    loss = lambda x: 1.0 + 0.5 * jnp.mean((x - target) ** 2)
    moved = []
    for key in range(6):
        optimizer = loren_jax.automatic(loren_jax.kerzoo, 100, walk=0.3, key=key, **knobs)
        step, params = loren_jax.train_step(loss, optimizer), jnp.zeros((20, 20))
        state = optimizer.init(params)
        for _ in range(100):
            params, state = step(params, state)
        moved.append(float(jnp.sqrt(jnp.mean(params**2))))
    np.testing.assert_allclose(np.mean(moved), 0.3 / 3**0.5, rtol=0.2)
    assert max(moved) < 0.3
