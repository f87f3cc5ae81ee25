"""AdaMeZO against its float64 oracle, step by step, and what it keeps and holds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles_adaptive
import pytest

import loren_jax
from loren_jax import noise
from loren_jax.directions import isotropic, sampling
from loren_jax.directions.structured import low_rank
from loren_jax.optimizers import adamezo

KNOBS = {"eta": 1e-2, "b1": 0.6, "b2": 0.8, "eps": 1e-3, "decay": 0.1, "horizon": 3}
PARAMS = {"kernel": jnp.cos(jnp.arange(40.0)).reshape(2, 4, 5), "bias": jnp.ones(5)}


def optimizer(rank=None, **knobs):
    own = {name: KNOBS[name] for name in ("b1", "b2", "eps", "horizon")}
    own |= {"num_directions": 2, "perturbation_scale": 1e-2, "weight_decay": KNOBS["decay"]}
    return adamezo(KNOBS["eta"], rank=rank, **own | knobs)


def some_losses(number, shape=(2, 2)):
    rng = np.random.default_rng(0)
    return [(3.0 + rng.normal(size=shape) * 1e-2).astype(np.float32) for _ in range(number)]


def gradients64(state, losses, rank):
    """The estimate of one step, leaf by leaf; of a direction that has lost a loss nothing."""
    keys = noise.fold_all(noise.fold(noise.from_words(state.key), state.count), (2,))
    drawn = [isotropic(rank).draw((), PARAMS, key) for key in keys]
    finite = [k for k in range(2) if np.isfinite(losses[k]).all()]
    found = {}
    for name, leaf in PARAMS.items():
        u = [np.asarray(drawn[k][name].to_dense(), np.float64) for k in finite]
        own = losses[finite].astype(np.float64)
        found[name] = oracles_adaptive.spsa(u, own, 1e-2) if finite else np.zeros(leaf.shape)
    return found


@pytest.mark.parametrize("rank", [None, 1, 2, "seeded"])
def test_steps_equal_the_oracle(rank, monkeypatch):
    """Five steps, of which the last three count; in one a loss is lost, in one all of them."""
    if rank == "seeded":  # drawn where it is used, block by block
        rank = None
        monkeypatch.setattr(sampling, "SMALL", 0)
    if rank == 2:  # more terms than are written out
        monkeypatch.setattr(low_rank, "FUSED", 3)
    tx, params = optimizer(rank), PARAMS
    state = tx.init(params)
    x = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    absorb = loren_jax.transforms.compiled_absorb(tx)
    update = jax.jit(lambda s, p, losses: tx.update(None, s, p, losses=losses))
    given, past = some_losses(5), []
    given[2][1, 0], given[3][:] = np.nan, np.inf
    for losses in given:
        past.insert(0, gradients64(state[0], losses, rank))
        for name in x:
            x[name] = oracles_adaptive.adamezo_step(x[name], [g[name] for g in past], **KNOBS)
        updates, _ = update(state, params, losses)
        by_updates = optax.apply_updates(params, updates)
        params, state = absorb(jax.tree.map(jnp.copy, params), state, losses)
        for name in x:
            np.testing.assert_allclose(params[name], x[name], rtol=1e-5, atol=2e-5)
            np.testing.assert_allclose(by_updates[name], params[name], rtol=1e-5, atol=1e-6)


def test_what_is_kept_are_the_slopes_of_the_last_steps():
    tx = optimizer(perturbation_scale=optax.linear_schedule(0.5, 0.0, 10))
    state = tx.init(PARAMS)
    update = jax.jit(lambda s, losses: tx.update(None, s, PARAMS, losses=losses)[1])
    for step in range(4):
        state = update(state, jnp.asarray([[1.0, 0.0], [0.0, jnp.nan]]) * (step + 1))
    slopes = [(step + 1) / (2 * 0.05 * (10 - step)) for step in (3, 2, 1)]
    np.testing.assert_allclose(state[0].slopes, [[s, 0.0] for s in slopes], rtol=1e-5)
    assert sum(x.size for x in jax.tree.leaves(state)) == 3 * 2 + 2 * 2 + 2 + 3


def test_the_first_step_is_of_the_sign_of_the_estimate():
    """Whatever the decays are; without eps, where nothing was found nothing moves."""
    tx = optimizer(eps=0.0, weight_decay=0.0, num_directions=1)
    update = jax.jit(lambda losses: tx.update(None, tx.init(PARAMS), PARAMS, losses=losses)[0])
    signs = jax.tree.map(lambda u: np.unique(np.abs(u)), update(jnp.asarray([[1.0, 0.0]])))
    for found in signs.values():
        np.testing.assert_allclose(found, KNOBS["eta"], rtol=1e-5)
    assert not any(u.any() for u in jax.tree.leaves(update(jnp.ones((1, 2)))))


@pytest.mark.parametrize(("rank", "horizon"), [(None, 10), (1, 10), (9, 1)])
def test_no_moment_of_all_parameters_is_ever_held(rank, horizon):
    """64 matrices, in a stack and apart; a step in place holds a fraction of them."""
    shapes = {"stack": (60, 256, 256)} | dict.fromkeys("abcd", (256, 256))
    params = {name: jax.ShapeDtypeStruct(s, jnp.float32) for name, s in shapes.items()}
    tx = adamezo(0.1, rank=rank, horizon=horizon, num_directions=2)
    absorb = loren_jax.transforms.compiled_absorb(tx)
    lowered = absorb.lower(params, jax.eval_shape(tx.init, params), jnp.ones((2, 2)))
    size = 4 * sum(leaf.size for leaf in params.values())
    assert lowered.compile().memory_analysis().temp_size_in_bytes < 0.5 * size


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"b1": 1.0}, "b1 must be at least 0 and below 1"),
        ({"b2": -0.1}, "b2 must be at least 0 and below 1"),
        ({"eps": -1.0}, "eps must be zero or more"),
        ({"horizon": 0}, "horizon must be at least 1"),
    ],
)
def test_bad_knobs_are_named(kwargs, message):
    with pytest.raises(ValueError, match=message):
        adamezo(0.1, **kwargs)
