"""The promises that every method keeps (design, section 8), on each row of `methods.METHODS`.

Their compiled programs are in `contract_programs.py`, shared by many promises.
"""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from contract_programs import (
    absorber,
    absorbing,
    assert_equal,
    build,
    looped,
    name_of,
    plain,
    runner,
    some_losses,
    started,
    stepper,
    trained,
)
from flax import nnx
from flax.training.train_state import TrainState
from methods import METHODS, PARAMS, STATIC, declared_passes, declared_state, loss

import loren_jax
from loren_jax.directions import sampling

# What changes a way of drawing alone keeps the promises that hang on it.
VARIANTS = ("loren seeded", "loren rank 1")
OF_VARIANTS = ("02", "06", "07", "08", "09", "10", "12", "13", "15", "state")

# What compiles programs of its own, or draws much: of other rows than these with --all alone.
QUICK = ("loren", "mezo", *VARIANTS)
DEAR = (
    "test_02_and_03_and_05_bfloat16",
    "test_07_adding_a_leaf_changes_no_other_noise",
    "test_08_every_chunk_size_and_evaluation_agrees",
    "test_09_losses_alone_replay_the_run_of_a_program_that_the_compiler_optimised",
    "test_10_the_mean_of_many_estimates_is_the_preconditioned_gradient",
    "test_13_temporary_memory",
)
# What hangs on the kind of direction more than on the method: each other row has one of these.
DIRECTED = (
    "test_02_and_03_and_05_bfloat16",
    "test_07_adding_a_leaf_changes_no_other_noise",
    "test_08_every_chunk_size_and_evaluation_agrees",
    "test_09_losses_alone_replay_the_run_of_a_program_that_the_compiler_optimised",
)
# What holds for all as they are made by one function: each other row has one of these, in turn.
COMPOSED = (
    "test_04_chains_schedules_and_inject_hyperparams",
    "test_04_nnx_optimizer",
    "test_04_train_state",
    "test_estimate_goes_before_any_optax_chain",
)


def pytest_generate_tests(metafunc):
    """Each test on each row."""
    test = metafunc.function.__name__
    number = test.split("_")[1]
    names = [n for n in METHODS if n not in VARIANTS or number in OF_VARIANTS]
    for tests, turns in ((DIRECTED, len(DIRECTED)), (COMPOSED, len(COMPOSED))):
        if test in tests:
            others = [n for n in names if n not in QUICK][tests.index(test) % turns :: turns]
            names = [n for n in names if n in QUICK or n in others]
    # A row stays in one worker, where its compiled programs are.
    marks = lambda n: [
        pytest.mark.xdist_group(n),
        *[pytest.mark.slow] * (test in (*DEAR, *COMPOSED) and n not in QUICK),
    ]
    metafunc.parametrize("method", [pytest.param(METHODS[n], id=n, marks=marks(n)) for n in names])


@pytest.fixture(autouse=True)
def seeded_row_draws_every_matrix_where_it_is_used(method, monkeypatch):
    if method is METHODS["loren seeded"]:
        monkeypatch.setattr(sampling, "SMALL", 0)


def test_01_compiles_once(method):
    name = name_of(method)
    for steps in (1, 2):
        trained(name, steps)
    assert runner(name)._cache_size() == 1


def test_02_and_03_and_05_bfloat16(method):
    """Structure, shapes and dtypes are stable; evaluation leaves the parameters as they were."""
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    before = jax.tree.map(np.array, params)
    optimizer = build(method)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):  # fori_loop raises if the carry changes
        updates, after = optimizer.update(None, state, params, value_fn=loss, full_value_fn=loss)
        return updates, jax.lax.fori_loop(0, 1, lambda _, s: after, state)

    updates, after = step(params, state)
    assert_equal(params, before)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    applied = optax.apply_updates(params, updates)
    chex.assert_trees_all_equal_shapes_and_dtypes(applied, params)
    assert_equal(optax.apply_updates(params, jax.tree.map(lambda u: 0 * u, updates)), before)


