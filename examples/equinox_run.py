"""An Equinox module in a run that goes on after a crash, trained with forward passes only.

Run it: python examples/equinox_run.py
Run it again after Ctrl-C or kill -9: it goes on, and ends in the same bits. The journal, the
metrics and a curve are under runs/equinox. It takes ten seconds on a CPU and prints the accuracy on
held-out digits; expected: about 0.87.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

import loren_jax

digits = load_digits()
x, y = jnp.asarray(digits.data / 16, jnp.float32), jnp.asarray(digits.target)
functional = loren_jax.from_equinox(eqx.nn.MLP(64, 10, 64, depth=1, key=jax.random.key(0)))


def mean_loss(module, rows):
    """Mean cross-entropy of some rows."""
    scores = jax.vmap(module)(x[rows])
    return optax.softmax_cross_entropy_with_integer_labels(scores, y[rows]).mean()


@jax.jit
def accuracy(params):
    """Of the last 400 digits."""
    scores = jax.vmap(functional.merge(params))(x[-400:])
    return jnp.mean(jnp.argmax(scores, -1) == y[-400:])


fitted = loren_jax.fit(
    functional.loss(mean_loss),
    functional.params,
    lambda number: jax.random.choice(jax.random.key(number), len(x) - 400, (128,)),
    optimizer=loren_jax.loren(optax.cosine_decay_schedule(0.05, 1000), num_directions=16),
    evaluate=lambda params: {"accuracy": accuracy(params)},
    directory="runs/equinox",
    steps=1000,
)
trained = functional.merge(fitted.params)
print(f"accuracy {fitted.summary.before['accuracy']:.3f} -> {accuracy(fitted.params):.3f}")
