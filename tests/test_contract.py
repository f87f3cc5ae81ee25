"""The promises that every method keeps (design, section 8), on each row of `methods.METHODS`."""

import functools
import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from methods import METHODS, PARAMS, loss

import loren_jax
from loren_jax.directions import sampling

pytestmark = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@pytest.fixture(autouse=True)
def seeded_row_draws_every_matrix_where_it_is_used(method, monkeypatch):
    if method is METHODS["loren seeded"]:
        monkeypatch.setattr(sampling, "SMALL", 0)


def build(method, **changes):
    knobs = {"perturbation_scale": 1e-2} | method.knobs | changes
    return method.make(knobs.pop("learning_rate", method.learning_rate), **knobs)


def stepper(optimizer, value_fn=loss):
    def step(params, state):
        updates, state = optimizer.update(None, state, params, value_fn=value_fn)
        return optax.apply_updates(params, updates), state

    return step


@functools.cache
def trained(name, steps, **changes):
    """The run that several tests compare with; one compilation serves them."""
    return train(build(METHODS[name], **changes), PARAMS, steps)


def name_of(method):
    return next(name for name, row in METHODS.items() if row is method)


def one_update(optimizer, state, params, **extra):
    """Compiled: outside of jit every loop of an update would be compiled on its own."""
    return jax.jit(lambda state, params: optimizer.update(None, state, params, **extra))(
        state, params
    )


def train(optimizer, params, steps, value_fn=loss):
    step = stepper(optimizer, value_fn)
    body = lambda carry, _: (step(*carry), None)
    run = jax.jit(lambda p: jax.lax.scan(body, (p, optimizer.init(p)), length=steps)[0])
    return run(params)


def plain(tree):
    """The tree with typed keys as numbers, so that NumPy can compare."""
    return optax.tree.unwrap_random_key_data(tree)


def assert_equal(a, b):
    chex.assert_trees_all_equal(plain(a), plain(b))


def test_01_compiles_once(method):
    traced = chex.assert_max_traces(stepper(build(method)), n=1)
    step, params = jax.jit(traced), PARAMS
    state = build(method).init(params)
    for _ in range(3):
        params, state = step(params, state)
    chex.clear_trace_counter()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_02_and_03_structure_shape_and_dtype_are_stable(method, dtype):
    params = jax.tree.map(lambda x: x.astype(dtype), PARAMS)
    optimizer = build(method)
    state = optimizer.init(params)
    after_params, after = train(optimizer, params, 2)  # scan raises if the carry changes
    chex.assert_trees_all_equal_shapes_and_dtypes(after_params, params)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    updates, _ = one_update(optimizer, state, params, value_fn=loss)
    applied = optax.apply_updates(params, updates)
    chex.assert_trees_all_equal_shapes_and_dtypes(applied, params)


def test_04_chains_and_schedules(method):
    schedule = optax.cosine_decay_schedule(method.learning_rate, 10)
    optimizer = optax.named_chain(
        ("method", build(method, learning_rate=schedule, perturbation_scale=lambda t: 1e-2)),
        ("clip", optax.clip_by_global_norm(0.5)),
        ("scale", optax.scale(1.0)),
    )
    params, state = train(optax.chain(optimizer), PARAMS, 3)
    assert np.isfinite(float(loss(params)))
    assert (
        optax.tree.get(state, "losses").shape[0] * optax.tree.get(state, "losses").shape[1]
        == method.passes
    )


def test_04_inject_hyperparams(method):
    static = [n for n in inspect.signature(method.make).parameters if n in method.static]
    injected = optax.inject_hyperparams(method.make, static_args=static)
    knobs = {"perturbation_scale": 1e-2} | method.knobs
    same, _ = train(injected(method.learning_rate, **knobs), PARAMS, 3)
    expected, _ = trained(name_of(method), 3)
    chex.assert_trees_all_close(same, expected, rtol=1e-5)
    optimizer = injected(optax.linear_schedule(method.learning_rate, 0.0, 2), **knobs)
    state = optimizer.init(PARAMS)
    step = jax.jit(lambda state: optimizer.update(None, state, PARAMS, value_fn=loss)[1])
    state = step(step(state))
    assert state.hyperparams["learning_rate"] == method.learning_rate / 2


def test_04_nnx_optimizer(method):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    x, y = jnp.ones((4, 3)), jnp.zeros((4, 2))
    optimizer = nnx.Optimizer(model, build(method), wrt=nnx.Param)
    graphdef = nnx.split(model)[0]
    value_fn = lambda params: jnp.mean((nnx.merge(graphdef, params)(x) - y) ** 2)
    before = float(value_fn(nnx.state(model, nnx.Param)))

    @nnx.jit
    def step(model, optimizer):
        zeros = jax.tree.map(jnp.zeros_like, nnx.state(model, nnx.Param))
        optimizer.update(model, zeros, value_fn=value_fn)

    for _ in range(5):
        step(model, optimizer)
    after = float(value_fn(nnx.state(model, nnx.Param)))
    assert after != before
    assert optimizer.step[...] == 5


