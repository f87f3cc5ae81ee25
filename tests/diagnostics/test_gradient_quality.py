"""Estimates beside the gradient: errors are those of theory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from loren_jax import directions, estimate, loren, schemes
from loren_jax.diagnostics import compare_with_gradient
from loren_jax.parts import masked

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(5, 16)), jnp.float32)
KERNEL = jnp.asarray(RNG.normal(size=(16, 16)), jnp.float32)
IDS = jnp.asarray([0, 3, 7])


def quadratic(params):
    return jnp.sum((X @ params["w"]) ** 2) + 3 * jnp.sum(params["b"])


PARAMS = {"w": KERNEL, "b": jnp.ones(4)}


@pytest.mark.parametrize("rank", [None, 1])
def test_many_directions_point_along_the_gradient(rank):
    estimator = estimate(
        directions.isotropic(rank), schemes.two_sided(), num_directions=8000, chunk_size=16000
    )
    quality = compare_with_gradient(estimator, quadratic, PARAMS, num_estimates=2)
    assert quality.cosine > 0.97
    gradient = optax.tree.norm(jax.grad(quadratic)(PARAMS))
    np.testing.assert_allclose(quality.gradient_norm, gradient, rtol=1e-5)


def test_error_and_gain_are_those_of_theory():
    number, dimensions = 5, 260
    estimator = estimate(
        directions.isotropic(), schemes.leave_one_out(), num_directions=number, key=1
    )
    quality = compare_with_gradient(estimator, quadratic, PARAMS, num_estimates=2000)
    expected = (dimensions + 1) / (number - 1)
    assert abs(quality.relative_error - expected) < 4 * quality.relative_error_stderr
    assert quality.relative_error_stderr < 0.05 * expected
    assert abs(quality.gain - 1) < 4 * quality.gain_stderr
    assert quality.cosine_of_mean > 0.97 > 0.3 > quality.cosine


def test_a_biased_scheme_is_seen():
    halved = schemes.two_sided()
    weigh = lambda losses, scale: jax.tree.map(lambda c: c / 2, halved.weigh(losses, scale))
    estimator = estimate(directions.isotropic(), halved._replace(weigh=weigh), num_directions=50)
    quality = compare_with_gradient(estimator, quadratic, PARAMS)
    assert abs(quality.gain - 0.5) < 4 * quality.gain_stderr < 0.1


def test_rounding_shows_in_the_spread():
    loss = lambda params: 1e4 + 1e-3 * quadratic(params)
    make = lambda scale: loren(1.0, perturbation_scale=scale).estimate
    spread = lambda scale: compare_with_gradient(make(scale), loss, PARAMS, num_estimates=20)
    drowned, clear = spread(1e-4), spread(1.0)
    assert drowned.loss_spread < drowned.loss_rounding
    assert clear.loss_spread > 20 * clear.loss_rounding


def test_an_estimate_of_zero_has_cosine_zero():
    loss = lambda params: 1e8 + 1e-3 * quadratic(params)
    quality = compare_with_gradient(loren(1.0).estimate, loss, PARAMS, num_estimates=3)
    assert quality.cosine == 0 == quality.loss_spread


def test_a_part_of_the_parameters_is_compared_beside_frozen_leaves_of_any_type():
    params = {"w": KERNEL, "ids": IDS}
    loss = lambda p: jnp.sum(p["w"][p["ids"]] ** 2)
    part = masked({"w": True, "ids": False}, params)
    of_part, estimator = lambda some: loss(part.put(params, some)), loren(1.0).estimate
    quality = compare_with_gradient(estimator, of_part, part.take(params), num_estimates=5)
    assert all(np.isfinite(quality))
    gradient = jax.grad(lambda w: loss(params | {"w": w}))(KERNEL)
    np.testing.assert_allclose(quality.gradient_norm, jnp.linalg.norm(gradient), rtol=1e-5)


def test_uses_what_was_learned_and_other_noise():
    estimator = loren(1.0, damping=1e-6, num_directions=50).estimate
    state = estimator.init(PARAMS)
    gradient = jax.grad(quadratic)(PARAMS)
    vectors = {"w": jax.vmap(lambda _: gradient["b"][0])(jnp.arange(16)), "b": gradient["b"]}
    learned = state._replace(directions=state.directions._replace(covariance=vectors))
    before = compare_with_gradient(estimator, lambda p: jnp.sum(p["b"]), PARAMS, state)
    after = compare_with_gradient(estimator, lambda p: jnp.sum(p["b"]), PARAMS, learned)
    # The covariance that has the gradient as its vector removes the gradient from every direction.
    assert before.gain > 0.3
    assert abs(after.gain) < 1e-2


def test_errors_name_the_fix():
    with pytest.raises(TypeError, match="pass the estimate alone"):
        compare_with_gradient(optax.chain(loren(1.0).estimate), quadratic, PARAMS)
    with pytest.raises(ValueError, match="num_estimates"):
        compare_with_gradient(loren(1.0).estimate, quadratic, PARAMS, num_estimates=1)
