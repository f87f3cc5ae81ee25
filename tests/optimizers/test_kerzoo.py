"""KerZOO against its float64 oracle, step by step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles_adaptive
import pytest

from loren_jax import noise
from loren_jax.directions import isotropic, smoothed
from loren_jax.optimizers import kerzoo

KNOBS = {"scale": 1e-2, "eta": 1e-2, "half_width": 0.5, "decay": 0.1}
PARAMS = {"kernel": jnp.cos(jnp.arange(20.0)).reshape(4, 5), "bias": jnp.ones(5)}


@pytest.mark.each_value
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("kernel", "degree"), [("cubic", 3), ("quintic", 5)])
def test_steps_equal_the_oracle(steps, kernel, degree):
    tx = kerzoo(
        KNOBS["eta"],
        num_directions=2,
        perturbation_scale=KNOBS["scale"],
        half_width=KNOBS["half_width"],
        kernel=kernel,
        weight_decay=KNOBS["decay"],
    )
    params, state = PARAMS, tx.init(PARAMS)
    x = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    update = jax.jit(lambda s, p, losses: tx.update(None, s, p, losses=losses))
    rng = np.random.default_rng(0)
    for _ in range(steps):
        losses = (3.0 + rng.normal(size=(2, 2)) * 1e-2).astype(np.float32)
        keys = noise.fold_all(noise.fold(noise.from_words(state[0].key), state[0].count), (2,))
        drawn = [smoothed(isotropic()).draw((), params, key) for key in keys]
        for name in x:
            u = [np.asarray(d[name].inner.to_dense(), np.float64) for d in drawn]
            r = [float(d[name].radius) for d in drawn]
            x[name] = oracles_adaptive.kerzoo_step(
                x[name], u, r, losses.astype(np.float64), degree=degree, **KNOBS
            )
        updates, state = update(state, params, jnp.asarray(losses))
        params = optax.apply_updates(params, updates)
    for name in x:
        np.testing.assert_allclose(params[name], x[name], rtol=1e-5, atol=1e-5)


def test_queries_at_the_radius():
    """The loss is asked at x +- epsilon r u and nowhere else."""
    x = jnp.asarray([0.5, -0.3])
    tx = kerzoo(0.1, perturbation_scale=0.1)
    state = tx.init(x)
    key = noise.fold(noise.fold(noise.from_words(state[0].key), 0), 0)
    drawn = smoothed(isotropic()).draw((), x, key)
    moved = 0.1 * drawn.radius * drawn.inner.to_dense()
    weights = jnp.asarray([2.0, 3.0])
    _, state = tx.update(None, state, x, value_fn=lambda x: jnp.dot(weights, x))
    expected = [jnp.dot(weights, x + moved), jnp.dot(weights, x - moved)]
    np.testing.assert_allclose(optax.tree.get(state, "losses")[0], expected, rtol=1e-5)


def test_inject_hyperparams_and_schedules():
    injected = optax.inject_hyperparams(
        kerzoo, static_args=("num_directions", "kernel", "matrix_axes", "chunk_size", "key")
    )
    tx = injected(0.1, half_width=optax.linear_schedule(1.0, 0.5, 2))
    state = tx.init(PARAMS)
    losses = jnp.asarray([[1.1, 0.9]])
    updates, state = tx.update(None, state, PARAMS, losses=losses)
    expected, _ = kerzoo(0.1, half_width=1.0).update(
        None, kerzoo(0.1).init(PARAMS), PARAMS, losses=losses
    )
    np.testing.assert_allclose(updates["kernel"], expected["kernel"], rtol=1e-5)
