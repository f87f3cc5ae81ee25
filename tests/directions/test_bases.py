"""Bases: their distribution, their shapes and when they are computed."""

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax import noise
from loren_jax.directions import bases, isotropic
from loren_jax.directions.matrices import MatrixView

PARAMS = {
    "bias": jnp.zeros((3, 8)),
    "embedding": jnp.zeros((9, 5)),
    "kernel": jnp.zeros((3, 6, 8)),
}


def test_shapes_and_clamped_ranks():
    """Fan-out m on the left, fan-in n on the right, rank min(r, m, n); nothing at a vector."""
    key = noise.run_key(0)
    shapes = {"left": bases.left_shape(7), "right": bases.right_shape(7)}
    left, right = bases.gaussian(key, PARAMS, None, **shapes)
    assert jax.tree.map(jnp.shape, left) == {
        "bias": None,
        "embedding": (9, 5),
        "kernel": (3, 8, 6),
    }
    assert jax.tree.map(jnp.shape, right)["kernel"] == (3, 6, 6)
    start = bases.zeros(PARAMS, bases.left_shape(7), None)
    assert jax.tree.map(jnp.shape, start) == jax.tree.map(jnp.shape, left)
    like = bases.zeros(PARAMS, bases.left_shape(2), None, vectors=True)
    assert like["bias"].shape == (3, 8)
    assert bases.rank_of(MatrixView((2, 9), (1,), (0,)), 4) == 2


def test_layers_leaves_and_sides_are_independent():
    """The largest of all correlations of 400 columns lies within five standard errors of zero."""
    params = {name: jnp.zeros((2, 20, 20)) for name in ("a", "b")}
    shapes = {"left": bases.left_shape(20), "right": bases.right_shape(20)}
    drawn = bases.gaussian(noise.run_key(0), params, None, **shapes)
    flat = np.concatenate([np.reshape(leaf, (2, -1)) for leaf in jax.tree.leaves(drawn)])
    off = np.abs(np.corrcoef(flat) - np.eye(len(flat)))
    assert len(flat) == 8
    assert off.max() < 5 / np.sqrt(400)


def test_orthonormal_bases_are_uniform():
    """Columns are orthonormal to 1e-5; over 4,000 draws each entry has mean 0 and mean square 1/m,
    and the first row's entries are uncorrelated, within five standard errors. Without the signs of
    R the mean of an entry of the diagonal is off by more than seventy of them."""
    params = {"kernel": jnp.zeros((4000, 3, 5))}
    shape = bases.left_shape(3)
    (basis,) = jax.jit(lambda key: bases.orthonormal(key, params, None, basis=shape))(
        noise.run_key(0)
    )
    q = np.asarray(basis["kernel"], np.float64)
    assert q.shape == (4000, 5, 3)
    np.testing.assert_allclose(q.swapaxes(-1, -2) @ q, np.tile(np.eye(3), (4000, 1, 1)), atol=1e-5)
    for values, mean in ((q, 0.0), (q**2, 0.2), (q[:, 0, :1] * q[:, 0, 1:], 0.0)):
        error = values.std(0) / np.sqrt(len(values))
        assert np.abs((values.mean(0) - mean) / error).max() < 5


def test_a_basis_is_computed_only_when_it_is_renewed():
    calls = []
    count = lambda: calls.append(1) or np.ones((), np.float32)
    renew = lambda: jax.pure_callback(count, jax.ShapeDtypeStruct((), jnp.float32))
    step = jax.jit(lambda t, kept: bases.every_steps(3, t, renew, kept))
    kept = jnp.zeros(())
    for t in range(7):
        kept = jax.block_until_ready(step(jnp.asarray(t), kept))
        assert len(calls) == t // 3 + 1
    assert kept == 1


def test_vectors_have_the_noise_of_isotropic_directions():
    key = noise.run_key(3)
    (right,) = bases.gaussian(key, PARAMS, None, basis=bases.right_shape(2))
    lift = lambda left, right: (left, right)
    drawn = bases.draw_directions(key, PARAMS, "left", bases.left_shape(2), None, lift, right)
    expected = isotropic().draw((), PARAMS, key)
    np.testing.assert_array_equal(drawn["bias"].to_dense(), expected["bias"].to_dense())
    assert drawn["embedding"].left.shape == (9, 2)
