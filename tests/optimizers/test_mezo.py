"""MeZO against SPSA written out, and against Optax's own smoothed gradient as a witness."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import loren_jax
from loren_jax import noise
from loren_jax.directions import isotropic

X = jnp.asarray([0.5, -0.3, 0.8])


def loss(x):
    return jnp.sum(jnp.sin(2 * x)) + x[0] * x[1]


def test_three_steps_of_spsa():
    tx = loren_jax.mezo(0.01, num_directions=2, perturbation_scale=1e-2)
    x, state = X, tx.init(X)
    expected = np.asarray(X, np.float64)
    update = jax.jit(lambda state, x: tx.update(None, state, x, value_fn=loss))
    for t in range(3):
        step = noise.fold(noise.from_words(state[0].key), t)
        gradient = np.zeros(3)
        for k in range(2):
            key = noise.fold(step, k)
            u = np.asarray(isotropic().draw((), X, key).to_dense(), np.float64)
            f = [_loss64(expected + s * 1e-2 * u) for s in (1, -1)]
            gradient += (f[0] - f[1]) / 2e-2 / 2 * u
        expected = expected - 0.01 * gradient
        updates, state = update(state, x)
        x = optax.apply_updates(x, updates)
    np.testing.assert_allclose(x, expected, atol=1e-5)


def _loss64(x):
    return np.sum(np.sin(2 * x)) + x[0] * x[1]


def test_mean_agrees_with_optax_perturbations():
    """optax.perturbations smooths by other code: the two means lie within five standard errors."""
    scale, number = 0.3, 4000
    smooth = optax.perturbations.make_perturbed_fun(
        loss, num_samples=number, sigma=scale, noise=optax.perturbations.Normal()
    )
    witness = jax.jit(jax.vmap(lambda key: jax.grad(lambda x: smooth(key, x))(X)))(
        jax.random.split(jax.random.key(1), 20)
    )
    tx = loren_jax.estimate(
        isotropic(), loren_jax.schemes.two_sided(), num_directions=number, perturbation_scale=scale,
        chunk_size=2 * number,
    )  # fmt: skip
    one = lambda key: tx.update(None, tx.init(X)._replace(key=key), X, value_fn=loss)[0]
    ours = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(2), 20))
    error = np.sqrt((np.var(witness, 0) + np.var(ours, 0)) / 20)
    assert np.abs((np.mean(witness, 0) - np.mean(ours, 0)) / error).max() < 5
