"""KerZOO's directions: the radius, the kernels' moments, and the bias that they remove."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles_adaptive
import pytest

import loren_jax
from loren_jax import noise
from loren_jax.directions import Scaled, isotropic, rank_one
from loren_jax.directions._smoothed import KERNELS, smoothed
from loren_jax.types import Coefficients

DEGREES = {"linear": 1, "cubic": 3, "quintic": 5}
PARAMS = {"kernel": jnp.zeros((4, 6)), "bias": jnp.zeros(6)}


def radii(directions, number):
    draw = lambda key: directions.draw((), jnp.zeros(2), key)
    drawn = jax.jit(jax.vmap(draw))(noise.fold_all(noise.run_key(0), (number,)))
    return np.asarray(drawn.radius, np.float64), np.asarray(drawn.weight, np.float64)


@pytest.mark.parametrize("half_width", [0.5, 1.0, 2.0])
def test_radius_is_uniform(half_width):
    """Moments of 20,000 radii within five standard errors of those of the uniform distribution."""
    r, _ = radii(smoothed(isotropic(), half_width), 20_000)
    assert np.abs(r).max() <= half_width
    for power in (1, 2, 4):
        expected = 0.0 if power % 2 else half_width**power / (power + 1)
        error = np.std(r**power) / np.sqrt(len(r))
        assert abs(np.mean(r**power) - expected) < 5 * error


@pytest.mark.parametrize("half_width", [0.5, 1.0])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernel_equals_the_oracle(kernel, half_width):
    r, weight = radii(smoothed(isotropic(), half_width, kernel, constant=3.0), 500)
    expected = 3 * oracles_adaptive.kernel(r, half_width, DEGREES[kernel])
    np.testing.assert_allclose(weight, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("half_width", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(
    ("kernel", "second"), [("linear", 1.8), ("cubic", 6.25), ("quintic", 13.25)]
)
def test_kernel_moments(kernel, second, half_width):
    """E[r K] = 1, higher odd moments vanish as far as they should; exact Gauss-Legendre sums."""
    s, weights = np.polynomial.legendre.leggauss(12)
    k = KERNELS[kernel](s) / half_width
    moment = lambda power: np.sum(weights / 2 * k * (half_width * s) ** power)
    np.testing.assert_allclose(moment(1), 1)
    for power in (3, 5):
        vanishes = power <= DEGREES[kernel]
        assert (abs(moment(power)) < 1e-12 * half_width**power) == vanishes
    product = np.sum(weights / 2 * (k * half_width * s) ** 2)
    np.testing.assert_allclose(product, second, rtol=1e-3)


def test_one_radius_for_all_leaves_of_a_query():
    """The inner noise is that of the inner directions."""
    key = noise.run_key(3)
    drawn = smoothed(isotropic()).draw((), PARAMS, key)
    assert all(isinstance(d, Scaled) for d in drawn.values())
    assert drawn["kernel"].radius == drawn["bias"].radius
    inner = isotropic().draw((), PARAMS, key)["kernel"].to_dense()
    np.testing.assert_allclose(drawn["kernel"].to_dense(), drawn["kernel"].radius * inner)


@pytest.mark.parametrize("inner", [isotropic(), isotropic(rank=1), rank_one()])
def test_estimates_with_the_weight_and_not_the_radius(inner):
    directions = smoothed(inner)
    state = directions.init(PARAMS, noise.run_key(0))
    keys = noise.fold_all(noise.run_key(1), (3,))
    drawn = jax.vmap(lambda key: directions.draw(state, PARAMS, key))(keys)
    plain = jax.vmap(lambda key: inner.draw(state, PARAMS, key))(keys)
    slope, weight = jnp.asarray([1.0, -2.0, 0.5]), drawn["kernel"].weight
    score = jnp.asarray([0.1, 0.2, -0.3])
    ours = directions.absorb(state, PARAMS, drawn, Coefficients(slope, score))
    theirs = inner.absorb(state, PARAMS, plain, Coefficients(slope * weight, score))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_cubic_kernel_removes_the_bias_of_a_cubic_loss():
    """f = x^3 / 3 at 0 has gradient 0; a pair along u gives epsilon^2 u^4 / 3 on average.

    Plain SPSA's mean is epsilon^2 E[u^4] / 3 = epsilon^2; the kernel's lies within five standard
    errors of 0, as the plain one's within five of epsilon^2.
    """
    number, scale = 40_000, 0.5
    means = {}
    for name, directions in {"plain": isotropic(), "kernel": smoothed(isotropic(), 1.0)}.items():
        tx = loren_jax.estimate(
            directions, loren_jax.schemes.two_sided(), num_directions=1, perturbation_scale=scale
        )
        start = tx.init(jnp.zeros(1))
        cube = lambda x: jnp.sum(x**3) / 3
        one = lambda t: tx.update(None, start._replace(count=t), jnp.zeros(1), value_fn=cube)[0][0]  # noqa: B023
        estimates = np.asarray(jax.jit(jax.vmap(one))(jnp.arange(number)), np.float64)
        means[name] = estimates.mean(), estimates.std() / np.sqrt(number)
    mean, error = means["plain"]
    assert abs(mean - scale**2) < 5 * error
    assert mean > 10 * error
    mean, error = means["kernel"]
    assert abs(mean) < 5 * error
    assert error < scale**2 / 10


def test_half_width_is_a_factor_of_the_scale():
    """Half-width h at epsilon and 1 at h epsilon: the same draw, the same update."""
    loss = lambda x: jnp.sum(jnp.sin(3 * x))
    x = jnp.asarray([0.3, -0.2])
    updates = [
        loren_jax.estimate(
            smoothed(isotropic(), half_width),
            loren_jax.schemes.two_sided(),
            num_directions=3,
            perturbation_scale=scale,
        )
        for half_width, scale in ((0.25, 0.4), (1.0, 0.1))
    ]
    ours, theirs = (tx.update(None, tx.init(x), x, value_fn=loss)[0] for tx in updates)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"half_width": 0.0}, "half_width must be positive"),
        ({"constant": -1.0}, "constant must be positive"),
        ({"kernel": "box"}, "kernel must be one of 'linear', 'cubic', 'quintic', got 'box'"),
    ],
)
def test_bad_knobs_are_named(kwargs, message, without_checked_annotations):
    with pytest.raises(ValueError, match=message):
        smoothed(isotropic(), **kwargs)
