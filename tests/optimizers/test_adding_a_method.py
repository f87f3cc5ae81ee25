"""The steps of `loren_jax.optimizers`, done for a toy: random signs, and queries behind."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import loren_jax
from loren_jax import noise
from loren_jax.directions import Dense
from loren_jax.directions.matrices import view_of
from loren_jax.estimators import estimate
from loren_jax.transforms import chain, descend
from loren_jax.types import Coefficients, Directions, Scheme


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
    return Directions(init, lambda state, params, key: state, draw, absorb)


def backward():
    """Step 2: one query a direction, behind the parameters, against the one at them."""

    def weigh(losses, scale):
        slope = (losses[:, 0] - losses[:, 1]) / (scale * len(losses))
        return Coefficients(slope, losses[:, 1])

    return Scheme((0.0, -1.0), weigh)


def toy(learning_rate, *, num_directions=4, key=0):
    """Step 3: the alias."""
    estimator = estimate(signs(), backward(), num_directions=num_directions, key=key)
    return chain(estimator, descend(learning_rate))


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


def test_the_toy_replays_from_its_losses():
    optimizer = toy(0.02)
    state = optimizer.init(PARAMS)
    updates, after = jax.jit(lambda s: optimizer.update(None, s, PARAMS, value_fn=loss))(state)
    losses = optax.tree.get(after, "losses")
    # An argument, as from a journal: what the compiler can fold it may round differently.
    absorb = jax.jit(lambda s, losses: optimizer.update(None, s, PARAMS, losses=losses))
    jax.tree.map(np.testing.assert_array_equal, updates, absorb(state, losses)[0])
