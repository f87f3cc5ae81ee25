"""Models of Flax, Equinox and Keras taken apart, each against the model's own call."""

from importlib import util

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import loren_jax
from loren_jax import frameworks, noise

X = jax.random.normal(jax.random.key(5), (6, 4)) + 1.0
KEY = jax.random.key(7)


@pytest.fixture(autouse=True)
def ranks_as_keras_has_them():
    with jax.numpy_rank_promotion("allow"):
        yield


class Net(nnx.Module):
    """With all that changes itself."""

    def __init__(self, rngs):
        self.up = nnx.Linear(4, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.heads = nnx.List([nnx.Linear(8, 3, rngs=rngs)])

    def __call__(self, x):
        return self.heads[0](self.drop(self.norm(self.up(x))))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x, train=True):
        x = nn.BatchNorm(use_running_average=not train, name="norm")(nn.Dense(8, name="up")(x))
        return nn.Dense(3, name="head")(nn.Dropout(0.5, deterministic=not train)(x))


def of_nnx():
    return loren_jax.from_nnx(Net(nnx.Rngs(0))), lambda model, x: model(x)


def of_linen():
    module = LinenNet()
    rngs = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    functional = loren_jax.from_linen(module, module.init(rngs, X))
    return functional, lambda model, x: model(x)


def of_keras():
    keras = pytest.importorskip("keras")
    layers = keras.layers
    ends = layers.Dense(8, name="up"), layers.Dense(3, name="head")
    inner = layers.BatchNormalization(name="norm"), layers.Dropout(0.5)
    model = keras.Sequential([layers.Input((4,)), ends[0], *inner, ends[1]])
    return loren_jax.from_keras(model), lambda model, x: model(x, training=True)


def of_equinox():
    equinox = pytest.importorskip("equinox")
    functional = loren_jax.from_equinox(equinox.nn.MLP(4, 3, 8, 1, key=KEY))
    return functional, lambda model, x: jax.vmap(model)(x)


STATEFUL = {"nnx": of_nnx, "linen": of_linen, "keras": of_keras}
ALL = STATEFUL | {"equinox": of_equinox}
stateful = pytest.mark.parametrize("make", STATEFUL.values(), ids=STATEFUL)
every = pytest.mark.parametrize("make", ALL.values(), ids=ALL)


def key_for(make):
    return {} if make is of_equinox else {"key": KEY}


def keyed(functional, call, key, state=None):
    return np.asarray(call(functional.merge(functional.params, state, key), X))


def equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (of_nnx, "heads/0/kernel"),
        (of_linen, "up/kernel"),
        (of_keras, "up/kernel"),
        (of_equinox, "layers/0/weight"),
    ],
    ids=["nnx", "linen", "keras", "equinox"],
)
def test_the_parameters_have_the_names_that_their_library_gives_them(make, path):
    assert path in noise.leaf_paths(make()[0].params)


@every
def test_a_step_trains_the_merged_model(make):
    functional, call = make()
    loss = functional.loss(lambda model, x: jnp.mean((call(model, x) - 1.0) ** 2))
    optimizer = loren_jax.loren(0.02, num_directions=16, rank=1)
    before = loss(functional.params, X)
    params = jax.tree.map(jnp.copy, functional.params)
    state, step = optimizer.init(params), loren_jax.train_step(loss, optimizer)
    for _ in range(40):
        params, state = step(params, state, X)
    value = call(functional.merge(params), X)
    np.testing.assert_allclose(jnp.mean((value - 1.0) ** 2), loss(params, X), rtol=1e-6)
    assert loss(params, X) < 0.9 * before
    equal(loss(functional.params, X), before)  # the model that was taken apart is as it was


@every
def test_which_axes_are_fan_in_is_read_off_the_loss(make):
    functional, call = make()
    value = lambda params: jnp.sum(call(functional.merge(params), X))
    axes = loren_jax.matrix_axes(value, functional.params)
    sides = {path: (found.fan_in, found.fan_out) for path, found in axes.axes.items()}
    expected = ((1,), (0,)) if make is of_equinox else ((0,), (1,))
    assert list(sides.values()) == [expected] * 2


@stateful
def test_statistics_are_held_fixed_until_they_are_asked_for(make):
    functional, call = make()
    first = jax.tree.map(np.asarray, functional.state)
    loss = functional.loss(lambda model, x: jnp.mean(call(model, x)))
    equal(loss(functional.params, X), loss(functional.params, X))
    once = functional.refresh(call, functional.params, X)
    twice = functional.refresh(call, functional.params, X, state=once)
    equal(functional.state, first)
    leaf = lambda tree: next(
        np.asarray(x)
        for path, x in zip(noise.leaf_paths(tree), jax.tree.leaves(tree), strict=True)
        if path.endswith("mean")
    )
    start, one, two = map(leaf, (first, once, twice))
    assert not np.array_equal(start, one)
    # A moving average: each pass takes off the same part of what is left.
    momentum = np.mean((two - one) / (one - start))
    np.testing.assert_allclose(two - one, momentum * (one - start), rtol=1e-3)
    assert 0.8 < momentum < 1


