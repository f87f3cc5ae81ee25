"""A policy in a simulated world: Brax."""

import jax
import jax.numpy as jnp
from brax import envs

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import normal

cases = Cases("brax")


@cases(scale=0.1)
def pendulum():
    """inverted_pendulum, 20 steps."""
    world = envs.get_environment("inverted_pendulum", backend="spring")
    start = jax.jit(world.reset)(jax.random.key(0))
    params = {
        "up": normal(1, world.observation_size, 16),
        "down": jnp.zeros((16, world.action_size)),
    }

    def loss(p):
        def step(state, _):
            action = jnp.tanh(jnp.tanh(state.obs @ p["up"]) @ p["down"])
            state = world.step(state, action)
            return state, state.reward - jnp.abs(state.obs[1])

        return -jnp.mean(jax.lax.scan(step, start, None, length=20)[1])

    return params, loss
