"""Auxiliary outputs of a loss: all of them, in the state, of every query."""

import collections
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from methods import METHODS, OF_EACH_KIND

import loren_jax

PARAMS = {"w": jnp.linspace(-1, 1, 12).reshape(4, 3), "b": jnp.ones(3)}
X = jnp.linspace(0, 1, 8).reshape(2, 4)


def outputs(params):
    return X @ params["w"] + params["b"][None]


def loss(params):
    return jnp.mean(outputs(params) ** 2)


def with_aux(params):
    y = outputs(params)
    return jnp.mean(y**2), {"outputs": y, "largest": jnp.argmax(y), "weight": params["w"].T}


def build(name, **knobs):
    row = METHODS[name]
    knobs = dict(row.knobs) | knobs
    return row.make(knobs.pop("learning_rate", row.learning_rate), **knobs)


def update(optimizer, value_fn, **given):
    sources = {"value_fn": value_fn, "full_value_fn": value_fn}
    first_step = lambda: optimizer.update(None, optimizer.init(PARAMS), PARAMS, **sources, **given)
    return jax.jit(first_step)()


def assert_belong_to_the_losses(state):
    """Every query's own outputs: from them its loss can be computed again."""
    losses, aux = optax.tree.get(state, "losses"), optax.tree.get(state, "aux")
    assert aux["outputs"].shape == (*losses.shape, 2, 3)
    assert aux["weight"].shape == (*losses.shape, 3, 4)
    again = np.mean(np.square(aux["outputs"]), (2, 3))
    queried = np.asarray(losses) != 0  # MeZO-SVRG's full step has no second half
    np.testing.assert_allclose(again[queried], losses[queried], rtol=1e-5)
    np.testing.assert_array_equal(
        aux["largest"], np.asarray(aux["outputs"]).reshape(*losses.shape, -1).argmax(-1)
    )


@OF_EACH_KIND
def test_of_every_method(name):
    updates, state = update(build(name), with_aux, has_aux=True)
    assert_belong_to_the_losses(state)
    expected, plain = update(build(name), loss)
    assert optax.tree.get(plain, "aux") == ()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), updates, expected)


@pytest.mark.each_value
@pytest.mark.parametrize("chunk_size", [1, 2, 100])
@pytest.mark.parametrize("evaluation", [None, loren_jax.evaluation.materialised])
@pytest.mark.parametrize("name", ["loren", "mezo", "hizoo", "zo_muon"])
def test_of_every_chunk_and_evaluation(name, evaluation, chunk_size):
    """The point of zero, queried once, stands in every row."""
    optimizer = build(name, chunk_size=chunk_size, evaluation=evaluation)
    assert_belong_to_the_losses(update(optimizer, with_aux, has_aux=True)[1])


def test_spread_over_a_mesh():
    mesh = jax.make_mesh((1,), ("population",), axis_types=(jax.sharding.AxisType.Auto,))
    evaluation = loren_jax.evaluation.sharded(mesh, population="population")
    assert_belong_to_the_losses(
        update(build("loren", evaluation=evaluation), with_aux, has_aux=True)[1]
    )


def test_inside_of_a_frozen_tree():
    optimizer = loren_jax.trained(build("loren"), lambda path: path == "w")
    assert_belong_to_the_losses(update(optimizer, with_aux, has_aux=True)[1])


class Output(NamedTuple):
    loss: Any
    logits: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Registered:
    loss: Any
    logits: Any


class ModelOutput(collections.OrderedDict):
    """As model libraries have it: a mapping whose entries are attributes too."""

    __getattr__ = collections.OrderedDict.__getitem__


jax.tree_util.register_pytree_node(
    ModelOutput,
    lambda o: (tuple(o.values()), tuple(o)),
    lambda names, values: ModelOutput(zip(names, values, strict=True)),
)


@pytest.mark.each_value
@pytest.mark.parametrize("kind", [Output, Registered, ModelOutput])
@pytest.mark.parametrize("given", [{}, {"has_aux": True}])
def test_an_object_with_a_loss(kind, given):
    value_fn = lambda p: kind(loss=loss(p), logits=outputs(p))
    updates, state = update(build("loren"), value_fn, **given)
    aux = optax.tree.get(state, "aux")
    assert isinstance(aux, kind)
    np.testing.assert_allclose(aux.loss, optax.tree.get(state, "losses"), rtol=1e-6)
    assert aux.logits.shape == (6, 1, 2, 3)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4),
        updates,
        update(build("loren"), loss)[0],
    )


def test_a_mapping_with_a_loss_where_it_is_asked_for():
    value_fn = lambda p: {"loss": loss(p), "logits": outputs(p)}
    _, state = update(build("mezo"), value_fn, has_aux=True)
    assert optax.tree.get(state, "aux")["logits"].shape == (1, 2, 2, 3)


def test_given_losses_bring_none():
    optimizer = build("loren")
    _, state = update(optimizer, with_aux, has_aux=True)
    losses = optax.tree.get(state, "losses")
    _, after = jax.jit(lambda s: optimizer.update(None, s, PARAMS, losses=losses))(state)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert not np.any(optax.tree.get(after, "aux")["outputs"])


def test_a_loop_over_steps_has_room():
    optimizer = build("loren")

    def step(carry, _):
        params, state = carry
        given = {"value_fn": with_aux, "has_aux": True}
        updates, state = optimizer.update(None, state, params, **given)
        return (optax.apply_updates(params, updates), state), None

    start = loren_jax.with_aux(optimizer.init(PARAMS), with_aux, PARAMS, has_aux=True)
    (_, state), _ = jax.lax.scan(step, (PARAMS, start), length=3)
    assert jax.tree.structure(state) == jax.tree.structure(start)
    assert loren_jax.with_aux(optimizer.init(PARAMS), loss, PARAMS)[0].aux == ()


def test_a_step_in_place_compiles_once():
    batch_loss = lambda p, x: (jnp.mean((x @ p["w"]) ** 2), {"mean": jnp.mean(x @ p["w"])})
    optimizer = build("loren")
    step = loren_jax.train_step(batch_loss, optimizer, has_aux=True)
    params, state = jax.tree.map(jnp.copy, PARAMS), optimizer.init(PARAMS)
    for _ in range(3):
        params, state = step(params, state, X)
    assert optax.tree.get(state, "aux")["mean"].shape == (6, 1)
    assert step.compiled._cache_size() == 1


def test_probe_gives_them_with_the_losses():
    step = loren_jax.train_step(with_aux, build("loren"), has_aux=True)
    optimizer = build("loren")
    losses, aux = step.probe(PARAMS, optimizer.init(PARAMS))
    assert losses.shape == (6, 1)
    assert aux["outputs"].shape == (6, 1, 2, 3)


def test_probe_drops_none_in_silence():
    step = loren_jax.train_step(lambda p: Output(loss(p), outputs(p)), build("loren"))
    with pytest.raises(TypeError, match="of which nobody would hear: pass has_aux=True"):
        step.probe(PARAMS, build("loren").init(PARAMS))
