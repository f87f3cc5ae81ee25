"""Runs that cannot work are told so, and those that can are left in peace."""

import re

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax.diagnostics import VitalSigns, signs_of

RNG = np.random.default_rng(0)
FEATURES = jnp.asarray(RNG.normal(size=(256, 12)), jnp.float32)
LABELS = jnp.asarray(FEATURES @ RNG.normal(size=12) > 0, jnp.float32)


def said(
    learning_rate, perturbation_scale=1e-3, steps=150, window=20, rows=32, *, seed=0, labels=None,
    frozen=False, jump=False,
):  # fmt: skip
    """What is said in the course of a real run of linear regression, and the numbers of its steps.

    `frozen` trains what the loss does not look at; `jump` lets the rate fall behind three steps, so
    that all the harm is done at the start.
    """

    def loss(params, rows):
        targets = LABELS[rows] if labels is None else labels
        weights = (0 if frozen else 1) * params["w"]
        return jnp.mean((FEATURES[rows] @ weights + (0 if frozen else params["b"]) - targets) ** 2)

    rate = (lambda count: learning_rate * 1e-9 ** (count > 2)) if jump else learning_rate
    optimizer = loren_jax.loren(
        rate, perturbation_scale=perturbation_scale, num_directions=8, key=seed
    )
    params = {"w": jnp.zeros(12), "b": jnp.zeros(())}
    state, step = optimizer.init(params), loren_jax.train_step(loss, optimizer)
    watch = VitalSigns(perturbation_scale, window=window, learning_rate=learning_rate, steps=steps)
    found = []
    for number in range(steps):
        batch = np.random.default_rng([seed, number]).integers(0, 256, rows)
        params, state = step(params, state, batch)
        found += [(number, text) for text in watch.check_step(optax.tree.get(state, "losses"))]
    return found


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("learning_rate", [0.01, 0.05])
def test_a_run_that_works_is_left_in_peace(learning_rate, seed):
    assert said(learning_rate, seed=seed) == []


RISEN = r"risen from .* learning_rate is (far )?above what is stable"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"learning_rate": 1e-9}, "at this learning_rate, 1e-09, all 60 steps lower the loss"),
        ({"learning_rate": 0.3, "steps": 150}, RISEN),
        ({"learning_rate": 1.0}, RISEN),
        ({"learning_rate": 30.0, "jump": True}, RISEN),
        ({"learning_rate": 1e30}, r"not finite, though the first step's were|" + RISEN),
        ({"perturbation_scale": 1e-9}, "raise perturbation_scale"),
        # Noise alone moves the weights: the rate is not what is wrong.
        ({"perturbation_scale": 1e-9, "learning_rate": 10.0}, "raise perturbation_scale"),
        ({"frozen": True}, "train parameters that change the loss"),
        ({"labels": 1.0}, None),
        ({"labels": 0.0}, None),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_and_nothing_else(settings, expected):
    texts = [text for _, text in said(**{"learning_rate": 0.05, "steps": 60, **settings})]
    if expected is None:
        assert texts == []
        return
    assert len(texts) >= 1
    assert all(re.search(expected, text) for text in texts), texts


def test_a_perturbation_that_is_lost_is_said_once():
    # 1e-9 added to a logit of about one is nothing in float32.
    ((number, text),) = said(0.05, perturbation_scale=1e-9, steps=60)
    assert number == 24
    assert "raise perturbation_scale" in text


def test_losses_within_rounding():
    watch, losses = VitalSigns(1e-6, window=2), np.float32(0.7) + np.float32([0, 6e-8, 0, 6e-8])
    assert [watch.check_step(losses) for _ in range(3)] == [[]] * 3
    (text,) = watch.check_step(losses)
    assert "no more than a forward pass rounds" in text
    assert "now 1e-06" in text
    assert watch.check_step(losses) == []


def test_losses_that_became_equal_tell_of_the_scale_and_of_no_rate():
    """As where all answers to a step's prompts are worth the same."""
    watch = VitalSigns(1e-3, window=4, learning_rate=1e-5, steps=100)
    steps = [np.array([0.25, -0.25]) + 1e-8] * 3 + [np.zeros(2)] * 5
    *before, texts = [watch.check_step(losses) for losses in steps]
    assert before == [[]] * 7
    (text,) = texts
    assert "all losses of a step were equal" in text


