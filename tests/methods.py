"""The table of methods that the contract suite runs on; a new method is one row."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from own_factors import number_of_factors, with_own_factors

import loren_jax
from loren_jax import optimizers


class Method(NamedTuple):
    """What the suite needs to know of a method beside its entry in `loren_jax.optimizers`.

    Attributes:
      make: the alias; called with a learning rate and knobs.
      learning_rate: with which the loss falls on the suite's small problems.
      knobs: knobs of this row.
      unbiased: whether the mean estimate is the preconditioned gradient.
      same_subspace: whether the updates of two steps have something in common by design.
      memory: bound of a compiled step's temporary memory, in copies of the parameters.
    """

    make: Callable[..., Any]
    learning_rate: float
    knobs: dict[str, Any]
    unbiased: bool = False
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
    "orthogonalise",
    "power_rank",
    "horizon",
)
"""Arguments that optax.inject_hyperparams must not touch."""


LAZY = {"rank": 2, "every": 10}
LOZO = LAZY | {"factor_scale": "rank"}

METHODS = {
    "loren": Method(loren_jax.loren, 0.05, {}, unbiased=True),
    "loren momentum": Method(loren_jax.loren, 0.01, {"momentum": 0.9, "rank": None}, unbiased=True),
    "loren seeded": Method(loren_jax.loren, 0.05, {"rank": None}, unbiased=True),
    "loren rank 1": Method(loren_jax.loren, 0.05, {"rank": 1}, unbiased=True),
    "input_subspace": Method(with_own_factors(loren_jax.input_subspace), 0.05, {}, unbiased=True),
    "mezo": Method(loren_jax.mezo, 0.04, {}, unbiased=True),
    "mezo signs": Method(loren_jax.mezo, 0.04, {"rank": "signs"}, unbiased=True),
    "mezo_adam": Method(loren_jax.mezo_adam, 0.01, {}, same_subspace=True),
    "mezo_svrg": Method(loren_jax.mezo_svrg, 0.008, {"num_directions": 2}, same_subspace=True),
    "mezo_bcd": Method(loren_jax.mezo_bcd, 0.2, {}),
    "lozo": Method(loren_jax.lozo, 0.06, LOZO, unbiased=True, same_subspace=True),
    "lozo_m": Method(loren_jax.lozo_m, 0.06, LOZO, same_subspace=True),
    "hizoo": Method(loren_jax.hizoo, 0.04, {}, unbiased=True),
    "zo_muon": Method(
        loren_jax.zo_muon, 0.1, LAZY | {"vector_learning_rate": 0.05}, same_subspace=True
    ),
    "subzero": Method(loren_jax.subzero, 0.05, LAZY, unbiased=True, same_subspace=True),
    "tezo": Method(loren_jax.tezo, 0.03, {"rank": 2, "momentum": 0.9}, same_subspace=True),
    "r_adazo": Method(loren_jax.r_adazo, 0.001, {}, same_subspace=True),
    "fzoo": Method(loren_jax.fzoo, 0.01, {"num_directions": 4}),
    "grzo": Method(loren_jax.grzo, 0.01, {"num_directions": 3}),
    "kerzoo": Method(loren_jax.kerzoo, 0.05, {"num_directions": 4}, unbiased=True),
    "adamezo": Method(loren_jax.adamezo, 0.01, {"horizon": 4}, same_subspace=True),
    "zo_muon power": Method(
        loren_jax.zo_muon,
        0.1,
        LAZY | {"vector_learning_rate": 0.05, "orthogonalise": "power", "power_rank": 1},
        same_subspace=True,
    ),
}
"""By a method's name, or that and a word."""


def rows(names):
    """A test on each of these, with what one worker has compiled of a row staying with it."""
    marked = [pytest.param(n, marks=pytest.mark.xdist_group(n)) for n in names]
    return pytest.mark.parametrize("name", marked)


EACH = rows(name for name in METHODS if " " not in name)
OF_EACH_KIND = rows(
    [
        "loren",
        "input_subspace",
        "mezo_adam",
        "mezo_svrg",
        "mezo_bcd",
        "lozo_m",
        "hizoo",
        "zo_muon",
        "grzo",
    ]
)
"""One method for each way to draw, to ask and to move: for what one function does for all."""


def settings(name):
    """The arguments of a row, and for all others the factory's defaults."""
    row = METHODS[name]
    defaults = {n: p.default for n, p in inspect.signature(row.make).parameters.items()}
    return defaults | row.knobs


def declared_passes(name):
    """Forward passes of the first step, as the method's entry has them: `2 K + 1`."""
    words = optimizers.METHODS[name.split()[0]].passes
    return number(re.match(r"[\dK +]+", words)[0], K=settings(name)["num_directions"])


def declared_state(name, m, n):
    """Floats for an m x n matrix, as the entry has them: `(m + n) r; with momentum + r`."""
    own, _, more = optimizers.METHODS[name.split()[0]].state.partition("; with ")
    option, _, added = more.partition(" ")
    knobs = settings(name)
    words = own + added if knobs.get(option) is not None or option in knobs.values() else own
    letters = {"N": m * n, "m": m, "n": n, "r": knobs.get("rank"), "q": number_of_factors(n)}
    letters |= {"k": knobs.get("power_rank"), "K": knobs["num_directions"]}
    return number(words, h=knobs.get("horizon"), **letters)


def number(words, **letters):
    """What an expression comes to in which a space between two factors is a product."""
    return eval(re.sub(r"(?<=[\w)]) (?=[\w(])", "*", words.strip()), letters)


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
