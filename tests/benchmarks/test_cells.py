"""LOREN with another covariance, as the ablations compose it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles
import pytest

from benchmarks.evidence.cells import ABLATED, ablated
from loren_jax import noise
from loren_jax.directions import isotropic

PARAMS = {"kernel": jnp.cos(jnp.arange(20.0)).reshape(4, 5)}
LOSSES = jnp.arange(6.0)[:, None]


def step(covariance):
    tx = ablated(covariance).make(1e-3, key=0)
    state = tx.init(PARAMS)
    updates, after = jax.jit(lambda s: tx.update(None, s, PARAMS, losses=LOSSES))(state)
    return updates["kernel"], state, after


def test_frozen_stays_at_its_random_start():
    _, *states = step("frozen")
    before, after = (optax.tree.get(state, "covariance")["kernel"] for state in states)
    np.testing.assert_array_equal(before, after)
    assert (np.asarray(before) != 0).all()


def test_isotropic_has_no_covariance_and_standard_noise():
    updates, state, _ = step("isotropic")
    assert optax.tree.get(state, "covariance") is None
    keys = noise.fold_all(noise.fold(noise.from_words(state[0].key), 0), (6,))
    u = [isotropic().draw((), PARAMS, key)["kernel"].to_dense() for key in keys]
    c = oracles.leave_one_out(np.arange(6.0)) / 1e-3
    np.testing.assert_allclose(updates, -1e-3 * np.tensordot(c, u, 1), rtol=1e-4)


@pytest.mark.parametrize("covariance", ABLATED)
def test_each_takes_a_step(covariance):
    updates, _, after = step(covariance)
    assert np.isfinite(updates).all()
    assert (np.asarray(updates) != 0).all()
    assert optax.tree.get(after, "losses").shape == (6, 1)