@stateful
def test_new_statistics_come_out_as_auxiliary_outputs(make):
    functional, call = make()

    def loss(params, state, x):
        model = functional.merge(params, state, KEY)
        return jnp.mean(call(model, x) ** 2), functional.changed(model)

    optimizer = loren_jax.mezo(0.01)
    params = jax.tree.map(jnp.copy, functional.params)
    step = loren_jax.train_step(loss, optimizer, has_aux=True)
    params, state = step(params, optimizer.init(params), functional.state, X)
    every = optax.tree.get(state, "aux")
    shapes = jax.tree.map(lambda all, one: (all.shape, (1, 2, *one.shape)), every, functional.state)
    assert all(a == b for a, b in jax.tree.leaves(shapes, is_leaf=lambda x: isinstance(x, tuple)))
    mean = jax.tree.map(lambda x: x[0, 0], every)
    assert np.isfinite(loss(params, mean, X)[0])


@stateful
def test_random_numbers_are_those_of_the_key(make):
    functional, call = make()
    fixed = [keyed(functional, call, None) for _ in range(2)]
    equal(*fixed)
    same = [keyed(functional, call, 3), keyed(functional, call, noise.run_key(3))]
    equal(*same)
    others = [keyed(functional, call, key) for key in (4, KEY)]
    for first, second in ((fixed[0], same[0]), (same[0], others[0]), (others[0], others[1])):
        assert not np.array_equal(first, second)


@stateful
def test_all_queries_of_a_step_have_the_same_random_numbers(make):
    functional, call = make()

    def loss(params, key):
        model = functional.merge(params, None, key)
        dropped = call(model, X)
        return jnp.mean(dropped), dropped

    # Directions of a scale that rounds away leave the random numbers alone.
    optimizer = loren_jax.loren(0.1, num_directions=3, perturbation_scale=1e-30)
    _, state = jax.jit(
        lambda params, key: optimizer.update(
            None, optimizer.init(params), params, value_fn=lambda p: loss(p, key), has_aux=True
        )
    )(functional.params, KEY)
    of_queries = optax.tree.get(state, "aux").reshape(3, *keyed(functional, call, KEY).shape)
    np.testing.assert_allclose(of_queries[1:], of_queries[:-1], rtol=1e-5)
    np.testing.assert_allclose(of_queries[0], keyed(functional, call, KEY), rtol=1e-4, atol=1e-5)


def test_layers_that_were_made_by_vmap_get_keys_of_their_own():
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def stacked(rngs):
        return nnx.Dropout(0.5, rngs=rngs)

    class Stack(nnx.Module):
        def __init__(self):
            self.drops = stacked(nnx.Rngs(0))
            self.scale = nnx.Param(jnp.ones(()))

        def __call__(self, x):
            return self.scale[...] * nnx.vmap(lambda drop, x: drop(x), in_axes=(0, None))(
                self.drops, x
            )

    functional = loren_jax.from_nnx(Stack())
    masks = functional.merge(functional.params, key=1)(jnp.ones(64))
    assert len({bytes(np.asarray(mask)) for mask in masks}) == 3


def test_some_variables_alone_are_trained_and_the_others_are_no_state():
    model = nnx.LoRALinear(4, 3, lora_rank=2, rngs=nnx.Rngs(0))
    functional = loren_jax.from_nnx(model, nnx.LoRAParam)
    assert noise.leaf_paths(functional.params) == ["lora/lora_a", "lora/lora_b"]
    assert jax.tree.leaves(functional.state) == []
    equal(functional.merge(functional.params)(X), model(X))


def test_two_keras_variables_of_one_path_have_two_names():
    names = frameworks._places(["a/kernel", "a/kernel", "a/bias", "a/kernel"])
    assert names == [("a", "kernel"), ("a", "kernel_"), ("a", "bias"), ("a", "kernel__")]


def test_what_was_trained_goes_into_the_keras_model():
    functional, _ = of_keras()
    merged = functional.merge(jax.tree.map(lambda x: x + 1.0, functional.params))
    merged.assign()
    equal(merged.model.trainable_variables[0].value, functional.params["up"]["kernel"] + 1.0)
    equal(merged.model(X), merged(X))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: of_equinox()[0].merge({}, key=1), "key was given .* model\\(x, key\\)"),
        (lambda: of_equinox()[0].merge({}, {"a": 1}), "state was given .* model\\(x, state\\)"),
        (lambda: loren_jax.from_linen(LinenNet(), {"kernel": X}), "'kernel'.* no params"),
        (lambda: loren_jax.from_nnx(Net(nnx.Rngs(0)), nnx.LoRAParam), "nothing to train"),
    ],
    ids=["key", "state", "params", "filter"],
)
def test_what_does_not_fit_is_said_in_one_line(wrong, message):
    with pytest.raises(ValueError, match=message) as raised:
        wrong()
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(util.find_spec("keras") is None, reason="needs keras")
def test_keras_on_another_backend_is_refused(monkeypatch):
    keras = pytest.importorskip("keras")
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match=r"runs on torch: .*KERAS_BACKEND=jax"):
        loren_jax.from_keras(None)
