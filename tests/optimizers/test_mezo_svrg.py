"""MeZO-SVRG against its float64 oracle, and the variance that it is there to reduce."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles_svrg
import pytest

from loren_jax import noise
from loren_jax.directions import isotropic
from loren_jax.estimators import estimate, svrg
from loren_jax.optimizers import mezo_svrg
from loren_jax.schemes import two_sided

# A finite sum of quadratics f_i(x) = |A_i (x - b_i)|^2 / 2 d.
NUMBER, BATCH, DIM = 64, 4, 10
ROOTS, TARGETS = (
    np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    for seed, shape in ((7, (NUMBER, DIM, DIM)), (8, (NUMBER, DIM)))
)
BATCHES = np.random.default_rng(9).integers(NUMBER, size=(4000, BATCH))
START = jnp.full(DIM, 2.0, jnp.float32)
ALL = np.arange(NUMBER)


def loss(x, members=ALL, xp=jnp):
    roots, targets = (xp.asarray(array)[members] for array in (ROOTS, TARGETS))
    residuals = xp.einsum("ijk,ik->ij", roots, x[None] - targets)
    return 0.5 * xp.mean(xp.sum(residuals**2, -1)) / DIM


def stepper(tx):
    def step(x, state, members):
        functions = {"value_fn": lambda x: loss(x, members), "full_value_fn": loss}
        updates, state = tx.update(None, state, x, **functions)
        return optax.apply_updates(x, updates), state

    return jax.jit(step)


def path(tx, steps, x=START):
    state, step = tx.init(x), stepper(tx)
    for t in range(steps):
        x, state = step(x, state, BATCHES[t])
        yield x, state


def oracle(steps, every, scale, rates, decay=0.0, number=2):
    x = snapshot = np.asarray(START, np.float64)
    full, run = np.zeros(DIM), noise.run_key(0)
    for t in range(steps):
        keys = noise.fold_all(noise.fold(run, t), (number,))
        u = [isotropic().draw((), START, key).to_dense() for key in keys]
        x, snapshot, full = oracles_svrg.svrg_step(
            x, snapshot, full, t, np.asarray(u, np.float64),
            lambda x: loss(x, BATCHES[t], np), lambda x: loss(x, ALL, np),  # noqa: B023
            every=every, scale=scale, rates=rates, decay=decay,
        )  # fmt: skip
        yield x, snapshot, full


def test_steps_equal_the_oracle():
    """After each: a full step; two with a control variate; the next snapshot's; two around that."""
    tx = mezo_svrg(
        2e-3, full_learning_rate=5e-3, every=3, num_directions=2, perturbation_scale=1e-1,
        weight_decay=0.1,
    )  # fmt: skip
    oracles = oracle(6, 3, 1e-1, (2e-3, 5e-3), 0.1)
    for (x, state), expected in zip(path(tx, 6), oracles, strict=True):
        np.testing.assert_allclose(x, expected[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(state[0].snapshot, expected[1], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(state[0].full_estimate, expected[2], rtol=1e-4, atol=1e-4)


def squared_errors():
    """Of a minibatch step's estimate at a point near the snapshot, 4000 minibatches of 4 of 64.

    Returns:
        Squared distances, (4000,) each. From what the whole data would have given along the same
        directions: `noise` of the control variate, `noise plain` of the plain estimate. From their
        means over minibatches and directions: `control`, `plain`, and `separate`, where the
        estimate at the snapshot has directions of its own, as in the published code. Also the
        deviations of the control variate from its mean, (4000, DIM).
    """
    near = START - 0.05 * jax.grad(loss)(START)
    tx = svrg(isotropic(), two_sided(), every=10**6, num_directions=1)
    spsa = estimate(isotropic(), two_sided(), num_directions=1)
    first = lambda: tx.update(None, tx.init(START), START, value_fn=loss, full_value_fn=loss)
    held = jax.jit(first)()[1]

    def one(count, members):
        fn = lambda x: loss(x, members)
        own = held._replace(count=count)
        control, _ = tx.update(None, own, near, value_fn=fn, full_value_fn=loss)
        run = lambda key, x: spsa.init(x)._replace(count=count, key=noise.run_key(key))
        at = lambda fn, x, key=0: spsa.update(None, run(key, x), x, value_fn=fn)[0]
        here, whole = at(fn, near), at(loss, near)
        separate = here - at(fn, START, 1) + held.full_estimate
        return control, whole - at(loss, START) + held.full_estimate, here, whole, separate

    mapped = jax.jit(lambda c, m: jax.lax.map(lambda x: one(*x), (c, m), batch_size=100))
    counts = jnp.arange(1, 1 + len(BATCHES))
    found = [np.asarray(x, np.float64) for x in mapped(counts, jnp.asarray(BATCHES))]
    control, control_whole, here, whole, separate = found
    slope = np.asarray(jax.grad(loss)(near), np.float64)
    mean = slope - np.asarray(jax.grad(loss)(START)) + np.asarray(held.full_estimate)
    deviations = {
        "noise": control - control_whole,
        "noise plain": here - whole,
        "control": control - mean,
        "separate": separate - mean,
        "plain": here - slope,
    }
    return {k: np.sum(d**2, -1) for k, d in deviations.items()}, deviations["control"]


def test_near_the_snapshot_the_variance_is_reduced():
    """Mean squared errors, with five standard errors on either side.

    Measured: the minibatch's noise falls from 190 +- 8 to 0.42 +- 0.02, the whole variance from
    635 +- 20 to 2.0 +- 0.1; with directions of its own for the snapshot it is 1321 +- 29.
    """
    errors, deviation = squared_errors()
    mean = {k: e.mean() for k, e in errors.items()}
    stderr = {k: e.std() / np.sqrt(len(e)) for k, e in errors.items()}
    low, high = ({k: mean[k] + s * 5 * stderr[k] for k in mean} for s in (-1, 1))
    assert 100 * high["noise"] < low["noise plain"]
    assert 100 * high["control"] < low["plain"]
    assert low["separate"] > high["plain"]
    # Its mean is the kept estimate, moved by the difference of the true gradients.
    assert np.abs(deviation.mean(0) / (deviation.std(0) / np.sqrt(len(deviation)))).max() < 5


def test_the_loss_falls():
    *_, (x, _) = path(mezo_svrg(5e-3, every=2, full_learning_rate=0.02, num_directions=4), 400)
    matrices = np.einsum("ijk,ijl->ikl", ROOTS, ROOTS)
    best = np.linalg.solve(matrices.sum(0), np.einsum("ijk,ik->j", matrices, TARGETS))
    least = loss(best, ALL, np)
    assert loss(x) - least < 0.05 * (loss(START) - least)


# Learning rates.


def rates(tx, losses=((2.0, 1.0, 0.0, 0.0),), steps=5):
    """Length of each step over that of its estimate: every step has the same losses."""
    x, state = START, tx.init(START)
    update = jax.jit(lambda state, x: tx.update(None, state, x, losses=jnp.asarray(losses)))
    found = []
    for t in range(steps):
        own = optax.tree.get(state, "full_estimate")
        updates, state = update(state, x)
        u = isotropic().draw((), x, noise.fold(noise.fold(noise.run_key(0), t), 0)).to_dense()
        g = u / 2e-2 + (0 if t % 2 == 0 else own)
        found.append(float(-jnp.vdot(updates, g) / jnp.vdot(g, g)))
        x = optax.apply_updates(x, updates)
    return found


COMMON = {"every": 2, "perturbation_scale": 1e-2}


@pytest.mark.parametrize(
    ("learning_rate", "full", "expected"),
    [
        (0.01, None, [0.1, 0.01, 0.1, 0.01, 0.1]),
        (0.01, 0.03, [0.03, 0.01, 0.03, 0.01, 0.03]),
        (lambda t: 0.01 * (t + 1), None, [0.1, 0.02, 0.3, 0.04, 0.5]),
        (0.01, lambda t: 0.05 * (t + 1), [0.05, 0.01, 0.15, 0.01, 0.25]),
    ],
)
def test_full_steps_have_their_own_learning_rate(learning_rate, full, expected):
    tx = mezo_svrg(learning_rate, full_learning_rate=full, **COMMON)
    np.testing.assert_allclose(rates(tx), expected, rtol=1e-3)


@pytest.mark.parametrize("full", [None, 0.03])
def test_learning_rates_may_be_injected(full):
    static = ("every", "num_directions", "key")
    injected = optax.inject_hyperparams(mezo_svrg, static_args=static)
    tx = injected(0.01, full_learning_rate=full, **COMMON)
    expected = rates(mezo_svrg(0.01, full_learning_rate=full, **COMMON))
    np.testing.assert_allclose(rates(tx), expected, rtol=1e-5)
    halving = injected(lambda t: 0.01 * 0.5**t, full_learning_rate=0.03, **COMMON)
    np.testing.assert_allclose(rates(halving, steps=3), [0.03, 0.005, 0.03], rtol=1e-3)


def test_it_chains_and_compiles_once():
    tx = optax.chain(mezo_svrg(1e-3, **COMMON), optax.clip_by_global_norm(0.01))
    traces, state, x = [], tx.init(START), START

    @jax.jit
    def step(x, state, members):
        traces.append(1)
        functions = {"value_fn": lambda x: loss(x, members), "full_value_fn": loss}
        updates, state = tx.update(None, state, x, other=1, **functions)
        return optax.apply_updates(x, updates), state

    for t in range(5):
        before = x
        x, state = step(x, state, BATCHES[t])
        assert 0 < np.linalg.norm(x - before) < 0.0101
    assert len(traces) == 1
    assert optax.tree.get(state, "losses").shape == (1, 4)


def test_losses_alone_replay_the_run():
    tx = mezo_svrg(1e-3, weight_decay=0.1, num_directions=2, rank=1, **COMMON)
    matrix_loss = lambda x, members=ALL: loss(x["kernel"][0], members)

    @jax.jit
    def probe(x, state, members):
        fn = lambda x: matrix_loss(x, members)
        updates, state = tx.update(None, state, x, value_fn=fn, full_value_fn=matrix_loss)
        return optax.apply_updates(x, updates), state

    @jax.jit
    def absorb(x, state, losses):
        updates, state = tx.update(None, state, x, losses=losses)
        return optax.apply_updates(x, updates), state

    x = twin = {"kernel": jnp.outer(START, START)}
    state = twin_state = tx.init(x)
    for t in range(5):
        x, state = probe(x, state, BATCHES[t])
        twin, twin_state = absorb(twin, twin_state, optax.tree.get(state, "losses"))
        np.testing.assert_array_equal(x["kernel"], twin["kernel"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mezo_svrg(0.0), "learning_rate must be positive"),
        (lambda: mezo_svrg(0.1, full_learning_rate=-1.0), "full_learning_rate must be positive"),
        (lambda: mezo_svrg(0.1, every=0), "every must be at least 1"),
        (lambda: mezo_svrg(0.1, weight_decay=-1.0), "weight_decay must be zero or more"),
        (lambda: mezo_svrg(0.1, rank=0), "rank must be at least 1"),
        (
            lambda: (tx := mezo_svrg(0.1)).update(None, tx.init(START), START, value_fn=loss),
            "no full_value_fn: pass value_fn, .* and full_value_fn, the loss of all data",
        ),
    ],
)
def test_misuse_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
