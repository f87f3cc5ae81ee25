"""An ordinary Optax training script, turned into a zeroth-order one by three changed lines.

Run it: python examples/optax_training.py
It fits a small network to a noisy sine in a few seconds on a CPU and prints the loss on the way;
expected: from about 0.5 to below 0.05.
"""

import jax
import jax.numpy as jnp
import optax

import loren_jax

x = jnp.linspace(-3, 3, 128)[:, None]
y = jnp.sin(x) + 0.05 * jax.random.normal(jax.random.key(1), x.shape)


def loss(params):
    """Mean squared error of a network with one hidden layer."""
    hidden = jnp.tanh(x @ params["up"]["kernel"] + params["up"]["bias"][None, :])
    return jnp.mean((hidden @ params["down"]["kernel"] - y) ** 2)


params = {
    "up": {"kernel": jax.random.normal(jax.random.key(2), (1, 32)), "bias": jnp.zeros(32)},
    "down": {"kernel": jnp.zeros((32, 1))},
}

# optimizer = optax.adam(1e-2)
optimizer = loren_jax.loren(2e-2, num_directions=16, perturbation_scale=1e-2)
state = optimizer.init(params)


@jax.jit
def step(params, state):
    """One update."""
    # value, gradient = jax.value_and_grad(loss)(params)
    # updates, state = optimizer.update(gradient, state, params)
    updates, state = optimizer.update(None, state, params, value_fn=loss)
    return optax.apply_updates(params, updates), state


for count in range(2000):
    params, state = step(params, state)
    if count % 400 == 0:
        print(f"step {count:5d}  loss {optax.tree.get(state, 'loss'):.4f}")
print(f"final loss {loss(params):.4f}")
