"""Whole programs as users write them, and the traps among them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from loren_jax import diagnostics, noise
from loren_jax.directions import (
    attention_axes,
    core_subspace,
    isotropic,
    low_rank,
    sampling,
    smoothed,
    subspace,
    temporal,
)
from loren_jax.evaluation import materialised, perturbed

IDS = jnp.asarray([[0, 3, 7, 1], [1, 1, 2, 5]])
WIDTH, HEADS, VOCABULARY = 8, 2, 11


@pytest.fixture(autouse=True)
def small_matrices_are_seeded_too(monkeypatch):
    monkeypatch.setattr(sampling, "SMALL", 0)


class LinenModel(linen.Module):
    """Attention, a feed-forward layer, and a head tied to the embedding."""

    @linen.compact
    def __call__(self, ids):
        embed = linen.Embed(VOCABULARY, WIDTH)
        x = embed(ids)
        x = x + linen.MultiHeadDotProductAttention(HEADS, qkv_features=WIDTH)(x, x)
        x = linen.LayerNorm()(x + linen.Dense(WIDTH)(linen.gelu(linen.Dense(3 * WIDTH)(x))))
        return embed.attend(x)


def linen_program():
    model = LinenModel()
    params = model.init(jax.random.key(0), IDS)
    return lambda params: jnp.mean(model.apply(params, IDS) ** 2), params


class NnxModel(nnx.Module):
    """The same of NNX's modules."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.up = nnx.Linear(WIDTH, 3 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(3 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, ids):
        x = self.embed(ids)
        x = x + self.attention(x)
        return self.embed.attend(self.norm(x + self.down(nnx.gelu(self.up(x)))))


def nnx_program():
    graph, params = nnx.split(NnxModel(), nnx.Param)
    return lambda params: jnp.mean(nnx.merge(graph, params)(IDS) ** 2), params


