"""Every kind of direction against its dense twin, whole and combined over queries."""

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from loren_jax import noise
from loren_jax.covariance import DampedRankOne
from loren_jax.directions import sampling
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.sampling import sample
from loren_jax.directions.structured import Dense, LowRank, Seeded, Zero
from loren_jax.types import MatrixAxes

VIEWS = {
    "kernel": MatrixView((8, 12), (0,), (1,)),
    "embedding": MatrixView((12, 8), (1,), (0,)),
    "stacked kernel": MatrixView((3, 8, 12), (1,), (2,)),
    "stack last": MatrixView((8, 12, 3), (0,), (1,)),
    "two stack axes": MatrixView((2, 8, 3, 12), (1,), (3,)),
    "heads out": MatrixView((8, 3, 4), (0,), (1, 2)),
    "heads in": MatrixView((3, 4, 8), (0, 1), (2,)),
    "vector": MatrixView((9,), (0,)),
    "stacked vector": MatrixView((3, 9), (1,)),
    "scalar": MatrixView((), ()),
}
K = 4


@pytest.fixture(autouse=True)
def small_matrices_are_seeded_too(monkeypatch):
    monkeypatch.setattr(sampling, "SMALL", 0)


def draw(view, rank, learned, count=None):
    covariance = None
    if learned:
        vector = jax.random.normal(jax.random.key(5), (*view.stack, view.n))
        covariance = DampedRankOne(vector, jnp.asarray(0.1))
    one = lambda key: draw_leaf(key, view, rank, covariance)
    if count is None:
        return one(noise.run_key(0)), covariance
    return jax.vmap(one)(noise.fold_all(noise.run_key(0), (count,))), covariance


def draw_leaf(key, view, rank, covariance=None):
    return sample(
        key,
        {"leaf": jax.ShapeDtypeStruct(view.shape, jnp.float32)},
        rank=rank,
        covariance=None if covariance is None else {"leaf": covariance.vector},
        damping=1.0 if covariance is None else covariance.damping,
        matrix_axes=lambda path, shape: MatrixAxes(view.fan_in, view.fan_out),
    )["leaf"]


def as_matrices(view, x):
    """The leaf as (stack..., m, n), by moving axes one group at a time."""
    order = view.stack_axes + view.fan_out + view.fan_in
    return np.transpose(np.asarray(x, np.float64), order).reshape(*view.stack, view.m, view.n)


def dense_score(a, samples):
    return oracles.finite_difference(lambda a: oracles.log_density(a, samples, 0.1), a)


# Rank 2 with a covariance sums the scores of its columns; without one it is rank 1 again, and
# vectors have no rank.
KINDS = [(None, False), (None, True), (1, False), (1, True), (2, True)]
ROWS = [
    pytest.param(view, *kind, id=f"{name}, rank {kind[0]}{', learned' if kind[1] else ''}")
    for name, view in VIEWS.items()
    for kind in (KINDS if view.fan_out else KINDS[:-1])
]