def test_04_chains_schedules_and_inject_hyperparams(method):
    """All at once: the method with injected knobs and schedules, named in a chain in a chain."""
    static = [n for n in inspect.signature(method.make).parameters if n in STATIC]
    injected = optax.inject_hyperparams(method.make, static_args=static)
    rate, knobs = method.learning_rate, {"perturbation_scale": lambda t: 1e-2} | method.knobs
    optimizer = optax.chain(
        optax.named_chain(
            ("method", injected(optax.linear_schedule(rate, 0.0, 2), **knobs)),
            ("clip", optax.clip_by_global_norm(1e9)),
            ("scale", optax.scale(1.0)),
        )
    )
    run, state = looped(optimizer), jax.jit(optimizer.init)(PARAMS)
    same, first = run(PARAMS, state, 1)
    assert first[0]["method"].hyperparams["learning_rate"] == rate
    expected, _ = trained(name_of(method), 1)
    chex.assert_trees_all_close(same, expected, rtol=1e-5, atol=2e-6)
    second = run(PARAMS, state, 2)[1]
    assert second[0]["method"].hyperparams["learning_rate"] == rate / 2
    assert optax.tree.get(second, "losses").ndim == 2


def test_04_nnx_optimizer(method):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    x, y = jnp.ones((4, 3)), jnp.zeros((4, 2))
    optimizer = nnx.Optimizer(model, build(method), wrt=nnx.Param)
    graphdef = nnx.split(model)[0]
    value_fn = lambda params: jnp.mean((nnx.merge(graphdef, params)(x) - y) ** 2)
    before = float(value_fn(nnx.state(model, nnx.Param)))

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, None, value_fn=value_fn, full_value_fn=value_fn)

    for _ in range(5):
        step(model, optimizer)
    after = float(value_fn(nnx.state(model, nnx.Param)))
    assert after != before
    assert optimizer.step[...] == 5


def test_04_train_state(method):
    """What a `TrainState` keeps and hands on is enough."""
    state = TrainState.create(apply_fn=None, params=PARAMS, tx=build(method))
    state = state.replace(opt_state=started(name_of(method)))

    def step(state):
        updates, opt_state = state.tx.update(
            None, state.opt_state, state.params, value_fn=loss, full_value_fn=loss
        )
        params = optax.apply_updates(state.params, updates)
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state)

    after = jax.eval_shape(step, state)
    assert jax.tree.structure(after) == jax.tree.structure(jax.eval_shape(lambda: state))
    chex.assert_trees_all_equal_shapes_and_dtypes(after.params, PARAMS)


def test_06_same_key_same_bits(method):
    name = name_of(method)
    first, second = trained(name, 3), runner(name)(PARAMS, started(name), 3)
    assert_equal(first, second)
    other, _ = runner(name)(PARAMS, started(name, key=4), 3)
    assert not np.allclose(other["layers"]["kernel"], first[0]["layers"]["kernel"])


def test_06_steps_layers_and_leaves_are_uncorrelated(method):
    """Updates of two equal layers, two equal leaves and two steps; within five standard errors."""
    size = 100
    params = {name: jnp.zeros((2, size, size)) for name in ("a", "b")}
    linear = lambda p: jnp.sum(p["a"][0, 0]) + jnp.sum(p["b"])
    optimizer = build(
        method, **({"always": lambda path: True} if "mezo_bcd" in name_of(method) else {})
    )
    step = jax.jit(
        lambda s: optimizer.update(None, s, params, value_fn=linear, full_value_fn=linear)
    )
    state, rows = jax.jit(optimizer.init)(params), []
    for _ in range(1 if method.same_subspace else 2):
        update, state = step(state)
        rows += [update["a"][0], update["a"][1], update["b"][0]]
    flat = np.stack([np.ravel(row) for row in rows])
    correlation = np.abs(np.corrcoef(flat) - np.eye(len(flat)))
    if optax.tree.get(state, "trace") is not None:  # heavy-ball: half of a step is the one before
        correlation = correlation[:3, :3]
    # Entries of a rank-r matrix are dependent: at worst the sample is that of its two factors.
    assert correlation.max() < 5 / np.sqrt(size if "rank" in method.knobs else size**2) * 1.5


