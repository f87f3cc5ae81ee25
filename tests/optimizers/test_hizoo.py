"""HiZOO against its float64 oracle, step by step, and its fused step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import oracles_adaptive
import pytest

import loren_jax
from loren_jax import noise
from loren_jax.directions import diagonal, sampling
from loren_jax.optimizers import hizoo
from loren_jax.transforms import train_step

KNOBS = {"scale": 1e-2, "eta": 1e-3, "alpha": 0.01, "bounds": (0.5, 2.0), "decay": 0.1}
PARAMS = {"kernel": jnp.cos(jnp.arange(20.0)).reshape(4, 5), "bias": jnp.ones(5)}


def optimizer(same=False):
    return hizoo(
        KNOBS["eta"],
        num_directions=2,
        perturbation_scale=KNOBS["scale"],
        smoothing=KNOBS["alpha"],
        bounds=KNOBS["bounds"],
        use_same_diagonal=same,
        weight_decay=KNOBS["decay"],
    )


@pytest.fixture(params=[2**14, 0], ids=["dense", "seeded"])
def small(request, monkeypatch):
    """With 0 matrices are drawn on demand, as large ones are."""
    monkeypatch.setattr(sampling, "SMALL", request.param)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("same", [False, True])
def test_steps_equal_the_oracle(same):
    """x to 1e-5 and D, which the second differences move far but not to its bounds everywhere."""
    tx, params = optimizer(same), PARAMS
    state = tx.init(params)
    x = {name: np.asarray(leaf, np.float64) for name, leaf in params.items()}
    d = {name: np.ones_like(leaf) for name, leaf in x.items()}
    update = jax.jit(lambda s, p, losses: tx.update(None, s, p, losses=losses))

    @jax.jit
    def draw(state, params):
        keys = noise.fold_all(noise.fold(noise.from_words(state.key), state.count), (2,))
        one = lambda key: diagonal().draw(state.directions, params, key)
        return jax.lax.map(lambda key: {n: y.to_dense() for n, y in one(key).items()}, keys)

    rng = np.random.default_rng(0)
    for _ in range(3):
        losses = (3.0 + rng.normal(size=(2, 3)) * 2e-3).astype(np.float32)
        losses[:, 0] = losses[0, 0]
        drawn = draw(state[0], params)
        for name in x:
            y = np.asarray(drawn[name], np.float64)
            x[name], d[name] = oracles_adaptive.hizoo_step(
                x[name], d[name], y, losses.astype(np.float64), same=same, **KNOBS
            )
        updates, state = update(state, params, jnp.asarray(losses))
        params = optax.apply_updates(params, updates)
        learned = optax.tree.get(state, "diagonal")
        for name in x:
            np.testing.assert_allclose(params[name], x[name], rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(learned[name], d[name], rtol=1e-4)
            assert np.std(d[name]) > 0.01


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_fused_step_is_update_and_apply(dtype, monkeypatch):
    monkeypatch.setattr(sampling, "SMALL", 10)  # the kernel is drawn on demand, the bias is not
    target = jnp.sin(jnp.arange(20.0)).reshape(4, 5)
    square = lambda p: jnp.sum((p["kernel"].astype(jnp.float32) - target) ** 2)
    loss = lambda p: square(p) + jnp.sum(p["bias"].astype(jnp.float32) ** 2)
    params = jax.tree.map(lambda p: p.astype(dtype), PARAMS)
    tx = optimizer()
    state = tx.init(params)
    updates, expected_state = jax.jit(lambda s, p: tx.update(None, s, p, value_fn=loss))(
        state, params
    )
    expected = optax.apply_updates(params, updates)
    copies = jax.tree.map(jnp.array, (params, state))
    ours, state = train_step(loss, tx)(*copies)
    plain = optax.tree.unwrap_random_key_data
    pairs = zip(
        jax.tree.leaves(plain((ours, state))),
        jax.tree.leaves(plain((expected, expected_state))),
        strict=True,
    )
    for a, b in pairs:
        assert a.dtype == b.dtype
        tolerance = 1e-5 if a.dtype != jnp.bfloat16 else 1e-2
        np.testing.assert_allclose(
            np.asarray(a, float), np.asarray(b, float), rtol=tolerance, atol=tolerance
        )


def test_with_a_frozen_diagonal_it_is_mezo():
    """smoothing=0: the same keys, the same directions, the same step."""
    loss = lambda p: jnp.sum(jnp.sin(p["kernel"])) + jnp.sum(p["bias"] ** 2)
    update = lambda tx: tx.update(None, tx.init(PARAMS), PARAMS, value_fn=loss)[0]
    both = lambda: (update(hizoo(0.1, smoothing=0.0)), update(loren_jax.mezo(0.1)))
    ours, theirs = jax.jit(both)()
    for name in PARAMS:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5)