@pytest.mark.parametrize(("view", "rank", "learned"), ROWS)
def test_combine_equals_the_dense_sums(view, rank, learned):
    slope, score = jnp.asarray([0.5, -1.0, 2.0, 0.0]), jnp.asarray([1.0, 0.5, -0.5, 2.0])
    many, covariance = draw(view, rank, learned, K)

    @jax.jit
    def run(many):
        return many.combine(slope, score, covariance), jax.lax.map(lambda d: d.to_dense(), many)

    (total, gradient), dense = run(many)
    assert dense.shape == (K, *view.shape)
    np.testing.assert_allclose(
        total, sum(c * y for c, y in zip(slope, dense, strict=True)), atol=1e-5
    )
    if not learned:
        assert gradient is None
        return
    assert gradient.shape == covariance.vector.shape
    vectors = np.asarray(covariance.vector, np.float64).reshape(-1, view.n)
    expected = np.zeros_like(vectors)
    for k in range(K):
        if isinstance(many, LowRank):  # the fan-in factor's columns are the samples
            samples = np.swapaxes(np.asarray(many.right[k], np.float64), -1, -2)
        else:
            samples = as_matrices(view, dense[k])
        samples = samples.reshape(len(vectors), -1, view.n)
        for i, a in enumerate(vectors):
            expected[i] += float(score[k]) * dense_score(a, samples[i])
    np.testing.assert_allclose(gradient.reshape(expected.shape), expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("view", [VIEWS[n] for n in ("kernel", "stacked kernel", "heads in")])
def test_low_rank_is_the_product_of_its_factors(view):
    direction, _ = draw(view, 2, True)
    assert isinstance(direction, LowRank)
    left, right = np.asarray(direction.left), np.asarray(direction.right)
    expected = left @ np.swapaxes(right, -1, -2)
    np.testing.assert_allclose(as_matrices(view, direction.to_dense()), expected, atol=1e-5)
    ranks = np.linalg.matrix_rank(as_matrices(view, direction.to_dense()), tol=1e-4)
    assert (ranks == 2).all()


def test_kinds():
    kind = lambda name, rank: type(draw(VIEWS[name], rank, False)[0])
    assert kind("kernel", None) is Seeded
    assert kind("kernel", 1) is LowRank
    assert kind("stacked vector", 1) is Dense
    assert kind("kernel", 8) is Seeded, "factors larger than the matrix gain nothing"


def test_every_layer_has_its_own_noise():
    view = VIEWS["stacked kernel"]
    for rank in (None, 1):
        y = np.asarray(draw(view, rank, False)[0].to_dense())
        assert not np.allclose(y[0], y[1])
        fewer, _ = draw(MatrixView((2, 8, 12), (1,), (2,)), rank, False)
        np.testing.assert_array_equal(fewer.to_dense(), y[:2])


@pytest.mark.parametrize("rank", [None, 1, 3])
def test_second_moment_is_the_covariance(rank):
    """E[y_i y_i^T] = Sigma for each row and E = 0 between rows, within five standard errors."""
    view, number = MatrixView((20, 20), (0,), (1,)), 4000
    many, covariance = draw(view, rank, True, number)
    y = np.asarray(jax.vmap(lambda d: d.to_dense())(many), np.float64)  # (number, n, m)
    sigma = oracles.covariance(np.asarray(covariance.vector, np.float64), 0.1)
    for rows, expected in (((0, 0), sigma), ((3, 3), sigma), ((0, 1), 0 * sigma)):
        products = y[:, :, rows[0], None] * y[:, None, :, rows[1]]
        error = products.mean(0) - expected
        assert np.abs(error / (products.std(0) / np.sqrt(number))).max() < 5


def test_low_rank_score_is_unbiased_for_any_loss():
    """E[f(y) score] = d/da E f(y): here for a quadratic with the known gradient."""
    view, number = MatrixView((5, 30), (0,), (1,)), 40_000
    rng = np.random.default_rng(0)
    c = rng.normal(size=(5, 5))
    c = c @ c.T
    a = jax.random.normal(jax.random.key(1), (5,))
    covariance = DampedRankOne(a, jnp.asarray(0.5))

    def expected_loss(a):
        return 0.5 * 30 * np.trace(c @ oracles.covariance(a, 0.5))

    def one(key):
        direction = draw_leaf(key, view, 1, covariance)
        y = direction.to_dense()
        loss = 0.5 * jnp.einsum("im,ij,jm->", y, jnp.asarray(c, jnp.float32), y)
        return (
            loss * covariance.score(direction.right, -2),
            loss,
            covariance.score(direction.right, -2),
        )

    products, losses, scores = jax.lax.map(
        one, noise.fold_all(noise.run_key(2), (number,)), batch_size=1000
    )
    centred = np.asarray(products - jnp.mean(losses) * scores, np.float64)
    expected = oracles.finite_difference(expected_loss, np.asarray(a, np.float64))
    error = centred.mean(0) - expected
    assert np.abs(error / (centred.std(0) / np.sqrt(number))).max() < 4
    assert np.abs(expected).max() > 3 * (centred.std(0) / np.sqrt(number)).max(), "no power"


def test_zero():
    direction = Zero(VIEWS["kernel"])
    np.testing.assert_array_equal(direction.to_dense(), np.zeros((8, 12)))
    assert not jax.tree.leaves(direction)


def test_directions_are_pytrees_that_keep_their_view():
    direction, _ = draw(VIEWS["kernel"], 1, False)
    doubled = jax.tree.map(lambda x: 2 * x, direction)
    assert doubled.view == direction.view
    np.testing.assert_allclose(doubled.to_dense(), 4 * direction.to_dense(), rtol=1e-6)
    paths = [jax.tree_util.keystr(p) for p, _ in jax.tree_util.tree_leaves_with_path(direction)]
    assert paths == [".left", ".right"]
