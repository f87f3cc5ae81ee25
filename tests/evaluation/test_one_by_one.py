"""`chunk_size=1` maps nothing: losses that have no batching rule work, branches stay branches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from methods import METHODS, OF_EACH_KIND

import loren_jax

PARAMS = {"w": jnp.linspace(-1.0, 1.0, 128).reshape(2, 8, 8)}
SIZES = jnp.asarray([2, 2])


def experts(params):
    """A mixture of experts, of which `vmap` maps the first axis alone."""
    return jnp.sum(jax.lax.ragged_dot(jnp.ones((4, 8)), params["w"], SIZES) ** 2)


def on_the_host(params):
    shape = jax.ShapeDtypeStruct((), jnp.float32)
    return jax.pure_callback(lambda x: np.float32(np.sum(x**2)), shape, params["w"])


nothing_p = jax.extend.core.Primitive("nothing_that_maps")
nothing_p.def_impl(lambda x: x)
nothing_p.def_abstract_eval(lambda x: x)
jax.interpreters.mlir.register_lowering(nothing_p, lambda ctx, x: [x])


def by_a_primitive(params):
    return jnp.sum(nothing_p.bind(params["w"]) ** 2)


def build(name, **knobs):
    row = METHODS[name]
    knobs = dict(row.knobs) | knobs
    return row.make(knobs.pop("learning_rate", row.learning_rate), **knobs)


def step(optimizer, loss):
    run = jax.jit(lambda s: optimizer.update(None, s, PARAMS, value_fn=loss, full_value_fn=loss)[0])
    return run(optimizer.init(PARAMS))["w"]


@pytest.mark.each_value
@OF_EACH_KIND
@pytest.mark.parametrize("evaluation", [None, loren_jax.evaluation.materialised])
def test_a_loss_that_cannot_be_mapped(name, evaluation):
    optimizer = build(name, chunk_size=1, evaluation=evaluation)
    assert np.abs(step(optimizer, by_a_primitive)).max() > 0


@pytest.mark.each_value
@pytest.mark.parametrize("loss", [experts, on_the_host], ids=["ragged_dot", "callback"])
@pytest.mark.parametrize("num_directions", [2, 3])
@pytest.mark.parametrize("rank", [None, 1])
def test_losses_of_the_wild(loss, num_directions, rank):
    for make in (loren_jax.loren, loren_jax.mezo):
        optimizer = make(0.1, rank=rank, num_directions=num_directions, chunk_size=1)
        assert np.isfinite(step(optimizer, loss)).all()


def test_one_direction_with_two_points():
    assert np.isfinite(step(loren_jax.mezo(0.1, num_directions=1, chunk_size=1), experts)).all()


def test_a_loss_that_cannot_be_mapped_is_told_what_to_do():
    with pytest.raises(NotImplementedError) as caught:
        step(loren_jax.loren(0.1, chunk_size=6), by_a_primitive)
    assert any(
        "chunk_size=1 evaluates one query after another" in n for n in caught.value.__notes__
    )


@OF_EACH_KIND
def test_a_branch_on_the_parameters_runs_one_side(name):
    """Mapped, it would become a choice between both sides, which are both computed."""
    calls = []

    def loss(params):
        note = lambda: jax.debug.callback(lambda: calls.append(1))
        never = lambda: (note(), jnp.sum(params["w"] ** 2))[1]
        return jax.lax.cond(jnp.sum(params["w"]) > 1e6, never, lambda: jnp.sum(params["w"]))

    jax.block_until_ready(step(build(name, chunk_size=1), loss))
    jax.effects_barrier()
    assert calls == []


@pytest.mark.each_value
@pytest.mark.parametrize("loss", [by_a_primitive, on_the_host, experts])
@pytest.mark.parametrize("make", [loren_jax.loren, loren_jax.mezo, loren_jax.hizoo])
def test_by_default_a_loss_that_cannot_be_mapped_is_evaluated_one_by_one(make, loss):
    default, one_by_one = (step(make(0.1, **own), loss) for own in ({}, {"chunk_size": 1}))
    np.testing.assert_array_equal(default, one_by_one)
