"""How far the noise of a run may lead, on losses whose curvature and slopes are known."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax.optimizers import METHODS
from loren_jax.walk import CORRECTED, LONGEST, SHARE, dimensions

X = jnp.asarray([0.5, -0.3, 0.8])


@pytest.mark.parametrize("name", ["mezo", "loren", "lozo", "zo_muon"])
def test_the_noise_that_is_found_raises_the_loss_by_the_share(name):
    """Of a quadratic the noise is known: d / 2 s^2 is the share of 1."""
    value = lambda x, batch: 1.0 + 0.5 * jnp.sum(x**2) / x.size
    found = loren_jax.measure_walk(
        value, jnp.zeros((40, 50)), lambda step: (), METHODS[name].factory, share=0.5
    )
    np.testing.assert_allclose(found.walk, 1.0, rtol=0.25)


def test_queries_at_random_distances_find_the_same_noise():
    value = lambda x, batch: 1.0 + 0.5 * jnp.sum(x**2) / x.size
    find = lambda key: loren_jax.measure_walk(
        value, jnp.zeros((40, 50)), lambda step: (), loren_jax.kerzoo, share=0.5, key=key
    )
    np.testing.assert_allclose(np.median([find(key).walk for key in range(7)]), 1.0, rtol=0.2)


def test_of_a_loss_above_chance_the_share_is_one_of_chance():
    value = lambda x, batch: 2.0 + 0.5 * jnp.mean(x**2)
    find = functools.partial(
        loren_jax.measure_walk, value, jnp.zeros((40, 50)), lambda step: (), loren_jax.mezo
    )
    np.testing.assert_allclose(find(chance=0.5).walk, find().walk / 2, rtol=0.1)


@pytest.mark.parametrize("odd", [1, 2, 3])
def test_a_batch_whose_loss_noise_lowers_does_not_decide(odd):
    """As of a model that is too sure of itself."""
    value = lambda x, batch: 1.0 + jnp.where(batch == odd, -0.1, 1.0) * jnp.mean(x**2)
    find = lambda batches: loren_jax.measure_walk(
        value, jnp.zeros((40, 50)), batches, loren_jax.mezo
    )
    lowered, plain = find(jnp.asarray), find(lambda step: jnp.asarray(0))
    np.testing.assert_allclose(lowered.walk, plain.walk, rtol=0.1)


def test_noise_that_overflows_the_loss_is_made_smaller():
    value = lambda x, batch: 1.0 + jnp.exp(jnp.sum((100 * x) ** 2))
    found = loren_jax.measure_walk(value, jnp.zeros(10), lambda step: (), loren_jax.mezo)
    assert 1e-4 < found.walk < 2e-2


CURVED, NUMBERS, CURVATURE = 6, 60, 0.5


def slopes(batch):
    return 0.7 * jnp.cos(jnp.arange(NUMBERS) * (1.3 + batch))


def few_curved(params, batch):
    """Curvature and slopes of a batch's own, of which directions along the factors see six."""
    x = params["kernel"][:, 0]
    return 1.0 + slopes(batch) @ x + 0.5 * CURVATURE * jnp.sum(x**2)


def find_few(loss=few_curved, **options):
    options = {"factors": {"kernel": jnp.eye(NUMBERS, CURVED)}, **options}
    return loren_jax.measure_walk(
        loss, {"kernel": jnp.zeros((NUMBERS, 1))}, jnp.float32, loren_jax.input_subspace,
        **options,
    )  # fmt: skip


def known():
    """The walk of noise that nothing corrects, and steps that correct it by a kappa of two."""
    # A direction has six numbers for all sixty, so that each is of mean square ten.
    walk = math.sqrt(2 * SHARE / (CURVATURE * NUMBERS))
    squares = np.mean([np.sum(slopes(batch)[:CURVED] ** 2) for batch in range(1, 4)])
    sigma = math.sqrt(NUMBERS / CURVED * squares / 6)
    return walk, round((2 * CURVED * sigma * walk / SHARE) ** 2)


def test_a_run_that_corrects_noise_may_walk_further():
    """By `kappa` of the true curvature; nine directions tell it to a factor of two."""
    walk, steps = known()
    found, plain = ([find_few(steps=n, key=seed) for seed in range(6)] for n in (steps, None))
    np.testing.assert_allclose(np.median([f.walk for f in plain]), walk, rtol=0.2)
    ratios = [one.walk / other.walk for one, other in zip(found, plain, strict=True)]
    np.testing.assert_allclose(np.median(ratios), 2.0, rtol=0.35)
    for one, other, ratio in zip(found, plain, ratios, strict=True):
        assert 1.0 <= ratio <= CORRECTED + 1e-6
        np.testing.assert_allclose(one.longest, max(LONGEST / ratio, 1.0), rtol=1e-6)
        assert other.longest == LONGEST
        assert one.passes == other.passes


def test_slopes_may_be_those_of_another_loss():
    """Noise is measured on what has no slope, as a model's own answers."""

    class Losses(NamedTuple):
        loss: jax.Array
        trained: jax.Array

    def both(params, batch):
        x = params["kernel"][:, 0]
        return Losses(1.0 + 0.5 * CURVATURE * jnp.sum(x**2), few_curved(params, batch) - 7.0)

    def only(params, batch):
        return both(params, batch).loss

    _, steps = known()
    for seed in range(3):
        usual, found, none = (
            find_few(steps=steps, key=seed, loss=loss) for loss in (few_curved, both, only)
        )
        np.testing.assert_allclose(found[:2], usual[:2], rtol=1e-3)
        assert found.passes == usual.passes
        assert none == find_few(key=seed, loss=both)


