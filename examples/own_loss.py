"""A Flax model and a loss of your own, trained with forward passes only, durably.

Run it again after Ctrl-C, kill -9 or a crash: it goes on, and ends in the same bits. Metrics, curve
and journal are under runs/own_loss.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

import loren_jax

model = nn.Sequential([nn.Dense(64), nn.tanh, nn.Dense(1)])
x = jax.random.uniform(jax.random.key(0), (512, 2), minval=-1, maxval=1)
y = jnp.sin(3 * x[:, :1]) * x[:, 1:]
loss = lambda params, rows: jnp.mean((model.apply(params, x[rows]) - y[rows]) ** 2)
held_out = jax.jit(lambda params: loss(params, jnp.arange(448, 512)))
batches = lambda step: jax.random.choice(jax.random.key(step), 448, (64,))
fitted = loren_jax.fit(
    loss, model.init(jax.random.key(1), x), batches, optimizer=loren_jax.loren(0.05),
    evaluate=lambda params: {"loss": held_out(params)}, steps=2000, directory="runs/own_loss",
)  # fmt: skip
print(f"held-out loss {fitted.summary.before['loss']:.3f} -> {fitted.summary.after['loss']:.3f}")
