"""One direction for each row of a batch: against losses of perturbed copies, one at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax import noise
from loren_jax.directions import isotropic
from loren_jax.losses import per_example

ROWS, EPSILON = 4, 1e-2
PARAMS = {"bias": jnp.zeros(2), "kernel": jnp.sin(jnp.arange(6.0)).reshape(3, 2)}
BATCH = {"x": jnp.cos(jnp.arange(12.0)).reshape(4, 3), "y": jnp.asarray([0, 1, 0, 1])}


def loss(params, batch):
    logits = jnp.tanh(batch["x"] @ params["kernel"] + params["bias"][None])
    return jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch["y"]))


def loss64(params, x, y):
    logits = np.tanh(x @ params["kernel"] + params["bias"])
    return np.log(np.sum(np.exp(logits))) - logits[y]


def wide(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


@pytest.mark.each_value
@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("chunk_size", [None, 1, 3])
def test_each_row_is_asked_along_its_own_direction(rank, chunk_size):
    tx = loren_jax.mezo(
        0.1, num_directions=ROWS, perturbation_scale=EPSILON, rank=rank, chunk_size=chunk_size
    )
    state = tx.init(PARAMS)
    value_fn = per_example(loss).bind(BATCH)
    updates, after = jax.jit(lambda s: tx.update(None, s, PARAMS, value_fn=value_fn))(state)
    step = noise.fold(noise.from_words(state[0].key), 0)
    expected, estimate = np.zeros((ROWS, 2)), jax.tree.map(lambda x: np.zeros(x.shape), PARAMS)
    for k in range(ROWS):
        u = isotropic(rank).draw((), PARAMS, noise.fold(step, k))
        u = wide({name: one.to_dense() for name, one in u.items()})
        row = np.asarray(BATCH["x"][k], np.float64), int(BATCH["y"][k])
        moved = lambda s, u=u: jax.tree.map(lambda x, v: x + s * EPSILON * v, wide(PARAMS), u)
        expected[k] = [loss64(moved(s), *row) for s in (1, -1)]
        slope = (expected[k, 0] - expected[k, 1]) / (2 * EPSILON * ROWS)
        estimate = jax.tree.map(lambda g, v, c=slope: g + c * v, estimate, u)
    np.testing.assert_allclose(optax.tree.get(after, "losses"), expected, atol=1e-6)
    for name, g in estimate.items():
        np.testing.assert_allclose(updates[name], -0.1 * g, atol=2e-5)


def test_the_centre_of_a_row_is_its_own_loss():
    tx = loren_jax.fzoo(0.1, num_directions=ROWS)
    value_fn = per_example(loss).bind(BATCH)
    _, state = tx.update(None, tx.init(PARAMS), PARAMS, value_fn=value_fn)
    rows = zip(np.asarray(BATCH["x"]), np.asarray(BATCH["y"]), strict=True)
    expected = [loss64(wide(PARAMS), *row) for row in rows]
    np.testing.assert_allclose(optax.tree.get(state, "losses")[:, 0], expected, atol=1e-6)


def test_a_mask_around_it_keeps_rows_apart():
    tx = loren_jax.trained(loren_jax.mezo(0.1, num_directions=ROWS), lambda path: path == "bias")
    value_fn = per_example(loss).bind(BATCH)
    updates, state = tx.update(None, tx.init(PARAMS), PARAMS, value_fn=value_fn)
    spread = np.ptp(np.mean(optax.tree.get(state, "losses"), 1))
    assert spread > 0.01  # rows differ; directions alone change a loss of the batch by less
    assert not np.any(updates["kernel"])
    assert np.all(updates["bias"])


def test_a_run_of_train_step_learns():
    tx = loren_jax.grzo(0.02, num_directions=ROWS)
    step, params = loren_jax.train_step(per_example(loss), tx), jax.tree.map(jnp.copy, PARAMS)
    state, before = tx.init(params), float(loss(params, BATCH))
    for _ in range(100):
        params, state = step(params, state, BATCH)
    assert float(loss(params, BATCH)) < before - 0.1


def normalised(params, batch):
    """As by batch norm: what a row is worth depends on the others."""
    x = batch["x"] - jnp.mean(batch["x"], 0, keepdims=True)
    return loss(params, {"x": x / (jnp.std(x, 0, keepdims=True) + 1e-3), "y": batch["y"]})


def over_tokens(params, batch):
    """A mean over what is not padding, of which one row has more than another."""
    weights = jnp.arange(1.0, 5.0)[: len(batch["y"])] + batch["x"][:, 0]
    logits = batch["x"] @ params["kernel"] + params["bias"][None]
    nats = optax.losses.softmax_cross_entropy_with_integer_labels(logits, batch["y"])
    return jnp.sum(nats * weights) / jnp.sum(weights)


@pytest.mark.parametrize("coupled", [normalised, over_tokens])
def test_a_loss_that_couples_rows_is_refused(coupled):
    tx = loren_jax.mezo(0.1, num_directions=ROWS)
    step = loren_jax.train_step(per_example(coupled), tx)
    with pytest.raises(ValueError, match="so they are coupled: make it a mean over rows"):
        step(PARAMS, tx.init(PARAMS), BATCH)


def test_a_loss_that_is_no_number_is_not_called_coupled():
    tx = loren_jax.mezo(0.1, num_directions=ROWS)
    broken = {**PARAMS, "bias": jnp.full_like(PARAMS["bias"], jnp.nan)}
    step = loren_jax.train_step(per_example(loss), tx)
    with pytest.raises(ValueError, match="the loss of the batch is nan, so that nothing tells"):
        step(broken, tx.init(broken), BATCH)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (loren_jax.mezo(0.1, num_directions=3), "set num_directions=4"),
        (loren_jax.loren(0.1, num_directions=ROWS), "compares directions with each other"),
    ],
)
def test_what_gives_rows_no_direction_of_their_own_is_refused(optimizer, message):
    value_fn = per_example(loss).bind(BATCH)
    with pytest.raises(ValueError, match=message):
        optimizer.update(None, optimizer.init(PARAMS), PARAMS, value_fn=value_fn)
