"""A sampler tuned through its own steps: BlackJAX."""

import blackjax
import jax
import jax.numpy as jnp

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square

cases = Cases("blackjax")


def chain(p):
    """How far the samples are from one."""
    density = lambda x: -0.5 * jnp.sum((x - p["mean"]) ** 2)
    kernel = blackjax.hmc(density, jnp.exp(p["log_step"]), jnp.ones(2), 5)

    def step(state, key):
        state, _ = kernel.step(key, state)
        return state, state.position

    keys = jax.random.split(jax.random.key(0), 20)
    return mean_square(jax.lax.scan(step, kernel.init(jnp.ones(2)), keys)[1])


params = {"mean": jnp.zeros(2), "log_step": jnp.float32(-1)}
cases.of(params, {"HMC, accepted and rejected steps": chain}, scale=0.1)
