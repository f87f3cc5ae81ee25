"""A kind of direction with `view` and `to_dense` alone works everywhere, as its arrays do."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from loren_jax import covariance, evaluation, noise, schemes
from loren_jax.diagnostics import DenseLeaf, dense_leaves
from loren_jax.directions import Dense, Direction, MatrixView, isotropic, smoothed
from loren_jax.directions.matrices import view_of
from loren_jax.directions.sums import weighted_sum
from loren_jax.estimators import estimate
from loren_jax.evaluation._perturbed.function import evaluate
from loren_jax.types import Distribution


@dataclass(frozen=True)
class Chequered(Direction):
    """One number for each row, with signs that change from column to column.

    Attributes:
      rows: the query's own numbers.
      size: of all rows, the same for all queries.
      view: the leaf's matrix view.
    """

    rows: jax.Array
    size: jax.Array
    view: MatrixView

    def to_dense(self):
        shape = self.view.shape
        signs = jnp.broadcast_to((-1.0) ** jnp.arange(shape[-1]), shape)
        return self.size * self.rows.reshape(*shape[:-1], 1) * signs


PARAMS = {
    "kernel": jnp.asarray(np.random.default_rng(0).normal(size=(6, 5)), jnp.float32),
    "stack": jnp.ones((3, 5, 5), jnp.bfloat16),
    "bias": jnp.zeros(5),
}
X = jnp.asarray(np.random.default_rng(1).normal(size=(4, 6)), jnp.float32)


def loss(params):
    h = X @ params["kernel"] + params["bias"][None]
    h, _ = jax.lax.scan(lambda h, w: (jnp.tanh(h @ w.astype(h.dtype)), None), h, params["stack"])
    return jnp.mean(h**2)


def drawn(make):
    """A distribution whose draw is `make(chequered)` for every leaf."""

    def draw(state, params, key):
        def one(path, leaf):
            view = view_of(path, leaf)
            own = noise.fold_name(key, noise.path_names(path)[-1])
            (rows,) = noise.normals(own, [noise.Stream((), "rows", (), (view.shape[:-1] or (1,)))])
            return make(Chequered(rows, jnp.float32(2), view))

        return jax.tree_util.tree_map_with_path(one, params)

    keep = lambda state, params, key: state
    return Distribution(lambda params, key: optax.EmptyState(), keep, draw, weighted_sum)


CHEQUERED = drawn(lambda direction: direction)
ORACLE = drawn(lambda direction: Dense(direction.to_dense(), direction.view))
MESH = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
EVALUATIONS = {
    "perturbed": None,
    "materialised": evaluation.materialised,
    "sharded": evaluation.sharded(MESH, weights=lambda path, shape: PartitionSpec()),
}


def close(actual, expected):
    check = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    wide = lambda tree: jax.tree.map(lambda x: np.asarray(x, np.float32), tree)
    jax.tree.map(check, wide(actual), wide(expected))


@pytest.mark.parametrize(
    ("evaluation", "number", "chunk_size"),
    [
        *[("perturbed", *how) for how in ((1, None), (3, None), (3, 1), (3, 2))],
        *[("materialised", 3, 2), ("sharded", 3, 2)],
    ],
)
def test_a_step_is_that_of_its_arrays(evaluation, number, chunk_size):
    make = partial(
        estimate, scheme=schemes.two_sided(), num_directions=number, perturbation_scale=0.01
    )
    tx = make(CHEQUERED, evaluation=EVALUATIONS[evaluation], chunk_size=chunk_size)
    oracle = make(ORACLE)
    into = jax.tree.map(lambda x: jnp.ones_like(x, jnp.float32), PARAMS)

    @jax.jit
    def run():
        state = tx.init(PARAMS)
        updates, after = tx.update(None, state, PARAMS, value_fn=loss)
        expected, known = oracle.update(None, state, PARAMS, value_fn=loss)
        # A difference of two losses is rounded much; from the same losses both give the same.
        absorbed = oracle.update(None, state, PARAMS, losses=after.losses)[0]
        add = lambda tx: tx.update.accumulate(state, PARAMS, into, -0.5, losses=after.losses)[0]
        pairs = (after.losses, known.losses), (updates, absorbed), (add(tx), add(oracle))
        return pairs, expected

    pairs, expected = run()
    assert float(jnp.max(jnp.abs(expected["kernel"]))) > 1e-3
    for found, wanted in pairs:
        close(found, wanted)


def test_a_step_on_a_mesh_whose_devices_share_the_weights_is_that_of_its_arrays():
    sharded = evaluation.sharded(MESH, weights=lambda path, shape: PartitionSpec("data"))
    tx = estimate(CHEQUERED, schemes.leave_one_out(), num_directions=2, evaluation=sharded)
    state = tx.init(PARAMS)
    _, after = jax.jit(partial(tx.update, None, value_fn=loss))(state, PARAMS)
    oracle = estimate(ORACLE, schemes.leave_one_out(), num_directions=2)
    _, expected = oracle.update(None, oracle.init(PARAMS), PARAMS, value_fn=loss)
    close(after.losses, expected.losses)


@pytest.mark.parametrize("shape", [(6, 5), (3, 4, 5), (5,)])
def test_sums_scores_and_squares_are_those_of_its_arrays(shape):
    view = view_of((), jnp.zeros(shape))
    rng = np.random.default_rng(2)
    rows = jnp.asarray(rng.normal(size=(4, *(shape[:-1] or (1,)))), jnp.float32)
    many = Chequered(rows, jnp.full(4, 2.0), view)
    dense = Dense(jnp.stack([Chequered(r, jnp.float32(2), view).to_dense() for r in rows]), view)
    slope, score = jnp.asarray(rng.normal(size=(2, 4)), jnp.float32)
    vector = jnp.asarray(rng.normal(size=(*view.stack, view.n)), jnp.float32)
    gaussian = covariance.DampedRankOne(vector, jnp.float32(0.1))
    into = jnp.ones(shape, jnp.bfloat16)
    close(many.combine(slope, score, gaussian), dense.combine(slope, score, gaussian))
    total = many.combine(slope, score, None, into)[0]
    assert total.dtype == jnp.bfloat16
    close(total, (1 + jnp.tensordot(slope, dense.array, 1)).astype(jnp.bfloat16).astype(float))
    close(many.squares(score), jnp.tensordot(score, dense.array**2, 1))
    close(dense.squares(score), jnp.tensordot(score, dense.array**2, 1))


@pytest.mark.slow
def test_at_a_random_distance_it_is_still_that_of_its_arrays():
    run = lambda directions: estimate(smoothed(directions), schemes.two_sided(), num_directions=2)
    results = []
    for directions in (CHEQUERED, ORACLE):
        tx = run(directions)
        results.append(tx.update(None, tx.init(PARAMS), PARAMS, value_fn=loss)[1].losses)
    close(*results)


def test_a_function_of_it_has_derivatives():
    view = view_of((), PARAMS["kernel"])
    rows = jnp.arange(6.0)

    def output(rows):
        direction = Chequered(rows, jnp.float32(2), view)
        return jnp.sum(jnp.sin(evaluate(lambda w: X @ w, PARAMS["kernel"], direction, 0.1)))

    def oracle(rows):
        dense = Chequered(rows, jnp.float32(2), view).to_dense()
        return jnp.sum(jnp.sin(X @ (PARAMS["kernel"] + 0.1 * dense)))

    close(jax.grad(output)(rows), jax.grad(oracle)(rows))


def test_what_has_no_arrays_is_a_direction_too():
    @dataclass(frozen=True)
    class Ones(Direction):
        view: MatrixView

        def to_dense(self):
            return jnp.ones(self.view.shape)

    ones = Ones(MatrixView((2, 3), (0,), (1,)))
    close(ones.combine(jnp.asarray([1.0, 2.0]), jnp.zeros(2))[0], jnp.full((2, 3), 3.0))


def test_it_is_named_among_what_is_dense():
    found = dense_leaves(loss, PARAMS, CHEQUERED)
    assert found == [DenseLeaf(name, "Chequered", 4 * PARAMS[name].size) for name in sorted(PARAMS)]
    assert dense_leaves(loss, PARAMS, smoothed(CHEQUERED)) == found
    assert dense_leaves(loss, PARAMS, isotropic(rank=1)) == []


def test_a_kind_without_an_array_of_its_own_cannot_be_made():
    @dataclass(frozen=True)
    class Nothing(Direction):
        view: MatrixView

    with pytest.raises(TypeError, match="to_dense"):
        Nothing(MatrixView((2,), (0,)))
