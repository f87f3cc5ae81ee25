"""ZO-Muon against its float64 oracle, through two renewals of P."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles_low_rank as oracles
import pytest

from loren_jax.directions import subspace
from loren_jax.optimizers import zo_muon
from loren_jax.parts import trained

ETA, ETA_VECTOR, DECAY = 1e-2, 3e-3, 0.1
KNOBS = {
    "num_directions": 3,
    "perturbation_scale": oracles.EPSILON,
    "vector_learning_rate": ETA_VECTOR,
    "rank": 2,
    "every": 2,
}


def test_five_steps():
    """Steps 0, 2 and 4 renew P, once for all queries; vectors have a learning rate of their own."""
    tx = zo_muon(ETA, weight_decay=DECAY, **KNOBS)

    def oracle(step, name, layer, x, y, c, state):
        if not isinstance(y, tuple):
            return oracles.descend(x, oracles.spsa(y, c), ETA_VECTOR, DECAY)
        (p, *others), psi = y
        assert all((p == other).all() for other in others)
        g = sum(ck * one.T for ck, one in zip(c, psi, strict=True))
        return oracles.descend(x, p @ oracles.msign(g), ETA, DECAY)

    oracles.follow(tx, subspace(2, 2), oracle, oracles.one_sided, number=3, steps=5)


def test_five_steps_of_power_iterations():
    """V goes on from step to step, whatever P is; two columns of three, or all of two."""
    power = {"rank": 3, "orthogonalise": "power", "power_rank": 2}
    tx, kept = zo_muon(ETA, weight_decay=DECAY, **KNOBS | power), {}
    start = jax.tree.map(np.float64, tx.init(oracles.PARAMS)[0].directions.right)

    def oracle(step, name, layer, x, y, c, state):
        if not isinstance(y, tuple):
            return oracles.descend(x, oracles.spsa(y, c), ETA_VECTOR, DECAY)
        (p, *_), psi = y
        g = sum(ck * one.T for ck, one in zip(c, psi, strict=True))
        v = kept.get((name, layer), start[name][layer] if name == "kernel" else start[name])
        u, kept[name, layer] = oracles.power(g, v)
        return oracles.descend(x, p @ u @ kept[name, layer].T, ETA, DECAY)

    directions = subspace(3, 2, orthogonalise="power", power_rank=2)
    oracles.follow(tx, directions, oracle, oracles.one_sided, number=3, steps=5)


def updates_of(tx, params, steps=1):
    state = tx.init(params)
    step = jax.jit(lambda s: tx.update(None, s, params, value_fn=oracles.value_fn))
    for _ in range(steps):
        updates, state = step(state)
    return jax.tree.map(np.asarray, updates)


@pytest.mark.parametrize("as_tree", [False, True])
def test_masks(as_tree):
    mask = {name: name != "embedding" for name in oracles.PARAMS}
    updates = updates_of(
        trained(zo_muon(ETA, weight_decay=DECAY, **KNOBS), mask if as_tree else mask.get),
        oracles.PARAMS,
    )
    assert not updates["embedding"].any()
    assert updates["bias"].all()
    assert updates["kernel"].all()


def test_schedules_of_both_learning_rates():
    """The one is zero from the second step on, the other from the first."""
    matrices, vectors = optax.linear_schedule(0.1, 0.0, 1), optax.constant_schedule(0.0)
    knobs = KNOBS | {"vector_learning_rate": vectors}
    first = updates_of(zo_muon(matrices, **knobs), oracles.PARAMS)
    second = updates_of(zo_muon(matrices, **knobs), oracles.PARAMS, steps=2)
    assert first["kernel"].any()
    assert not any(u.any() for u in (first["bias"], *second.values()))


def test_injected_hyperparameters():
    static = ("num_directions", "rank", "every", "matrix_axes", "chunk_size", "key")
    injected = optax.inject_hyperparams(zo_muon, static_args=static)
    knobs = KNOBS | {"vector_learning_rate": optax.linear_schedule(ETA_VECTOR, 0.0, 1)}
    actual = updates_of(injected(ETA, **knobs), oracles.PARAMS)
    expected = updates_of(zo_muon(ETA, **KNOBS), oracles.PARAMS)
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-5, atol=1e-7)


def test_the_matrices_follow_matrix_axes():
    """A leaf that is declared a stack of vectors has their learning rate and no subspace."""
    axes = lambda path, shape: (-1, ()) if path == "embedding" else None
    tx = zo_muon(ETA, matrix_axes=axes, **KNOBS | {"vector_learning_rate": 1e-9})
    updates = updates_of(tx, oracles.PARAMS)
    assert np.abs(updates["embedding"]).max() < 1e-6
    assert np.abs(updates["kernel"]).max() > 1e-4


def test_the_scale_of_the_loss_does_not_matter_to_matrices():
    losses = jnp.asarray([[1.0, 1.5], [1.0, 0.25], [1.0, 2.0]])
    tx = zo_muon(ETA, **KNOBS)
    state = tx.init(oracles.PARAMS)
    update = jax.jit(lambda losses: tx.update(None, state, oracles.PARAMS, losses=losses)[0])
    small, large = update(losses), update(1e12 * losses)
    np.testing.assert_allclose(small["kernel"], large["kernel"], rtol=1e-4, atol=1e-6)
    nothing = update(jnp.ones((3, 2)))
    assert not any(np.asarray(u).any() for u in jax.tree.leaves(nothing))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"rank": 0}, "rank must be at least 1"),
        ({"every": 0}, "every must be at least 1"),
        ({"orthogonalise": "power", "power_rank": 0}, "power_rank must be at least 1"),
        ({"power_rank": 8}, "power_rank is 8, but orthogonalise 'newton_schulz' takes all"),
        ({"orthogonalise": "svd"}, "orthogonalise must be one of 'newton_schulz', 'power', got"),
        ({"vector_learning_rate": 0.0}, "vector_learning_rate must be positive"),
    ],
)
def test_bad_knobs_are_named(kwargs, message, without_checked_annotations):
    with pytest.raises(ValueError, match=message):
        zo_muon(0.1, **kwargs)
