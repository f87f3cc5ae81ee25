"""Mixtures of experts by `ragged_dot`: no expert is built, and queries may be mapped."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax import diagnostics, directions, noise
from loren_jax.evaluation import materialised, perturbed
from loren_jax.evaluation._perturbed.function import evaluate
from loren_jax.types import MatrixAxes

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(7, 6)), jnp.float32)
PARAMS = {
    "router": jnp.asarray(RNG.normal(size=(6, 3)), jnp.float32),
    "up": jnp.asarray(RNG.normal(size=(3, 6, 5)), jnp.float32),
    "down": jnp.asarray(RNG.normal(size=(3, 6, 5)), jnp.float32),
}
TRANSPOSED = jax.lax.RaggedDotDimensionNumbers((((1,), (2,)), ((), ())), [0], [0])


def experts(params, x=X):
    """Rows go to their experts; the last of them to none."""
    choice = jnp.argmax(x @ params["router"], axis=-1)
    order = jnp.argsort(choice)
    sizes = jnp.bincount(choice, length=3).at[2].add(-1)
    hidden = jnp.tanh(jax.lax.ragged_dot(x[order], params["up"], sizes))
    y = jax.lax.ragged_dot_general(hidden, params["down"], sizes, TRANSPOSED)
    return jnp.sum(jnp.cos(jnp.arange(y.size)).reshape(y.shape) * y)


def drawn(rank, count=4):
    law = directions.isotropic(rank)
    keys = noise.fold_all(noise.run_key(0), (count,))
    return jax.vmap(lambda key: law.draw(law.init(PARAMS, key), PARAMS, key))(keys)


@pytest.mark.each_value
@pytest.mark.parametrize("rank", [1, 2, None])
@pytest.mark.parametrize("over", [jax.vmap, lambda f: lambda d: jax.lax.map(f, d)])
def test_experts_equal_those_of_perturbed_copies(rank, over):
    scale = jnp.float32(0.01)
    copies = jax.lax.map(lambda d: materialised(experts, PARAMS).run(d, scale), drawn(rank))
    lazy = over(lambda d: perturbed(experts, PARAMS).run(d, scale))(drawn(rank))
    np.testing.assert_allclose(lazy, copies, rtol=1e-5, atol=2e-5)
    assert np.std(copies) > 0.01


def test_no_expert_is_built():
    assert diagnostics.dense_leaves(experts, PARAMS) == []


def test_axes_that_mix_group_and_matrix_cost_the_stack():
    axes = lambda path, shape: MatrixAxes((0, 1), 2) if path == "up" else None
    law = directions.isotropic(1, axes)
    assert [row.path for row in diagnostics.dense_leaves(experts, PARAMS, law)] == ["up"]


def test_perturbed_rows_are_built_and_their_experts_are_not():
    params = {"x": X, "up": PARAMS["up"]}
    sizes = jnp.asarray([2, 3, 2])
    loss = lambda params: jnp.sum(jax.lax.ragged_dot(params["x"], params["up"], sizes))
    built = {row.path for row in diagnostics.dense_leaves(loss, params)}
    assert built == {"x"}


def test_a_step_maps_over_its_queries():
    optimizer = loren_jax.loren(1e-2, rank=1)
    step = loren_jax.train_step(experts, optimizer)
    params = jax.tree.map(jnp.copy, PARAMS)
    params, state = step(params, optimizer.init(params))
    losses = optax.tree.get(state, "losses")
    assert np.isfinite(losses).all()
    assert np.std(losses) > 0


def test_experts_have_derivatives():
    law = directions.isotropic(1)
    moves = law.draw((), PARAMS, noise.run_key(3))
    copies = lambda p: experts(jax.tree.map(lambda w, d: w + 0.1 * d.to_dense(), p, moves))
    lazy = lambda p: evaluate(experts, p, moves, 0.1)
    expected, actual = jax.grad(copies)(PARAMS), jax.grad(lazy)(PARAMS)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), actual, expected)
