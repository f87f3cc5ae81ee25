"""A Flax NNX model with dropout, trained with forward passes only on scikit-learn's digits.

Run it: python examples/nnx_dropout.py
All queries of a step drop the same units, as they have one key; the next step has another. It takes
ten seconds on a CPU and prints the accuracy on held-out digits; expected: about 0.89.
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from sklearn.datasets import load_digits

import loren_jax


class Classifier(nnx.Module):
    """One hidden layer."""

    def __init__(self, rngs):
        self.up = nnx.Linear(64, 64, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)
        self.head = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        """Scores of the ten digits."""
        return self.head(self.drop(nnx.relu(self.up(x))))


digits = load_digits()
x, y = jnp.asarray(digits.data / 16, jnp.float32), jnp.asarray(digits.target)
functional = loren_jax.from_nnx(Classifier(nnx.Rngs(0)))


def loss(params, rows, key):
    """Mean cross-entropy of some rows, under the dropout of a key."""
    model = functional.merge(params, key=key)
    return optax.softmax_cross_entropy_with_integer_labels(model(x[rows]), y[rows]).mean()


@jax.jit
def accuracy(params):
    """Of the last 400 digits, without dropout."""
    model = functional.merge(params)
    model.eval()
    return jnp.mean(jnp.argmax(model(x[-400:]), -1) == y[-400:])


optimizer = loren_jax.loren(optax.cosine_decay_schedule(0.05, 1000), num_directions=16)
step = loren_jax.train_step(loss, optimizer)
params = jax.tree.map(jnp.copy, functional.params)  # a step changes what it is given in place
state = optimizer.init(params)
before = accuracy(params)
for number in range(1000):
    key = jax.random.key(number)
    params, state = step(params, state, jax.random.choice(key, len(x) - 400, (128,)), key)
trained = functional.merge(params)
print(f"accuracy {before:.3f} -> {accuracy(params):.3f}")
