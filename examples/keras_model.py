"""A Keras model, trained with forward passes only and given back to Keras.

Run it: python examples/keras_model.py
Each layer has a name, as Keras would number those without one anew in each program. It takes ten
seconds on a CPU and prints the accuracy on held-out digits; expected: about 0.87.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import jax.numpy as jnp
import keras
import optax
from keras import layers
from sklearn.datasets import load_digits

import loren_jax

digits = load_digits()
x, y = jnp.asarray(digits.data / 16, jnp.float32), jnp.asarray(digits.target)
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        layers.Input((64,)),
        layers.Dense(64, activation="relu", name="up"),
        layers.Dropout(0.1, name="drop"),
        layers.Dense(10, name="head"),
    ]
)
functional = loren_jax.from_keras(model)


def loss(params, rows, key):
    """Mean cross-entropy of some rows, under the dropout of a key."""
    scores = functional.merge(params, key=key)(x[rows], training=True)
    return optax.softmax_cross_entropy_with_integer_labels(scores, y[rows]).mean()


optimizer = loren_jax.loren(optax.cosine_decay_schedule(0.05, 1000), num_directions=16)
step = loren_jax.train_step(loss, optimizer)
params = jax.tree.map(jnp.copy, functional.params)  # a step changes what it is given in place
state = optimizer.init(params)
for number in range(1000):
    key = jax.random.key(number)
    params, state = step(params, state, jax.random.choice(key, len(x) - 400, (128,)), key)
functional.merge(params).assign()
scores = model.predict(x[-400:], verbose=0)
print(f"accuracy {jnp.mean(jnp.argmax(scores, -1) == y[-400:]):.3f}")
