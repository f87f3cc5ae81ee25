"""How losses become coefficients."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loren_jax.schemes import (
    clipped,
    forward_passes,
    leave_one_out,
    one_sided,
    scaled_one_sided,
    scaled_two_sided,
    three_point,
    two_sided,
    weigh,
)

LOSSES = st.lists(st.floats(-10, 10, width=32), min_size=2, max_size=8)


@settings(max_examples=30, deadline=None)
@given(LOSSES)
def test_leave_one_out_is_each_loss_against_the_mean_of_the_others(losses):
    slope, score = leave_one_out().weigh(jnp.asarray(losses)[:, None], jnp.asarray(0.5))
    expected = oracles.leave_one_out(np.asarray(losses))
    np.testing.assert_allclose(score, expected, atol=1e-5)
    np.testing.assert_allclose(slope, expected / 0.5, atol=1e-5)


def test_leave_one_out_ignores_a_constant():
    losses = jnp.asarray([[1.0], [2.0], [4.0]])
    one, other = (leave_one_out().weigh(x, jnp.asarray(0.1)) for x in (losses, losses + 64))
    np.testing.assert_array_equal(one.slope, other.slope)


def test_two_sided_is_the_average_of_central_differences():
    losses = jnp.asarray([[3.0, 1.0], [0.0, 4.0]])
    slope, score = two_sided().weigh(losses, jnp.asarray(0.5))
    np.testing.assert_allclose(slope, [2 / 1 / 2, -4 / 1 / 2])
    np.testing.assert_allclose(score, oracles.leave_one_out(np.array([2.0, 2.0])), atol=1e-7)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_a_loss_that_is_not_finite_counts_for_nothing(bad):
    """The others get exactly the coefficients of a step without it."""
    losses = jnp.asarray([1.0, bad, 2.0, 4.0])
    slope, score = leave_one_out().weigh(losses[:, None], jnp.asarray(0.1))
    expected = oracles.leave_one_out(np.array([1.0, 2.0, 4.0]))
    np.testing.assert_allclose(np.delete(score, 1), expected, atol=1e-6)
    assert slope[1] == score[1] == 0
    pairs = jnp.asarray([[3.0, 1.0], [bad, 4.0], [5.0, 1.0]])
    slope, score = two_sided().weigh(pairs, jnp.asarray(0.5))
    np.testing.assert_allclose(slope, [1.0, 0.0, 2.0])
    np.testing.assert_allclose(score, [-0.5, 0.0, 0.5])


@pytest.mark.parametrize("scheme", [leave_one_out(), two_sided()])
@pytest.mark.parametrize("finite", [0, 1])
def test_with_nothing_to_compare_with_the_step_is_zero(scheme, finite):
    losses = jnp.full((4, len(scheme.points)), jnp.nan).at[:finite, 0].set(3.0)
    for coefficients in scheme.weigh(losses, jnp.asarray(0.1)):
        np.testing.assert_array_equal(coefficients, np.zeros(4))


def test_coefficients_are_float32_whatever_the_losses_are():
    for scheme in (leave_one_out(), two_sided()):
        losses = jnp.ones((2, len(scheme.points)), jnp.bfloat16)
        assert all(c.dtype == jnp.float32 for c in scheme.weigh(losses, jnp.asarray(0.1)))


def test_variance_of_leave_one_out_on_a_linear_loss():
    """Squared error d / (K - 1) of the squared gradient norm, up to O(1); within 5 %."""
    d, k, number = 200, 6, 4000
    g = jax.random.normal(jax.random.key(0), (d,))
    g = g / jnp.linalg.norm(g)

    def squared_error(key):
        u = jax.random.normal(key, (k, d))
        slope, _ = leave_one_out().weigh((u @ g)[:, None] + 100.0, jnp.asarray(1.0))
        return jnp.sum((slope @ u - g) ** 2)

    errors = jax.vmap(squared_error)(jax.random.split(jax.random.key(1), number))
    assert abs(float(errors.mean()) / ((d + 1) / (k - 1)) - 1) < 0.05


@pytest.mark.parametrize("scheme", [leave_one_out, two_sided, one_sided, three_point])
def test_a_loss_beyond_float32_is_as_good_as_infinite(scheme):
    """Its direction gets weight zero; the others are weighed as in a step without it."""
    made = scheme()
    rng = np.random.default_rng(0)
    losses = rng.normal(size=(4, len(made.points))).astype(np.float32)
    if made.points[0] == 0:
        losses[:, 0] = losses[0, 0]
    huge = losses.copy()
    huge[1, -1] = 1e36
    weighed = made.weigh(jnp.asarray(huge), jnp.float32(0.1))
    alone = made.weigh(jnp.asarray(np.delete(losses, 1, 0)), jnp.float32(0.1))
    for got, expected in zip(weighed, alone, strict=True):
        assert got[1] == 0
        np.testing.assert_allclose(np.delete(got, 1), expected, rtol=1e-5, atol=1e-6)


def test_the_centre_is_compared_with_every_query():
    losses = jnp.asarray([[1.0, 3.0], [1.0, 0.5]])
    np.testing.assert_allclose(one_sided().weigh(losses, jnp.float32(0.5)).slope, [2.0, -0.5])
    dead = losses.at[:, 0].set(jnp.nan)
    assert not np.any(one_sided().weigh(dead, jnp.float32(0.5)).slope)


def test_three_points_give_slope_and_curvature():
    """On a quadratic f(t) = 2 + 3 t - 4 t^2 along a direction: slope 3, half curvature 4."""
    f = lambda t: 2 + 3 * t - 4 * t * t
    losses = jnp.asarray([[f(0.0), f(0.1), f(-0.1)]])
    slope, score = three_point().weigh(losses, jnp.float32(0.1))
    np.testing.assert_allclose([slope[0], score[0]], [3.0, 4.0], rtol=1e-4)


def test_forward_passes():
    cost = [forward_passes(s(), 3) for s in (leave_one_out, two_sided, one_sided, three_point)]
    assert cost == [3, 6, 4, 7]


def test_clipped_slopes_are_bounded_and_small_ones_are_as_they_were():
    losses, scale = jnp.asarray([[3.0, 1.0], [0.0, 4.0], [1.0, 1.5]]), jnp.asarray(0.5)
    plain, bounded = two_sided(), clipped(two_sided(), 1.0)
    made, score = bounded.weigh(losses, scale)
    np.testing.assert_allclose(made, [1 / 3, -1 / 3, -0.5 / 3], rtol=1e-6)
    np.testing.assert_array_equal(score, plain.weigh(losses, scale).score)
    np.testing.assert_array_equal(
        clipped(plain, 100.0).weigh(losses, scale).slope, plain.weigh(losses, scale).slope
    )
    assert clipped(plain, None) is plain
    with pytest.raises(ValueError, match="max_slope must be positive"):
        clipped(plain, 0.0)


@pytest.mark.parametrize("number", range(2, 12))
@pytest.mark.parametrize("scheme", [scaled_one_sided(), scaled_two_sided()])
def test_differences_that_are_one_number_have_no_spread_to_be_divided_by(scheme, number):
    """A mean of equal ones is rounded, which would be a step of a million."""
    of = jax.jit(lambda losses, scale: scheme.weigh(losses, scale).slope)
    for seed in range(20):
        points = np.random.default_rng(seed).normal(0.8, size=2)
        losses = jnp.asarray(np.tile(points, (number, 1)), jnp.float32)
        np.testing.assert_array_equal(of(losses, jnp.float32(1e-3)), 0)
        rounded = losses.at[0, 1].multiply(1 + 1.2e-7)
        assert jnp.max(jnp.abs(of(rounded, jnp.float32(1e-3)))) < 1e3


def test_scaled_slopes_leave_unusable_losses_out():
    losses = jnp.asarray([[1.0, 3.0], [1.0, jnp.nan], [1.0, 2.0]])
    slope = scaled_one_sided().weigh(losses, jnp.asarray(0.1)).slope
    np.testing.assert_allclose(slope, [2 / (2 * 0.5), 0, 1 / (2 * 0.5)], rtol=1e-6)


def test_a_bound_counts_the_directions_that_are_usable():
    losses = jnp.asarray([[9.0, 1.0], [jnp.nan, 1.0]])
    assert clipped(two_sided(), 2.0).weigh(losses, jnp.asarray(0.5)).slope.tolist() == [2.0, 0.0]


@pytest.mark.parametrize("scheme", [leave_one_out(), two_sided(), three_point(), one_sided()])
@pytest.mark.parametrize("scale", [0.0, jnp.nan, jnp.inf])
def test_a_scale_of_nothing_has_no_slope(scheme, scale):
    losses = jnp.arange(2.0 * len(scheme.points)).reshape(2, -1)
    for found in weigh(scheme, losses, jnp.float32(scale)):
        np.testing.assert_array_equal(found, 0)
    plain = scheme.weigh(losses, jnp.float32(-0.1))
    jax.tree.map(np.testing.assert_array_equal, weigh(scheme, losses, jnp.float32(-0.1)), plain)