def test_04_train_state(method):
    state = TrainState.create(apply_fn=None, params=PARAMS, tx=build(method))

    @jax.jit
    def step(state):
        updates, opt_state = state.tx.update(None, state.opt_state, state.params, value_fn=loss)
        params = optax.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state)

    expected, _ = trained(name_of(method), 3)
    chex.assert_trees_all_close(step(step(step(state))).params, expected, rtol=1e-5, atol=1e-7)


def test_05_parameters_are_bit_identical_after_evaluation(method):
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), PARAMS)
    before = jax.tree.map(np.array, params)
    optimizer = build(method)
    state = optimizer.init(params)
    updates, state = jax.jit(lambda s, p: optimizer.update(None, s, p, value_fn=loss))(
        state, params
    )
    assert_equal(params, before)
    still = optax.apply_updates(params, jax.tree.map(lambda u: 0 * u, updates))
    assert_equal(still, before)


def test_06_same_key_same_bits(method):
    first, second = trained(name_of(method), 3), train(build(method), PARAMS, 3)
    assert_equal(first, second)
    other, _ = train(build(method, key=4), PARAMS, 3)
    assert not np.allclose(other["layers"]["kernel"], first[0]["layers"]["kernel"])


def test_06_queries_layers_and_leaves_are_uncorrelated(method):
    """Updates of two equal layers, two equal leaves and two steps; within five standard errors."""
    size = 100
    params = {name: jnp.zeros((2, size, size)) for name in ("a", "b")}
    linear = lambda p: jnp.sum(p["a"][0, 0]) + jnp.sum(p["b"])
    optimizer = method.estimate(**_knobs(method))
    state = optimizer.init(params)
    estimates = []
    for _ in range(2):
        estimate, state = jax.jit(lambda s: optimizer.update(None, s, params, value_fn=linear))(
            state
        )
        estimates += [estimate["a"][0], estimate["a"][1], estimate["b"][0]]
    flat = np.stack([np.ravel(e) for e in estimates])
    correlation = np.abs(np.corrcoef(flat) - np.eye(len(flat)))
    # Entries of a rank-r matrix are dependent: at worst the sample is that of its two factors.
    assert correlation.max() < 5 / np.sqrt(size if "rank" in method.knobs else size**2) * 1.5


def test_07_adding_a_leaf_changes_no_other_noise(method):
    optimizer = method.estimate(**_knobs(method))
    more = PARAMS | {"new": jnp.ones((4, 4))}
    losses = jnp.arange(float(method.passes)).reshape(
        optax.tree.get(optimizer.init(PARAMS), "losses").shape
    )
    small, _ = one_update(optimizer, optimizer.init(PARAMS), PARAMS, losses=losses)
    large, _ = one_update(optimizer, optimizer.init(more), more, losses=losses)
    large.pop("new")
    assert_equal(small, large)


@pytest.mark.parametrize("chunk_size", [1, 100])
def test_08_every_chunk_size_agrees(method, chunk_size):
    expected = trained(name_of(method), 3)
    actual = train(build(method, chunk_size=chunk_size), PARAMS, 3)
    chex.assert_trees_all_close(plain(actual), plain(expected), rtol=1e-3, atol=1e-4)