def test_07_adding_a_leaf_changes_no_other_noise(method):
    name, optimizer = name_of(method), build(method)
    more = PARAMS | {"new": np.ones((4, 4), np.float32)}
    losses = some_losses(started(name))
    *_, small = absorber(name)(PARAMS, started(name), losses)
    *_, large = absorbing(optimizer)(more, jax.jit(optimizer.init)(more), losses)
    large.pop("new")
    assert_equal(small, large)


def test_08_every_chunk_size_and_evaluation_agrees(method):
    """Losses of one step: all at once, which is the default here, one by one, and on copies."""
    variants = [
        build(method),
        build(method, chunk_size=1),
        build(method, evaluation=loren_jax.evaluation.materialised),
    ]

    @jax.jit
    def losses(state):
        step = lambda tx: tx.update(None, state, PARAMS, value_fn=loss, full_value_fn=loss)[1]
        return [optax.tree.get(step(tx), "losses") for tx in variants]

    expected, *others = losses(started(name_of(method)))
    assert np.isfinite(expected).all()
    for other in others:
        np.testing.assert_allclose(other, expected, rtol=1e-5)


def assert_replayed(run, absorb, state):
    params, twin, twin_state = PARAMS, PARAMS, state
    for _ in range(30):  # enough that a rounding which differs now and then is found
        params, state = run(params, state, 1)
        twin, twin_state, _ = absorb(twin, twin_state, optax.tree.get(state, "losses"))
    assert_equal((twin, twin_state), (params, state))


def test_09_losses_alone_replay_the_run(method):
    name = name_of(method)
    assert_replayed(runner(name), absorber(name), started(name))


def test_09_losses_alone_replay_the_run_of_a_program_that_the_compiler_optimised(method):
    """As users compile, and not as the suite does: products and sums become one operation."""
    optimizer, level = build(method, num_directions=3), {"xla_backend_optimization_level": 3}
    run, absorb = looped(optimizer, options=level), absorbing(optimizer, level)
    assert_replayed(run, absorb, jax.jit(optimizer.init)(PARAMS))


def test_10_the_mean_of_many_estimates_is_the_preconditioned_gradient(method):
    """On a quadratic, each entry within five standard errors of Sigma times the gradient."""
    if not method.unbiased:
        pytest.skip("what is applied is no linear function of one step's estimate")
    dims = (3, 4, 5)
    number, params = 3000, {"kernel": jnp.cos(jnp.arange(float(np.prod(dims)))).reshape(dims)}
    quadratic = lambda p: 0.5 * jnp.sum(p["kernel"] ** 2) + 3.0
    optimizer = build(method).estimate
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
    params, _ = trained(name_of(method), 300)
    assert float(loss(params)) < 0.6 * float(loss(PARAMS))


def test_13_temporary_memory(method):
    """One query at a time: a few copies of the parameters, whatever K is; dense rows say more."""
    params = {f"layer_{i}": jnp.zeros((256, 256)) for i in range(4)}
    x = jnp.ones((2, 256))

    def deep(p):
        h = x
        for name in sorted(p):
            h = jnp.tanh(h @ p[name])
        return jnp.mean(h)

    optimizer = build(method, chunk_size=1)
    step = jax.jit(stepper(optimizer, deep), donate_argnums=(0, 1))
    compiled = step.lower(params, jax.eval_shape(optimizer.init, params)).compile()
    size = sum(p.nbytes for p in params.values())
    assert compiled.memory_analysis().temp_size_in_bytes < method.memory * size


def test_14_a_loss_that_is_not_finite_cannot_poison(method):
    """NaN beyond a wall that some queries cross: weight zero, counted, parameters stay finite."""
    wall = lambda p: jnp.where(p["x"][0] > 0, jnp.nan, jnp.sum(p["x"] ** 2))
    params = {"x": jnp.asarray([0.0, 1.0, 1.0])}
    optimizer = build(method)
    params, state = looped(optimizer, wall)(params, jax.jit(optimizer.init)(params), 20)
    assert optax.tree.get(state, "nonfinite") > 0
    for leaf in jax.tree.leaves((params, plain(optax.tree.set(state, loss=0.0, losses=0.0)))):
        assert np.isfinite(leaf).all()


