"""The estimates among Optax's own transformations: what composes, and in which order."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import loren_jax
from loren_jax.losses.micro_batches import micro_batched
from loren_jax.parts import completed
from loren_jax.transforms.precision import in_float32
from loren_jax.transforms.rounding import compensated_sum, stochastic_rounding

PARAMS = {"kernel": jnp.cos(jnp.arange(6.0)).reshape(3, 2), "bias": jnp.ones(2)}
X = jnp.sin(jnp.arange(24.0)).reshape(8, 3)


def loss(params, x):
    out = x.astype(params["kernel"].dtype) @ params["kernel"] + params["bias"][None]
    return jnp.mean(out.astype(jnp.float32) ** 2)


def scale_by_mezo(**knobs):
    return loren_jax.estimate(
        loren_jax.directions.isotropic(), loren_jax.schemes.two_sided(), num_directions=2, **knobs
    )


ESTIMATES = {"loren": lambda: loren_jax.loren(1.0).estimate, "mezo": scale_by_mezo}
each_estimate = pytest.mark.parametrize("make", ESTIMATES.values(), ids=ESTIMATES)


def one_update(tx, state=None, x=X, updates=None, **extra):
    return stepper(tx)(tx.init(PARAMS) if state is None else state, x, updates, **extra)


@functools.cache
def stepper(tx):
    """One compilation for all steps of an optimiser."""

    def step(state, x, updates, **extra):
        extra = extra or {"value_fn": lambda p: loss(p, x)}
        return tx.update(updates, state, PARAMS, **extra)

    return jax.jit(step)


def assert_close(a, b, rtol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=1e-7), a, b)


@each_estimate
def test_clip_by_global_norm_clips_the_estimate(make):
    estimate, _ = one_update(make())
    norm = float(optax.tree.norm(estimate))
    clipped, _ = one_update(optax.chain(make(), optax.clip_by_global_norm(0.1 * norm)))
    assert_close(clipped, jax.tree.map(lambda g: 0.1 * g, estimate))


def test_an_alias_is_its_parts():
    """chain(estimate, trace, add_decayed_weights, scale_by_learning_rate), two steps."""
    schedule = optax.linear_schedule(0.1, 0.0, 10)
    alias = loren_jax.loren(schedule, momentum=0.9, weight_decay=0.1)
    parts = optax.named_chain(
        ("estimate", loren_jax.loren(1.0).estimate),
        ("rest", optax.chain(optax.trace(0.9), optax.add_decayed_weights(0.1))),
        ("rate", optax.scale_by_learning_rate(schedule)),
    )
    ours = theirs = None
    for _ in range(2):
        a, ours = one_update(alias, ours)
        b, theirs = one_update(parts, theirs)
        assert_close(a, b)
    assert float(theirs["estimate"].loss) == float(optax.tree.get(ours, "loss"))


def test_hyperparameters_change_in_the_state_without_recompiling():
    def optimizer(learning_rate, scale):
        return optax.chain(scale_by_mezo(perturbation_scale=scale), optax.sgd(learning_rate))

    tx = optax.inject_hyperparams(optimizer)(learning_rate=0.1, scale=1e-2)
    start, traced = tx.init(PARAMS), []

    @jax.jit
    def step(state):
        traced.append("once")  # JAX's own count forgets where a process has many programs
        return tx.update(None, state, PARAMS, value_fn=lambda params: loss(params, X))[0]

    first = step(start)
    start.hyperparams["learning_rate"] = jnp.float32(0.2)
    assert_close(step(start), jax.tree.map(lambda u: 2 * u, first))
    assert traced == ["once"]


def test_leaves_get_rates_of_their_own_after_the_estimate():
    """optax.partition goes behind: the estimate needs all leaves for the loss."""
    rates = {"fast": optax.sgd(1.0), "slow": optax.sgd(0.1)}
    labels = {"kernel": "slow", "bias": "fast"}
    estimator = loren_jax.loren(1.0).estimate
    updates, _ = one_update(optax.chain(estimator, optax.partition(rates, labels)))
    estimate, _ = one_update(estimator)
    assert_close(updates, {"kernel": -0.1 * estimate["kernel"], "bias": -estimate["bias"]})


def test_apply_if_finite_goes_behind_the_estimate():
    """It looks at the updates that come in. An estimate that overflows leaves no trace."""
    estimator = scale_by_mezo(perturbation_scale=1e-30)
    tx = optax.chain(estimator, optax.apply_if_finite(optax.adam(0.1), 3))
    state = tx.init(PARAMS)
    losses = jnp.asarray([[9e14, -9e14], [1.0, 2.0]])
    updates, state = one_update(tx, state, losses=losses)
    assert not optax.tree.norm((updates, optax.tree.get(state, "mu")))
    assert state[1].total_notfinite == 1
    small = jnp.asarray([[1.0, 2.0], [2.0, 4.0]]) * 1e-30
    updates, state = one_update(tx, state, losses=small)
    assert np.all(updates["kernel"])


# What optax.MultiSteps accumulates around a whole optimiser is what the estimate ignores: only the
# last batch counts, though every mini-step costs its forward passes. Two ways are right: MultiSteps
# behind the estimate, or micro_batched.


def test_multi_steps_around_the_estimate_sees_the_last_batch_alone():
    whole = optax.chain(scale_by_mezo(), optax.sgd(0.1))
    tx = optax.MultiSteps(whole, 2)
    with pytest.raises(ValueError, match="pytree"):
        tx.update(None, tx.init(PARAMS), PARAMS, value_fn=lambda p: loss(p, X))
    zeros = jax.tree.map(jnp.zeros_like, PARAMS)
    with pytest.warns(UserWarning, match="takes none"):  # while it is traced zeros cannot be seen
        _, state = one_update(tx, tx.init(PARAMS), x=X[:4], updates=zeros)
    updates, _ = one_update(tx, state, x=X[4:], updates=zeros)
    last, _ = one_update(whole, x=X[4:])
    assert_close(updates, last)


@each_estimate
def test_multi_steps_behind_the_estimate_averages_the_mini_steps(make):
    """Each with directions and a batch of its own; in between the parameters stay, to the bit."""
    tx = optax.chain(make(), optax.MultiSteps(optax.sgd(0.1), 2).gradient_transformation())
    first, state = one_update(tx, x=X[:4])
    assert not optax.tree.norm(first)
    second, state = one_update(tx, state, x=X[4:])
    alone = make()
    a, between = one_update(alone, x=X[:4])
    b, _ = one_update(alone, between, x=X[4:])
    assert_close(second, jax.tree.map(lambda a, b: -0.1 * (a + b) / 2, a, b), rtol=1e-4)
    assert optax.tree.get(state, "mini_step") == 0
    assert state[0].count == 2


@each_estimate
def test_micro_batches_are_the_full_batch_in_one_update(make):
    """The same directions for all rows, and nothing accumulated but the losses."""
    full, _ = one_update(tx := make())
    update = lambda s: tx.update(None, s, PARAMS, value_fn=micro_batched(loss, X, 3))
    ours, _ = jax.jit(update)(tx.init(PARAMS))
    assert_close(ours, full, rtol=2e-3)


@pytest.mark.parametrize("last", [stochastic_rounding, compensated_sum])
def test_nnx_optimizer_with_bfloat16_parameters_and_rounding(last):
    model = nnx.Linear(3, 2, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    tx = optax.chain(loren_jax.loren(1.0).estimate, in_float32(optax.adam(1e-3)), last())
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    graphdef = nnx.split(model)[0]
    value_fn = lambda params: jnp.mean(nnx.merge(graphdef, params)(X).astype(jnp.float32) ** 2)
    before = float(value_fn(nnx.state(model, nnx.Param)))

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, None, value_fn=value_fn)

    for _ in range(100):
        step(model, optimizer)
    assert model.kernel[...].dtype == jnp.bfloat16
    assert float(value_fn(nnx.state(model, nnx.Param))) < 0.95 * before


def test_train_state_needs_update_and_not_apply_gradients():
    """apply_gradients has no way to hand value_fn on."""
    state = TrainState.create(apply_fn=None, params=PARAMS, tx=loren_jax.mezo(0.1))
    with pytest.raises(ValueError, match="neither of value_fn and losses"):
        state.apply_gradients(grads=PARAMS)


@each_estimate
def test_scan_over_batches(make):
    """Epochs in one compiled loop equal steps one by one."""
    tx = optax.chain(make(), optax.clip_by_global_norm(1.0), optax.sgd(0.05, momentum=0.9))
    batches = X.reshape(4, 2, 3)

    def step(carry, x):
        params, state = carry
        updates, state = tx.update(None, state, params, value_fn=lambda p: loss(p, x))
        return (optax.apply_updates(params, updates), state), optax.tree.get(state, "loss")

    start = PARAMS, tx.init(PARAMS)
    (scanned, _), losses = jax.jit(lambda carry: jax.lax.scan(step, carry, batches))(start)
    single = jax.jit(step)
    for batch in batches:
        start, _ = single(start, batch)
    assert_close(scanned, start[0])
    assert losses.shape == (4,)


@pytest.mark.parametrize("mask", [None, lambda path: path == "kernel"])
def test_a_forward_branch_beside_a_backward_branch(mask):
    """`optax.partition`: the loss gets all parameters, each branch steps as it does alone."""
    forward = loren_jax.trained(loren_jax.loren(0.05, momentum=None), mask)
    labels = {"kernel": "forward", "bias": "backward"}
    tx = optax.partition({"forward": forward, "backward": optax.adam(0.1)}, labels)

    @jax.jit
    def step(params, state):
        gradient = jax.grad(lambda bias: loss(params | {"bias": bias}, X))(params["bias"])
        updates = {"kernel": np.zeros(params["kernel"].shape), "bias": gradient}
        value_fn = completed(lambda p: loss(p, X), params)
        updates, state = tx.update(updates, state, params, value_fn=value_fn)
        return optax.apply_updates(params, updates), state

    alone = loren_jax.trained(loren_jax.loren(0.05, momentum=None), lambda path: path == "kernel")
    moved, _ = step(PARAMS, tx.init(PARAMS))
    value_fn = lambda p: loss(p, X)
    updates, _ = alone.update(None, alone.init(PARAMS), PARAMS, value_fn=value_fn)
    expected = optax.apply_updates(PARAMS, updates)
    np.testing.assert_allclose(moved["kernel"], expected["kernel"], rtol=1e-5)
    assert not np.array_equal(moved["bias"], PARAMS["bias"])


def test_a_loss_that_misses_its_other_leaves_is_told_why():
    labels = {"kernel": "forward", "bias": "backward"}
    parts = {"forward": loren_jax.loren(0.1), "backward": optax.sgd(0.1)}
    tx = optax.partition(parts, labels)
    zeros = jax.tree.map(lambda x: np.zeros(x.shape), PARAMS)
    with pytest.raises((TypeError, AttributeError)) as caught:
        tx.update(zeros, tx.init(PARAMS), PARAMS, value_fn=lambda p: loss(p, X))
    assert any("loren_jax.parts.completed(loss, params)" in n for n in caught.value.__notes__)
