"""The table of methods that the contract suite runs on; a new method is one row."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from own_factors import with_own_factors

import loren_jax


class Method(NamedTuple):
    """What the suite needs to know of a method.

    Attributes:
      make: the alias; called with a learning rate and knobs.
      learning_rate: with which the loss falls on the suite's small problems.
      knobs: knobs of this row.
      passes: forward passes of the first step.
      state: floats beyond the losses for a kernel of 64 x 32 (n x m).
      estimate: the estimate alone, called with knobs; of methods whose mean estimate is the
        preconditioned gradient.
      same_subspace: whether the updates of two steps have something in common by design.
      memory: bound of a compiled step's temporary memory, in copies of the parameters.
    """

    make: Callable[..., Any]
    learning_rate: float
    knobs: dict[str, Any]
    passes: int
    state: int
    estimate: Callable[..., Any] | None = None
    same_subspace: bool = False
    memory: float = 3.5


STATIC = (
    "num_directions",
    "rank",
    "matrix_axes",
    "chunk_size",
    "momentum",
    "key",
    "every",
    "factor_scale",
    "kernel",
    "bounds",
    "use_same_diagonal",
    "order",
    "blocks",
    "always",
)
"""Arguments that optax.inject_hyperparams must not touch."""


def _estimate(directions, scheme=None, **fixed):
    """The estimate of a method without what follows it."""

    def make(**knobs):
        own = {name: knobs.pop(name) for name in ("rank", "every", "factor_scale") if name in knobs}
        settings = {"num_directions": 1} | fixed | knobs
        return loren_jax.estimate(
            directions(**own), scheme or loren_jax.schemes.two_sided(), **settings
        )

    return make


def _input_subspace_estimate(factors, **knobs):
    spanned, scheme = loren_jax.directions.spanned(factors), loren_jax.schemes.leave_one_out()
    return loren_jax.estimate(spanned, scheme, num_directions=6, **knobs)


N = 64 * 32
_LOREN = lambda **knobs: loren_jax.loren(1.0, **knobs).estimate
_MEZO = _estimate(loren_jax.directions.isotropic)
_LAZY = {"rank": 2, "every": 10}
_LOZO = _LAZY | {"factor_scale": "rank"}

METHODS = {
    "loren": Method(loren_jax.loren, 0.01, {}, 6, N + 64, _LOREN),
    "loren seeded": Method(
        loren_jax.loren, 0.05, {"momentum": None}, 6, 64, _LOREN
    ),
    "loren rank 1": Method(
        loren_jax.loren, 0.05, {"rank": 1, "momentum": None}, 6, 64, _LOREN
    ),
    "input_subspace": Method(
        with_own_factors(loren_jax.input_subspace), 0.05, {}, 6, 64 * 16,
        with_own_factors(_input_subspace_estimate),
    ),
    "mezo": Method(loren_jax.mezo, 0.04, {}, 2, 0, _MEZO),
    "mezo_adam": Method(loren_jax.mezo_adam, 0.01, {}, 2, 2 * N, same_subspace=True),
    "mezo_svrg": Method(
        loren_jax.mezo_svrg, 0.008, {"num_directions": 2}, 4, 2 * N, same_subspace=True
    ),
    "mezo_bcd": Method(loren_jax.mezo_bcd, 0.2, {}, 2, 0),
    "lozo": Method(
        loren_jax.lozo, 0.06, _LOZO, 2, 64 * 2, _estimate(loren_jax.directions.low_rank),
        same_subspace=True,
    ),
    "lozo_m": Method(loren_jax.lozo_m, 0.06, _LOZO, 2, (64 + 32) * 2, same_subspace=True),
    "hizoo": Method(
        loren_jax.hizoo, 0.04, {}, 3, N,
        _estimate(loren_jax.directions.diagonal, loren_jax.schemes.three_point()),
    ),
    "zo_muon": Method(
        loren_jax.zo_muon, 0.1, _LAZY | {"vector_learning_rate": 0.05}, 5, 32 * 2,
        same_subspace=True,
    ),
    "subzero": Method(
        loren_jax.subzero, 0.05, _LAZY, 2, (64 + 32) * 2,
        _estimate(loren_jax.directions.core_subspace), same_subspace=True,
    ),
    "tezo": Method(
        loren_jax.tezo, 0.03, {"rank": 2, "momentum": 0.9}, 2, (64 + 32 + 1) * 2, same_subspace=True
    ),
    "r_adazo": Method(loren_jax.r_adazo, 0.001, {}, 2, 2 * N, same_subspace=True),
    "kerzoo": Method(
        loren_jax.kerzoo, 0.05, {"num_directions": 4}, 8, 0,
        _estimate(lambda: loren_jax.directions.smoothed(loren_jax.directions.isotropic())),
    ),
}  # fmt: skip

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
