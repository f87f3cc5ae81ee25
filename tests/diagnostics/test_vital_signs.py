"""Runs that cannot work are told so, and those that can are left in peace."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax.diagnostics import VitalSigns, signs_of

RNG = np.random.default_rng(0)
FEATURES = jnp.asarray(RNG.normal(size=(256, 12)), jnp.float32)
LABELS = jnp.asarray(FEATURES @ RNG.normal(size=12) > 0, jnp.float32)


def loss(params, rows):
    """Linear regression."""
    return jnp.mean((FEATURES[rows] @ params["w"] + params["b"] - LABELS[rows]) ** 2)


def said(learning_rate, perturbation_scale=1e-3, steps=150, window=20, rows=32):
    """What is said in the course of a real run, and the numbers of its steps."""
    optimizer = loren_jax.loren(
        learning_rate, perturbation_scale=perturbation_scale, momentum=None, num_directions=8
    )
    params = {"w": jnp.zeros(12), "b": jnp.zeros(())}
    state, step = optimizer.init(params), loren_jax.train_step(loss, optimizer)
    watch, found = VitalSigns(perturbation_scale, window=window), []
    for number in range(steps):
        batch = np.random.default_rng(number).integers(0, 256, rows)
        params, state = step(params, state, batch)
        found += [(number, text) for text in watch.seen(optax.tree.get(state, "losses"))]
    return found


def test_a_run_that_works_is_left_in_peace():
    assert said(0.05) == []


def test_a_perturbation_that_is_lost_is_said_once():
    # 1e-9 added to a logit of about one is nothing in float32.
    ((number, text),) = said(0.05, perturbation_scale=1e-9, steps=60)
    assert number == 24
    assert "raise perturbation_scale" in text


def test_losses_within_rounding():
    watch, losses = VitalSigns(1e-6, window=2), np.float32(0.7) + np.float32([0, 6e-8, 0, 6e-8])
    assert [watch.seen(losses) for _ in range(3)] == [[]] * 3
    (text,) = watch.seen(losses)
    assert "no more than a forward pass rounds" in text
    assert "now 1e-06" in text
    assert watch.seen(losses) == []


@pytest.mark.parametrize("learning_rate", [0.3, 1.0])
def test_a_learning_rate_above_stability(learning_rate):
    (_, text), *_ = said(learning_rate)
    assert "learning_rate is above what is stable" in text


@pytest.mark.parametrize("seed", range(5))
def test_batches_that_differ_are_no_rise(seed):
    """Over a thousand steps whose losses have no trend, but a spread."""
    rng, watch = np.random.default_rng(seed), VitalSigns(1.0)
    for _ in range(1000):
        batch = rng.normal()
        assert watch.seen(1 + 0.3 * batch + 0.01 * rng.normal(size=8)) == []


def test_slopes_that_grow_are_said():
    watch, texts = VitalSigns(1.0, window=5), []
    for number in range(30):
        texts += watch.seen(1 + 0.1 * number + (1 + number) * np.array([-0.1, 0.1]))
    (text,) = texts
    assert "the slopes have grown" in text


def test_what_is_not_finite_is_left_out():
    signs = signs_of([[1.0], [3.0], [np.nan], [np.inf]], 0.5)
    assert signs[:2] == (2.0, 1.0)
    assert signs.slope == 2.0
    assert signs.nonfinite == 2
    assert np.isnan(signs_of([[np.nan], [np.nan]], 0.5).mean)
    assert VitalSigns(0.5, window=2).seen([[np.nan], [np.nan]]) == []


def test_the_spread_is_over_directions_not_over_points():
    """The two points of a pair differ by much, the pairs do not."""
    pairs = [[1.0, 3.0], [1.0, 3.0], [1.2, 2.8]]
    assert signs_of(pairs, 1.0).spread < 0.1
    # One pair alone has nothing else to differ.
    assert signs_of(pairs[:1], 1.0).spread == 1.0


def test_errors_name_the_argument():
    with pytest.raises(ValueError, match="perturbation_scale must be positive"):
        VitalSigns(0.0)
    with pytest.raises(ValueError, match="window"):
        VitalSigns(0.1, window=1)
