"""The table of methods that the contract suite runs on; a new method is one row."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import loren_jax


class Method(NamedTuple):
    """What the suite needs to know of a method.

    Attributes:
      make: the alias; called with a learning rate and knobs.
      knobs: knobs of this row.
      passes: forward passes a step.
      learning_rate: with which the loss falls on the suite's small problems.
      static: arguments that optax.inject_hyperparams must not touch.
      state_per_parameter: floats of state for each trained parameter, beyond the covariance
      vectors.
      estimate: the estimate alone, called with knobs.
    """

    make: Callable[..., Any]
    knobs: dict[str, Any]
    passes: int
    learning_rate: float
    static: tuple[str, ...]
    state_per_parameter: int
    estimate: Callable[..., Any]


STATIC = ("num_directions", "rank", "mask", "matrix_axes", "chunk_size", "momentum", "key")


def _mezo_estimate(**knobs):
    return loren_jax.estimate(
        loren_jax.directions.isotropic(knobs.pop("rank", None)),
        loren_jax.schemes.two_sided(),
        **({"num_directions": 1} | knobs),
    )


METHODS = {
    "loren": Method(loren_jax.loren, {}, 6, 0.01, STATIC, 1, loren_jax.scale_by_loren),
    "loren seeded": Method(
        loren_jax.loren, {"momentum": None}, 6, 0.05, STATIC, 0, loren_jax.scale_by_loren
    ),
    "loren rank 1": Method(
        loren_jax.loren,
        {"rank": 1, "momentum": None},
        6,
        0.05,
        STATIC,
        0,
        loren_jax.scale_by_loren,
    ),
    "mezo": Method(loren_jax.mezo, {}, 2, 0.04, STATIC, 0, _mezo_estimate),
    "mezo rank 2": Method(
        loren_jax.mezo,
        {"rank": 2, "num_directions": 2, "momentum": 0.9},
        4,
        0.006,
        STATIC,
        1,
        _mezo_estimate,
    ),
}

PARAMS = {
    "embeddings": {"embedding": jnp.linspace(-1, 1, 30).reshape(6, 5)},
    "layers": {
        "kernel": jnp.sin(jnp.arange(75.0)).reshape(3, 5, 5) * 0.5,
        "bias": jnp.zeros((3, 5)),
    },
    "temperature": jnp.ones(()),
}
IDS = jnp.asarray([[0, 1, 2], [3, 4, 5], [5, 1, 0], [2, 2, 3]])
TARGET = jnp.cos(jnp.arange(20.0)).reshape(4, 5)


def loss(params):
    """A small scanned network with an embedding, in the dtype of its parameters."""
    x = params["embeddings"]["embedding"][IDS].mean(1)

    def layer(x, p):
        return x + jnp.tanh(x @ p["kernel"] + p["bias"][None, :]), None

    x, _ = jax.lax.scan(layer, x, params["layers"])
    x = x * params["temperature"]
    return jnp.mean((x.astype(jnp.float32) - TARGET) ** 2)
