"""Stacks that a program cuts down to no layer at all."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax

# More than 2^14 numbers, so that noise is drawn where it is used.
PARAMS = {"w": jax.random.normal(jax.random.key(0), (3, 80, 80))}
PROGRAMS = {
    "cut and joined": lambda w: jnp.concatenate([w[:0], w[1:]]),
    "no layer at all": lambda w: jnp.concatenate([jnp.sin(w[3:]).reshape(-1), w[0, 0]]),
    "associative scan": lambda w: jax.lax.associative_scan(jnp.add, w[:2]),
    "a loop of no turn": lambda w: (
        jax.lax.scan(lambda h, p: (h @ p, None), jnp.ones(80), w[:0])[0] + w[0, 0]
    ),
}
MAKERS = {
    "mezo": loren_jax.mezo,
    "mezo rank 1": lambda rate, **k: loren_jax.mezo(rate, rank=1, **k),
    "loren": loren_jax.loren,
    "hizoo": loren_jax.hizoo,
}


@pytest.mark.each_value
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_losses_are_those_of_copies(make, program):
    loss = lambda p: jnp.mean(jnp.sin(program(p["w"])))

    def losses(evaluation):
        optimizer = make(0.1, evaluation=evaluation)
        run = jax.jit(lambda s: optimizer.update(None, s, PARAMS, value_fn=loss)[1])
        return np.asarray(optax.tree.get(run(optimizer.init(PARAMS)), "losses"))

    copies = losses(loren_jax.evaluation.materialised)
    assert np.ptp(copies) > 0
    np.testing.assert_allclose(losses(None), copies, atol=2e-3 * np.ptp(copies) + 1e-6)
