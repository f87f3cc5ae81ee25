"""LOZO and LOZO-M against their float64 oracles, through two renewals of V."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles_low_rank as oracles
import pytest

from loren_jax.directions import low_rank
from loren_jax.optimizers import lozo, lozo_m
from loren_jax.parts import trained
from loren_jax.transforms import train_step

ETA, BETA, DECAY = 1e-2, 0.8, 0.1
KNOBS = {"num_directions": 2, "perturbation_scale": oracles.EPSILON, "rank": 2, "every": 2}


@pytest.mark.parametrize(
    ("factor_scale", "applied"), [("unit", 1.0), ("rank", 0.5), ("sqrt_rank", 1.0)]
)
def test_five_steps_of_lozo(factor_scale, applied):
    """Steps 0, 2 and 4 renew V; the loss is queried along the very direction that is applied."""
    tx = lozo(ETA, factor_scale=factor_scale, weight_decay=DECAY, **KNOBS)

    def oracle(step, name, layer, x, y, c, state):
        factor = applied if isinstance(y, tuple) else 1.0
        return oracles.descend(x, factor * oracles.spsa(y, c), ETA, DECAY)

    directions = low_rank(2, 2, factor_scale)
    oracles.follow(tx, directions, oracle, oracles.two_sided, number=2, steps=5)


def test_five_steps_of_lozo_m():
    """The momentum lives in the factor, is moved at steps 2 and 4 and not dampened at step 0."""
    tx = lozo_m(ETA, momentum=BETA, weight_decay=DECAY, **KNOBS)
    momenta, bases = {}, {}

    def oracle(step, name, layer, x, y, c, state):
        at, first = (name, layer), step == 0
        if not isinstance(y, tuple):
            average = oracles.spsa(y, c)
            average = average if first else BETA * momenta[at] + (1 - BETA) * average
            momenta[at] = average
            return oracles.descend(x, average, ETA, DECAY)
        left, (v, *_) = y
        renewed = {"v_old": bases[at], "v_new": v} if step in (2, 4) else {}
        momenta[at] = oracles.lozo_m_factor(momenta.get(at), left, c, BETA, first=first, **renewed)
        bases[at] = v
        return oracles.descend(x, momenta[at] @ v.T, ETA, DECAY)

    directions = low_rank(2, 2, momentum=BETA)
    _, state = oracles.follow(tx, directions, oracle, oracles.two_sided, number=2, steps=5)
    trace = optax.tree.get(state, "trace")
    np.testing.assert_allclose(trace["kernel"][1], momenta["kernel", 1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trace["bias"], momenta["bias", 0], rtol=1e-4, atol=1e-5)


def test_frozen_leaves_schedules_and_bfloat16():
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), oracles.PARAMS)
    schedule = optax.linear_schedule(0.1, 0.0, 1)
    tx = trained(lozo_m(schedule, weight_decay=0.1, **KNOBS), lambda path: path != "kernel")
    state = tx.init(params)
    step = jax.jit(lambda s, p: tx.update(None, s, p, value_fn=oracles.value_fn))
    updates, state = step(state, params)
    assert all(u.dtype == jnp.bfloat16 for u in jax.tree.leaves(updates))
    assert not np.asarray(updates["kernel"]).any()
    assert np.asarray(updates["bias"]).any()
    assert not any(np.asarray(u).any() for u in jax.tree.leaves(step(state, params)[0]))


def test_fused_step_is_the_same():
    tx = lozo(ETA, weight_decay=DECAY, **KNOBS)
    step = train_step(oracles.value_fn, tx)
    state = tx.init(oracles.PARAMS)
    updates, _ = jax.jit(lambda s, p: tx.update(None, s, p, value_fn=oracles.value_fn))(
        state, oracles.PARAMS
    )
    expected = optax.apply_updates(oracles.PARAMS, updates)
    actual, _ = step(jax.tree.map(jnp.copy, oracles.PARAMS), jax.tree.map(jnp.copy, state))
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rank": 0}, "rank must be at least 1"),
        ({"every": 0}, "every must be at least 1"),
        ({"factor_scale": "half"}, "factor_scale must be one of 'unit', 'rank', 'sqrt_rank'"),
        ({"perturbation_scale": 0.0}, "perturbation_scale must be positive"),
        ({"num_directions": 0}, "num_directions must be at least 1"),
    ],
)
def test_bad_knobs_are_named(kwargs, message, without_checked_annotations):
    with pytest.raises(ValueError, match=message):
        lozo(0.1, **kwargs)
    with pytest.raises(ValueError, match=message):
        lozo_m(0.1, **kwargs)


def test_bad_momentum_is_named():
    with pytest.raises(ValueError, match="momentum must be at least 0 and below 1"):
        lozo_m(0.1, momentum=1.0)