def test_08_materialised_agrees(method):
    lazy = method.estimate(**_knobs(method), perturbation_scale=1e-2)
    oracle = method.estimate(
        **_knobs(method), perturbation_scale=1e-2, evaluation=loren_jax.evaluation.materialised
    )
    state = lazy.init(PARAMS)
    losses = [
        optax.tree.get(one_update(tx, state, PARAMS, value_fn=loss)[1], "losses")
        for tx in (lazy, oracle)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_09_losses_alone_replay_the_run(method):
    optimizer = build(method)
    probe = jax.jit(stepper(optimizer))

    @jax.jit
    def absorb(params, state, losses):
        updates, state = optimizer.update(None, state, params, losses=losses)
        return optax.apply_updates(params, updates), state

    params, state = PARAMS, optimizer.init(PARAMS)
    twin, twin_state = PARAMS, optimizer.init(PARAMS)
    for _ in range(4):
        params, state = probe(params, state)
        twin, twin_state = absorb(twin, twin_state, optax.tree.get(state, "losses"))
    assert_equal((twin, twin_state), (params, state))


@pytest.mark.parametrize("dims", [(5, 7), (3, 4, 5)])
def test_10_the_mean_of_many_estimates_is_the_preconditioned_gradient(method, dims):
    """On a quadratic, each entry within five standard errors of Sigma times the gradient."""
    number, params = 3000, {"kernel": jnp.cos(jnp.arange(float(np.prod(dims)))).reshape(dims)}
    quadratic = lambda p: 0.5 * jnp.sum(p["kernel"] ** 2) + 3.0
    optimizer = method.estimate(**_knobs(method), perturbation_scale=1e-2)
    start = optimizer.init(params)

    def one(count):
        state = optax.tree.set(start, count=count)
        return optimizer.update(None, state, params, value_fn=quadratic)[0]["kernel"]

    run = jax.jit(lambda c: jax.lax.map(one, c, batch_size=100))
    estimates = np.asarray(run(jnp.arange(number)), np.float64)
    gradient = np.asarray(params["kernel"], np.float64)
    expected = _precondition(optax.tree.get(start, "covariance"), gradient)
    error = estimates.mean(0) - expected
    assert np.abs(error / (estimates.std(0) / np.sqrt(number))).max() < 5


def _precondition(covariance, gradient):
    if covariance is None:
        return gradient
    a = np.asarray(covariance["kernel"], np.float64)
    s = np.sum(a**2, -1)[..., None, None]
    return gradient - a[..., :, None] * (a[..., None, :] @ gradient) / (0.1 + s)


def test_12_the_loss_falls(method):
    params, _ = train(build(method), PARAMS, 300)
    assert float(loss(params)) < 0.6 * float(loss(PARAMS))


def test_13_temporary_memory(method):
    """One query at a time: two float32 copies of the largest tree and a little, whatever K is."""
    params = {f"layer_{i}": jnp.zeros((256, 256)) for i in range(4)}
    x = jnp.ones((2, 256))

    def deep(p):
        h = x
        for name in sorted(p):
            h = jnp.tanh(h @ p[name])
        return jnp.mean(h)

    optimizer = build(method, chunk_size=1)
    step = jax.jit(stepper(optimizer, deep), donate_argnums=(0, 1))
    compiled = step.lower(params, optimizer.init(params)).compile()
    size = sum(p.nbytes for p in params.values())
    assert compiled.memory_analysis().temp_size_in_bytes < 3.5 * size


def test_14_a_loss_that_is_not_finite_cannot_poison(method):
    """NaN beyond a wall that some queries cross: weight zero, counted, parameters stay finite."""
    wall = lambda p: jnp.where(p["x"][0] > 0, jnp.nan, jnp.sum(p["x"] ** 2))
    params = {"x": jnp.asarray([0.0, 1.0, 1.0])}
    optimizer = build(method)
    state = optimizer.init(params)
    step = jax.jit(stepper(optimizer, wall))
    for _ in range(20):
        params, state = step(params, state)
    assert np.isfinite(params["x"]).all()
    assert optax.tree.get(state, "nonfinite") > 0
    covariance = optax.tree.get(state, "covariance")
    assert covariance is None or np.isfinite(covariance["x"]).all()


def test_15_the_docstring(method):
    text = inspect.getdoc(method.make)
    for part in (".. math::", "Args:", "Returns:", "Raises:", ">>> ", "References:", "arxiv.org"):
        assert part in text
    for name in inspect.signature(method.make).parameters:
        assert f"{name}: " in text


def test_forward_passes_are_as_declared(method):
    calls = []
    count = lambda value: calls.append(1) or np.asarray(value)
    value_fn = lambda p: jax.pure_callback(
        count, jax.ShapeDtypeStruct((), jnp.float32), loss(p), vmap_method="sequential"
    )
    optimizer = build(method, chunk_size=1)
    jax.block_until_ready(one_update(optimizer, optimizer.init(PARAMS), PARAMS, value_fn=value_fn))
    assert len(calls) == method.passes


def test_state_is_as_small_as_declared(method):
    params = {"kernel": jnp.zeros((64, 32))}
    state = build(method).init(params)
    floats = sum(x.size for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating))
    scalars = method.passes + 1
    covariance = 0 if optax.tree.get(state, "covariance") is None else 64
    assert floats == method.state_per_parameter * 64 * 32 + covariance + scalars


def test_frozen_leaves_stay_to_the_bit(method):
    params, _ = train(build(method, mask=lambda path: "bias" in path), PARAMS, 3)
    assert not np.array_equal(params["layers"]["bias"], PARAMS["layers"]["bias"])
    for name in ("embeddings", "temperature"):
        assert_equal(params[name], PARAMS[name])


def _knobs(method):
    unknown = {"momentum", "learning_rate"}
    return {name: knob for name, knob in method.knobs.items() if name not in unknown}
