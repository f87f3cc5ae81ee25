"""The oracle evaluation: parameters in float32, perturbed, cast last."""

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax import noise
from loren_jax.directions import Zero, isotropic
from loren_jax.evaluation import materialised

PARAMS = {"kernel": jnp.ones((4, 3)), "frozen": jnp.ones((4, 3))}


def test_loss_at_the_perturbed_parameters():
    drawn = isotropic().draw((), PARAMS, noise.run_key(1)) | {"frozen": Zero.like(PARAMS["frozen"])}
    value_fn = lambda p: jnp.sum(p["kernel"] ** 2) + 10 * jnp.sum(p["frozen"])
    expected = float(np.sum((1 + 0.1 * np.asarray(drawn["kernel"].to_dense())) ** 2)) + 120
    actual = materialised(value_fn, PARAMS).run(drawn, jnp.asarray(0.1))
    np.testing.assert_allclose(actual, expected, rtol=1e-6)


def test_low_precision_parameters_are_rounded_once():
    params = jnp.full((300, 200), 0.02, jnp.bfloat16)
    directions = isotropic()
    drawn = directions.draw((), params, noise.run_key(1))
    seen = []

    def value_fn(p):
        seen.append(p)
        return jnp.mean(p)

    loss = materialised(value_fn, params).run(drawn, jnp.asarray(1e-3))
    assert loss.dtype == jnp.bfloat16  # as the function returned it
    exact = np.asarray(params, np.float32) + 1e-3 * np.asarray(drawn.to_dense())
    assert seen[0].dtype == jnp.bfloat16
    np.testing.assert_array_equal(seen[0], jnp.asarray(exact).astype(jnp.bfloat16))
    assert not jax.tree.all(jax.tree.map(lambda x: bool((x == params).all()), seen[0]))
