"""The steps of `loren_jax.optimizers`, done for a toy: random signs, and queries behind."""

import dataclasses
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import ScalarOrSchedule

import loren_jax
from loren_jax import journal, noise
from loren_jax.directions import Dense
from loren_jax.directions.matrices import view_of
from loren_jax.estimators import estimate
from loren_jax.journal import Method
from loren_jax.optimizers.entry import Entry
from loren_jax.train import methods
from loren_jax.train.options import options_of
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Coefficients, Distribution, Evaluation, Scheme


class CountState(NamedTuple):
    """Directions summed so far."""

    summed: jax.Array


def signs():
    """Step 1: entries of plus or minus one."""

    def draw(state, params, key):
        leaves, treedef = jax.tree_util.tree_flatten_with_path(params)
        streams = [noise.Stream(noise.path_names(p), "signs", (), x.shape) for p, x in leaves]
        drawn = zip(leaves, noise.normals(key, streams), strict=True)
        return treedef.unflatten([Dense(jnp.sign(y), view_of(p, x)) for (p, x), y in drawn])

    def absorb(state, params, directions, coefficients, into=None):
        treedef = jax.tree.structure(params)
        targets = [None] * treedef.num_leaves if into is None else treedef.flatten_up_to(into)
        pairs = zip(treedef.flatten_up_to(directions), targets, strict=True)
        sums = [direction.combine(*coefficients, None, target)[0] for direction, target in pairs]
        return treedef.unflatten(sums), CountState(state.summed + len(coefficients.slope))

    init = lambda params, key: CountState(jnp.zeros((), jnp.int32))
    return Distribution(init, lambda state, params, key: state, draw, absorb)


def backward():
    """Step 2: one query a direction, behind the parameters, against the one at them."""

    def weigh(losses, scale):
        slope = (losses[:, 0] - losses[:, 1]) / (scale * len(losses))
        return Coefficients(slope, losses[:, 1])

    return Scheme((0.0, -1.0), weigh)


def toy(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 4,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    evaluation: Evaluation | None = None,
    key: Any = 0,
) -> ZerothOrder:
    """Step 3: descent along random signs.

    Args:
      learning_rate: a number or a schedule.
      num_directions: K.
      perturbation_scale: how far behind the parameters the loss is queried.
      evaluation: how one query runs.
      key: a seed.
    """
    estimator = estimate(
        signs(), backward(), num_directions, perturbation_scale, None, evaluation, key
    )
    return chain(estimator, descend(learning_rate))


TOY = Entry(toy, "random signs", backward, "learning rate", "1")


PARAMS = {"bias": jnp.ones(3), "kernel": jnp.cos(jnp.arange(12.0)).reshape(4, 3)}


def loss(params):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))


def test_the_toy_works_in_everything_that_the_library_has():
    optimizer, params = toy(0.02), PARAMS
    state = optimizer.init(params)
    step = jax.jit(lambda p, s: optimizer.update(None, s, p, value_fn=loss))
    for _ in range(100):
        updates, state = step(params, state)
        params = optax.apply_updates(params, updates)
    assert loss(params) < 0.2 * loss(PARAMS)
    assert optax.tree.get(state, "summed") == 400
    assert optax.tree.get(state, "losses").shape == (4, 2)

    frozen = loren_jax.trained(toy(0.02), {"bias": False, "kernel": True})
    held = jax.tree.map(jnp.copy, PARAMS)
    moved, _ = loren_jax.train_step(loss, frozen)(held, frozen.init(PARAMS))
    np.testing.assert_array_equal(moved["bias"], PARAMS["bias"])
    assert (moved["kernel"] != PARAMS["kernel"]).all()


@pytest.fixture
def in_the_table(monkeypatch):
    """Step 4: a line of `METHODS`, from which the application makes all else."""
    for reader in (methods, journal.method.optimizers):
        monkeypatch.setitem(reader.METHODS, TOY.name, TOY)
    monkeypatch.setitem(methods.OPTIONS, TOY.name, options_of(toy))


def test_the_toy_is_an_option_of_a_run_and_a_line_of_the_table(in_the_table):
    options = methods.options_named("toy")(learning_rate=0.1, num_directions=3)
    assert methods.method_name(options) == "toy"
    assert methods.passes_of_step(options, 0, 1) == 4
    assert [f.name for f in dataclasses.fields(options)] == [
        "learning_rate",
        "num_directions",
        "perturbation_scale",
    ]
    line = methods.methods_table().splitlines()[-1]
    assert line.split("  ")[0] == "toy"
    assert line.endswith(" Step 3: descent along random signs.")
    assert "K + 1" in line


def test_the_toy_replays_from_a_journal_that_names_it(in_the_table):
    description = Method("toy", {"learning_rate": 0.02}, trained=["kernel"], seed=3)
    read = Method.from_json(json.loads(json.dumps(description.as_json())))
    losses = jnp.arange(8.0).reshape(4, 2)
    made = read.build(), loren_jax.trained(toy(0.02, key=3), lambda path: path == "kernel")
    found, expected = (tx.update(None, tx.init(PARAMS), PARAMS, losses=losses)[0] for tx in made)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_the_toy_replays_from_its_losses():
    optimizer = toy(0.02)
    state = optimizer.init(PARAMS)
    updates, after = jax.jit(lambda s: optimizer.update(None, s, PARAMS, value_fn=loss))(state)
    losses = optax.tree.get(after, "losses")
    # An argument, as from a journal: what the compiler can fold it may round differently.
    absorb = jax.jit(lambda s, losses: optimizer.update(None, s, PARAMS, losses=losses))
    jax.tree.map(np.testing.assert_array_equal, updates, absorb(state, losses)[0])