def test_leaves_without_numbers_are_taken(method):
    optimizer = build(method)
    of = lambda params: jnp.sum((params["x"] - 1) ** 2) + sum(map(jnp.sum, params["empty"]))
    params = {"x": jnp.zeros(3), "empty": [jnp.zeros((0, 4, 5)), jnp.zeros((3, 0))]}
    after, _ = looped(optimizer, of)(params, jax.jit(optimizer.init)(params), 2)
    assert [leaf.shape for leaf in after["empty"]] == [(0, 4, 5), (3, 0)]
    assert np.isfinite(after["x"]).all()
    assert (after["x"] != 0).all()


def test_15_the_docstring(method):
    text = inspect.getdoc(method.make)
    for part in (".. math::", "Args:", "Returns:", "Raises:", ">>> ", "References:", "arxiv.org"):
        assert part in text
    for name in inspect.signature(method.make).parameters:
        assert f"{name}: " in text


def test_forward_passes_are_as_declared(method):
    calls = []
    count = lambda value: calls.append(1) or np.asarray(value)
    params = {"kernel": jnp.ones((3, 2))}
    value_fn = lambda p: jax.pure_callback(
        count, jax.ShapeDtypeStruct((), jnp.float32), jnp.sum(p["kernel"]), vmap_method="sequential"
    )
    optimizer = build(method, chunk_size=1)
    state = jax.jit(optimizer.init)(params)
    # Compiled: outside of jit every loop of an update would be compiled on its own.
    step = jax.jit(stepper(optimizer, value_fn))
    params, state = jax.block_until_ready(step(params, state))
    assert len(calls) == declared_passes(name_of(method))
    calls.clear()
    jax.block_until_ready(step(params, state))
    assert len(calls) == optimizer.passes


def test_estimate_goes_before_any_optax_chain(method):
    """It makes the losses of the method's own step, and points uphill."""
    optimizer = build(method)
    estimate = optimizer.estimate
    assert (estimate.passes, estimate.scheme) == (optimizer.passes, optimizer.scheme)
    assert estimate.estimate is estimate
    adam = optax.scale_by_adam()
    other = optax.chain(estimate, adam, optax.scale(-1e-4))
    sources = {"value_fn": loss, "full_value_fn": loss}

    @jax.jit
    def step(state):
        uphill, alone = estimate.update(None, estimate.init(PARAMS), PARAMS, **sources)
        own = optimizer.update(None, state, PARAMS, **sources)[1]
        updates, after = other.update(None, other.init(PARAMS), PARAMS, **sources)
        expected = optax.tree.scale(-1e-4, adam.update(uphill, adam.init(PARAMS))[0])
        slope = optax.tree.vdot(uphill, jax.grad(loss)(PARAMS))
        return (alone, own, after[0]), (updates, expected), slope

    (alone, own, after), (updates, expected), slope = step(started(name_of(method)))
    found, expected_losses = (optax.tree.get(state, "losses") for state in (alone, own))
    np.testing.assert_allclose(found, expected_losses, rtol=1e-5)
    assert_equal(alone, after)
    chex.assert_trees_all_close(updates, expected, rtol=1e-6)
    assert slope > 0


def test_state_is_as_small_as_declared(method):
    state = jax.eval_shape(build(method).init, {"kernel": jnp.zeros((64, 32))})
    floats = sum(x.size for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating))
    expected = declared_state(name_of(method), m=32, n=64)
    assert floats == expected + optax.tree.get(state, "losses").size + 1


def test_frozen_leaves_stay_to_the_bit(method):
    optimizer = loren_jax.trained(build(method), lambda path: "bias" in path)

    @jax.jit
    def step():
        state = optimizer.init(PARAMS)
        updates, _ = optimizer.update(None, state, PARAMS, losses=some_losses(state))
        return optax.apply_updates(PARAMS, updates)

    params = step()
    assert not np.array_equal(params["layers"]["bias"], PARAMS["layers"]["bias"])
    for name in ("embeddings", "temperature"):
        assert_equal(params[name], PARAMS[name])