def test_a_loss_may_come_with_what_else_it_knows():
    """As a model's output with a field `loss`: fit takes such a loss with a rate, too."""

    class Output(NamedTuple):
        loss: jax.Array
        logits: jax.Array

    plain = lambda x, batch: 1.0 + 0.5 * jnp.mean(x**2)
    find = lambda loss: loren_jax.measure_walk(loss, jnp.zeros(40), int, loren_jax.mezo)
    assert find(lambda x, batch: Output(plain(x, batch), x)) == find(plain)


def test_more_steps_and_directions_correct_more_up_to_a_bound():
    plain = find_few(key=1).walk
    of = lambda **more: find_few(key=1, **more).walk / plain
    _, steps = known()
    once = of(steps=steps)
    assert 1.0 < once < CORRECTED / 2**0.5
    np.testing.assert_allclose(of(steps=2 * steps), 2**0.5 * once, rtol=1e-5)
    np.testing.assert_allclose(of(steps=steps, num_directions=12), 2**0.5 * once, rtol=1e-5)
    np.testing.assert_allclose(of(steps=10**8), CORRECTED, rtol=1e-6)
    assert of(steps=1) == 1.0


def test_a_loss_without_slopes_tells_nothing_to_correct():
    value = lambda params, batch: 1.0 + jnp.sum(params["kernel"] ** 2)
    find = functools.partial(
        loren_jax.measure_walk, value, {"kernel": jnp.zeros((NUMBERS, 1))}, int,
        loren_jax.input_subspace, factors={"kernel": jnp.eye(NUMBERS, CURVED)},
    )  # fmt: skip
    assert find(steps=1000) == find()


def test_isotropic_noise_is_taken_as_it_is():
    find = functools.partial(
        loren_jax.measure_walk, few_curved, {"kernel": jnp.zeros((NUMBERS, 1))}, jnp.float32
    )
    assert find(loren_jax.loren, steps=10**8) == find(loren_jax.loren)
    none = functools.partial(find, loren_jax.input_subspace, factors={})
    assert none(steps=10**8) == none()


@pytest.mark.parametrize("kappa", [0.1, 0.5, 1.0, 2.0, 4.0, 8.0])
def test_noise_along_equal_curvatures_costs_a_third_of_the_share_at_most(kappa):
    """The recursion of its variance over a run whose steps fall to zero, in float64."""
    steps, d, sigma, walk, share = 4000, 5, 0.7, 0.3, 0.15
    share = kappa * d * sigma * walk / math.sqrt(steps)
    curvature = 2 * share / (d * walk**2)
    length = max(1.0, kappa) * walk / math.sqrt(steps)
    variance, worst = 0.0, 0.0
    for t in range(steps):
        rate = length / sigma * (1 - t / steps)
        variance = (1 - rate * curvature) ** 2 * variance + (rate * sigma) ** 2
        worst = max(worst, d * curvature * variance / 2)
    assert 0.1 * share < worst < share / 3


@pytest.mark.parametrize("d", [5, 50])
def test_dimensions_of_noise_along_equal_curvatures(d):
    """`e` is a sum of d squares, and what is a batch's own is no part of it."""
    rng, found = np.random.default_rng(d), []
    for _ in range(500):
        common = np.mean(rng.standard_normal((9, d)) ** 2, 1)
        evens = common * (1 + 0.2 * rng.standard_normal((3, 9)))
        found.append(1 / dimensions(evens) if dimensions(evens) < math.inf else 0.0)
    se = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - 1 / d) < 4 * se + 0.1 / d


def test_batches_that_do_not_agree_have_no_few_dimensions():
    assert dimensions(np.asarray([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])) == math.inf
    assert dimensions(np.full((3, 4), np.nan)) == math.inf


def loss(x, batch):
    return jnp.sum(x**2) + 3.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: loren_jax.measure_walk(lambda x, b: -1.0 + 0 * x[0], X, int, loren_jax.mezo),
            "the loss is -1 where the run begins",
        ),
        (
            lambda: loren_jax.measure_walk(lambda x, b: jnp.nan * x[0], X, int, loren_jax.mezo),
            "the loss is nan where the run begins: look at the model's own loss on the batch of",
        ),
        (
            lambda: loren_jax.measure_walk(loss, X, int, loren_jax.mezo, chance=-1.0),
            "chance must be above zero, got -1.0",
        ),
        (
            lambda: loren_jax.measure_walk(lambda x, b: 1.0 + 0 * x[0], X, int, loren_jax.mezo),
            "noise of .* hardly adds to the loss: give a learning rate",
        ),
        (
            lambda: loren_jax.measure_walk(
                lambda x, b: 1.0 + 1e12 * jnp.sum(x**2), 0 * X, int, loren_jax.mezo
            ),
            "noise of 9.77e-05 in the parameters still makes the loss more than 15% larger, or no",
        ),
        (
            lambda: loren_jax.measure_walk(
                lambda x, b: jnp.where(x[0] == 0, 1.0, jnp.nan), 0 * X, int, loren_jax.mezo
            ),
            "or no number: give a learning rate",
        ),
        (lambda: find_few(steps=0), "steps must be at least 1"),
    ],
)
def test_what_cannot_be_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