@pytest.mark.parametrize("seed", range(5))
def test_batches_that_differ_are_no_rise(seed):
    """Over a thousand steps whose losses have no trend, but a spread."""
    rng, watch = np.random.default_rng(seed), VitalSigns(1.0)
    for _ in range(1000):
        batch = rng.normal()
        assert watch.check_step(1 + 0.3 * batch + 0.01 * rng.normal(size=8)) == []


def test_an_easy_first_batch_is_no_rise():
    """As of SmolLM2 on SST-2, batches of eight: the first loss was a seventh of the others."""
    rng, watch = np.random.default_rng(0), VitalSigns(1e-3)
    means = [0.141, *np.exp(rng.normal(-0.1, 0.3, 200))]
    assert [watch.check_step(mean + 0.01 * rng.normal(size=6)) for mean in means] == [[]] * 201


@pytest.mark.parametrize(
    ("held_out", "training", "risen"),
    [
        ((1.12, 6.06), 5.0, True),
        ((1.12, 1.5), 5.0, False),  # within what a split may show
        ((0.7, 1.4), 0.2, False),  # overfitting
        ((0.846, 0.749), 0.9, False),
    ],
)
def test_a_held_out_loss_above_the_start_is_said_once(held_out, training, risen):
    watch = VitalSigns(1e-3)
    assert watch.check_evaluation(held_out[0]) == []
    for number in range(20):
        watch.check_step(training + 0.01 * number * np.array([-1.0, 1.0]))
    texts = [*watch.check_evaluation(held_out[1]), *watch.check_evaluation(held_out[1])]
    assert len(texts) == risen
    assert all("held-out loss has risen from 1.12 to 6.06" in text for text in texts)


def test_slopes_that_grow_are_said():
    watch, texts = VitalSigns(1.0, window=5), []
    for number in range(30):
        texts += watch.check_step(1 + 0.1 * number + (1 + number) * np.array([-0.1, 0.1]))
    (text,) = texts
    assert "the slopes have grown" in text


def rising(number):
    return 1 + 0.1 * number + (1 + number) * np.array([-0.1, 0.1])


def test_a_run_that_goes_on_remembers_its_start_and_repeats_nothing():
    whole, first = (VitalSigns(1.0, window=5) for _ in range(2))
    texts = [whole.check_step(rising(number)) for number in range(30)]
    said = next(number for number, found in enumerate(texts) if found)
    for stop in (said, said + 1):
        again = VitalSigns(1.0, window=5)
        again.recall(map(rising, range(stop)), {0: 1.0})
        assert [again.check_step(rising(number)) for number in range(stop, 30)] == texts[stop:]
    first.recall(map(rising, range(said)), {0: 1.0})
    assert "from 1 to 9" in first.check_evaluation(9.0)[0]
    again = VitalSigns(1.0, window=5)
    again.recall(map(rising, range(said)), {0: 1.0, said: 9.0})
    assert again.check_evaluation(9.0) == []


def test_a_run_that_found_its_steps_is_told_no_rate_to_divide():
    watch, texts = VitalSigns(None, window=5, automatic=True), []
    for number in range(30):
        texts += watch.check_step(rising(number))
    assert "the steps that the run has found are too long; begin again with" in texts[0]
    assert "learning_rate is" not in texts[0]


def test_a_scale_that_nobody_knows_is_not_named():
    watch = VitalSigns(None, window=2)
    near = [1.0, 1.0 + 1e-7]
    texts = [text for _ in range(4) for text in watch.check_step(near)]
    assert "raise perturbation_scale, or compute" in texts[0]


def test_what_is_not_finite_is_left_out():
    signs = signs_of([[1.0], [3.0], [np.nan], [np.inf]], 0.5)
    assert signs[:2] == (2.0, 1.0)
    assert signs.slope == 2.0
    assert signs.nonfinite == 2
    assert np.isnan(signs_of([[np.nan], [np.nan]], 0.5).mean)
    assert VitalSigns(0.5, window=2).check_step([[np.nan], [np.nan]]) == []


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
