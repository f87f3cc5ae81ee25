"""FZOO and GRZO against their float64 oracles."""

import jax.numpy as jnp
import numpy as np
import oracles_low_rank as oracles
import pytest

import loren_jax
from loren_jax.directions import isotropic

ETA, DECAY = 1e-2, 0.1
KNOBS = {"perturbation_scale": oracles.EPSILON, "rank": 1, "num_directions": 3}


@pytest.mark.parametrize(
    ("factory", "differences", "slopes"),
    [
        (loren_jax.fzoo, lambda f: f[:, 1] - f[:, 0], oracles.one_sided),
        (loren_jax.grzo, lambda f: (f[:, 0] - f[:, 1]) / 2, oracles.two_sided),
    ],
)
def test_five_steps(factory, differences, slopes):
    """The formulas of the papers: differences over their standard deviation, epsilon nowhere."""

    def weigh(losses):
        found = differences(losses)
        return found / (len(found) * np.std(found))

    def oracle(step, name, layer, x, y, c, state):
        return oracles.descend(x, oracles.spsa(y, c), ETA, DECAY)

    tx = factory(ETA, weight_decay=DECAY, **KNOBS)
    oracles.follow(tx, isotropic(1), oracle, slopes, number=3, steps=5, weigh=weigh)


@pytest.mark.parametrize("factory", [loren_jax.fzoo, loren_jax.grzo])
def test_a_step_is_the_same_whatever_the_scale_of_the_loss(factory):
    tx, x = factory(ETA, num_directions=3), jnp.ones(4)
    losses = jnp.asarray([[1.0, 1.5], [1.0, 0.25], [1.0, 2.0]])
    small, large = (tx.update(None, tx.init(x), x, losses=c * losses)[0] for c in (1, 1024))
    np.testing.assert_array_equal(small, large)
    assert np.all(small)


def test_losses_that_are_all_one_number_move_nothing():
    tx, x = loren_jax.fzoo(ETA, num_directions=3), jnp.ones(4)
    updates, _ = tx.update(None, tx.init(x), x, losses=jnp.ones((3, 2)))
    assert not np.any(updates)


def test_a_lost_loss_is_as_if_its_direction_were_not():
    scheme = loren_jax.schemes.scaled_one_sided()
    losses = jnp.asarray([[1.0, 1.5], [1.0, jnp.nan], [1.0, 2.0], [1.0, 0.5]])
    whole = scheme.weigh(losses, jnp.float32(1e-3)).slope
    rest = scheme.weigh(losses[jnp.asarray([0, 2, 3])], jnp.float32(1e-3)).slope
    np.testing.assert_allclose(whole[jnp.asarray([0, 2, 3])], rest, rtol=1e-6)
    assert whole[1] == 0
