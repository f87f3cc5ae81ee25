"""Rewards of answers as losses of queries, against the formula in float64."""

import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.losses import fitness

REWARDS = np.random.default_rng(0).normal(size=(4, 2, 6)).round(1)


def oracle(rewards, scale):
    """Prompt by prompt, in a loop."""
    flat = np.asarray(rewards, np.float64).reshape(-1, rewards.shape[-1])
    centred = np.zeros_like(flat)
    for b in range(flat.shape[1]):
        seen = [r for r in flat[:, b] if np.isfinite(r)]
        for q, reward in enumerate(flat[:, b]):
            if not np.isfinite(reward) or len(set(seen)) < 2:
                continue
            if scale == "rank":
                below = sum(r < reward for r in seen) - sum(r > reward for r in seen)
                centred[q, b] = below / (2 * (len(seen) - 1))
            else:
                centred[q, b] = reward - np.mean(seen)
    if scale == "std" and centred.any():
        centred /= np.sqrt(np.mean(centred**2))
    return -centred.mean(1).reshape(rewards.shape[:-1])


@pytest.mark.parametrize("scale", ["std", "rank", None])
def test_it_is_the_formula(scale):
    rewards = REWARDS.copy()
    rewards[1, 0, 2], rewards[0, 1, 2] = np.nan, np.inf
    rewards[:, :, 4] = 3.3  # a prompt of which all answers are worth the same
    losses, tied, missing = fitness(jnp.asarray(rewards, jnp.float32), scale)
    np.testing.assert_allclose(losses, oracle(rewards, scale), atol=1e-6)
    assert float(tied) == pytest.approx(1 / 6)
    assert float(missing) == pytest.approx(2 / 48)


@pytest.mark.parametrize("scale", ["std", "rank"])
def test_what_a_prompt_is_worth_at_all_does_not_count(scale):
    moved = 2.0 * REWARDS + np.asarray([0.0, 100.0, -7.0, 1.0, 2.0, 3.0])
    wanted = fitness(jnp.asarray(REWARDS, jnp.float32), scale).losses
    losses = fitness(jnp.asarray(moved, jnp.float32), scale).losses
    np.testing.assert_allclose(losses, wanted, atol=1e-4)


@pytest.mark.parametrize("scale", ["std", "rank", None])
@pytest.mark.parametrize("reward", [0.1, np.nan])
def test_nothing_to_compare_is_no_step(scale, reward):
    losses, tied, _ = fitness(jnp.full((3, 1, 5), reward, jnp.float32), scale)
    np.testing.assert_array_equal(losses, 0.0)
    assert float(tied) == 1.0


def test_another_scale_is_refused(without_checked_annotations):
    with pytest.raises(ValueError, match="scale='max' must be 'std', 'rank' or None"):
        fitness(jnp.zeros((2, 1, 2)), "max")


def test_ranks_keep_their_order_beside_a_reward_far_away():
    losses = fitness(jnp.asarray([[[-1e9]], [[0.1]], [[0.9]], [[0.5]]]), scale="rank").losses
    np.testing.assert_allclose(losses.ravel(), [1 / 2, 1 / 6, -1 / 2, -1 / 6], rtol=1e-6)