def equinox_program():
    eqx = pytest.importorskip("equinox")
    model = eqx.nn.MLP(WIDTH, 3, 16, 2, key=jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    x = jnp.cos(jnp.arange(4.0 * WIDTH)).reshape(4, WIDTH)

    def loss(params):
        return jnp.mean(jax.vmap(eqx.combine(params, static))(x) ** 2)

    return loss, params


def agree(loss, params, rank, scale=0.05):
    drawn = isotropic(rank, attention_axes).draw((), params, noise.run_key(1))
    run = lambda evaluation: jax.jit(evaluation(loss, params).run)(drawn, jnp.float32(scale))
    lazy = run(perturbed)
    np.testing.assert_allclose(lazy, run(materialised), rtol=2e-5)
    assert abs(float(lazy) - float(loss(params))) > 1e-6, "the perturbation had no effect"


@pytest.mark.each_value
@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("program", [linen_program, nnx_program, equinox_program])
def test_libraries_of_networks(program, rank):
    agree(*program(), rank)


@pytest.mark.parametrize("program", [linen_program, nnx_program, equinox_program])
def test_no_matrix_of_theirs_is_built(program):
    loss, params = program()
    directions = isotropic(1, attention_axes)
    built = {row.path for row in diagnostics.dense_leaves(loss, params, directions)}
    matrices = {
        "/".join(noise.path_names(path))
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
        if leaf.ndim >= 2 and "bias" not in noise.path_names(path)[-1]
    }
    assert not built & matrices


LOW_RANK = {
    "lozo": low_rank(2, matrix_axes=attention_axes),
    "zo_muon": subspace(2, matrix_axes=attention_axes),
    "subzero": core_subspace(2, matrix_axes=attention_axes),
    "tezo": temporal(2, matrix_axes=attention_axes),
    "kerzoo": smoothed(isotropic(1, attention_axes)),
}


@pytest.mark.parametrize("directions", LOW_RANK.values(), ids=LOW_RANK)
def test_directions_of_every_low_rank_method_keep_their_structure(directions):
    """In a whole network no matrix is built, and none of its directions is an array."""
    loss, params = nnx_program()
    built = {row.path.split("/")[-1] for row in diagnostics.dense_leaves(loss, params, directions)}
    assert not built & {"kernel", "embedding"}


W = jnp.sin(jnp.arange(64.0)).reshape(8, 8)
X = jnp.cos(jnp.arange(16.0)).reshape(2, 8)


def side_channel(p):
    """Beside the product, the norm of the same weight, without a gradient."""
    return jnp.sum(X @ p["w"]) + jnp.sum(jax.lax.stop_gradient(p["w"]) ** 2)


def tied(p):
    """Rows in, products with the transpose out: one direction must be seen at both ends."""
    return jnp.mean((p["w"][jnp.asarray([1, 4])] @ p["w"].T) ** 2)


def hooked(p):
    y = X @ p["w"]
    return jnp.mean(jax.pure_callback(np.tanh, jax.ShapeDtypeStruct(y.shape, y.dtype), y,
                                      vmap_method="sequential"))  # fmt: skip


def printed(p):
    jax.debug.print("a weight: {w}", w=p["w"][0, 0])
    return jnp.mean(jnp.tanh(X @ p["w"]))


@pytest.mark.each_value
@pytest.mark.parametrize("rank", [None, 1])
@pytest.mark.parametrize("loss", [side_channel, tied, hooked, printed])
def test_traps(loss, rank, capsys):
    agree(loss, {"w": W}, rank)
    jax.effects_barrier()
    assert (loss is printed) == ("a weight" in capsys.readouterr().out)


def test_a_loss_that_closes_over_the_parameters_is_refused():
    params = {"w": W}
    drawn = isotropic(1).draw((), params, noise.run_key(0))
    query = perturbed(lambda unused: jnp.sum(X @ params["w"]), params)
    with pytest.raises(ValueError, match="uses none of the perturbed leaves of its argument"):
        query.run(drawn, jnp.float32(0.1))


def test_what_the_loss_closes_over_is_no_activation():
    """As the weights below adapters: cast or transposed, they are the same for all queries."""
    frozen = jnp.ones((64, 64))

    def loss(params):
        return jnp.mean(X @ params["w"] @ frozen[:8].astype(jnp.float16).T.astype(jnp.float32).T)

    assert perturbed(loss, {"w": W}).activation_bytes == 4 * 2 * 64


ROWS = jnp.ones((64, 8))
LAYERS = jnp.ones((3, 8, 8))


def layers_of(x, layers):
    return jax.lax.scan(lambda x, layer: (jnp.tanh(x @ layer), None), x, layers)[0]


def below_the_head(w):
    return jnp.mean(layers_of(ROWS, LAYERS)[:2] @ w)


def below_a_called_head(w):
    return jax.jit(lambda w, x: jnp.mean(layers_of(x, LAYERS)[:2] @ w))(w, ROWS)


def counted(w):
    """The frozen layers are taken by the number of a turn, which is no query's own."""
    body = lambda i, x: jnp.tanh(x @ jax.lax.dynamic_index_in_dim(LAYERS, i, keepdims=False))
    return jnp.mean(jax.lax.fori_loop(0, 3, body, ROWS[:2] @ w))


def from_the_second_turn_on(w):
    """The first sum is shared, and all that follow are not."""
    turn = lambda both, layer: ((both[0] + both[1].sum(), both[1] @ layer), None)
    (rows, _), _ = jax.lax.scan(turn, (ROWS, w), LAYERS)
    return jnp.mean(rows)


def one_side(w):
    return jax.lax.cond(True, lambda w: jnp.mean(ROWS[:4] @ w), lambda w: jnp.mean(ROWS), w)


def as_long_as_it_wants(w):
    """How many turns a query takes is its own, and so is what they make of the constants."""
    state = jax.lax.while_loop(
        lambda state: state[0].sum() < 1, lambda state: (state[0] + 1, state[1] * 2), (w, ROWS)
    )
    return jnp.mean(state[1])


@pytest.mark.parametrize(
    ("loss", "rows"),
    [
        (below_the_head, 2),
        (below_a_called_head, 2),
        (counted, 2),
        (from_the_second_turn_on, 64),
        (one_side, 4),
        (as_long_as_it_wants, 64),
    ],
)
def test_an_activation_is_what_depends_on_a_perturbed_weight(loss, rows):
    """In rows of eight numbers; a layer is eight of them, and all of the constant 64."""
    assert perturbed(loss, jnp.ones((8, 8))).activation_bytes == 4 * 8 * rows


@pytest.mark.parametrize(
    ("loss", "numbers"),
    [
        (lambda w: jnp.sum(ROWS @ w), 8 * 8 + 64 * 8),
        (lambda w: jnp.sum(ROWS @ (w.T).astype(jnp.float32)), 8 * 8 + 64 * 8),
        (lambda w: jnp.sum(w[jnp.asarray([1, 2])]), 0),
        (lambda w: jnp.sum(layers_of(w, LAYERS)), 3 * 8 * 8),
        (lambda w: jnp.sum(w) + jnp.sum(w * 2) + jnp.sum(w * 3), 8 * 8),
    ],
)
def test_what_queries_share_is_what_they_read_and_no_more_than_there_is(loss, numbers):
    some_numbers_of_rows = 64
    found = perturbed(loss, jnp.ones((8, 8))).shared_bytes
    assert 4 * numbers <= found < 4 * numbers + some_numbers_of_rows


def test_the_loss_is_traced_once_whatever_the_number_of_queries():
    traces = []

    def loss(params):
        traces.append(0)
        return jnp.sum(X @ params["w"])

    query = perturbed(loss, {"w": W})
    drawn = isotropic(1).draw((), {"w": W}, noise.run_key(0))
    for scale in (0.1, 0.2, 0.3):
        query.run(drawn, jnp.float32(scale))
    assert len(traces) == 1
