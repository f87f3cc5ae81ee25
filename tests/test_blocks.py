"""Blocks: which leaves form one, in which order they come, and that nothing else moves."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import loren_jax
from loren_jax import blockwise, estimate
from loren_jax.directions import isotropic
from loren_jax.schemes import two_sided

PARAMS = {
    "embeddings": {"embedding": jnp.ones((6, 4))},
    "head": {"bias": jnp.ones(2), "kernel": jnp.ones((4, 2))},
    "layers": {"bias": jnp.ones((3, 4)), "kernel": jnp.ones((3, 4, 4))},
}
UNROLLED = {
    "layers": [{"kernel": jnp.ones((4, 4))} for _ in range(12)],
    "norm": jnp.ones(4),
    "wte": {"embedding": jnp.ones((6, 4))},
}
ESTIMATE = estimate(isotropic(), two_sided(), num_directions=1)
LOSSES = jnp.asarray([[2.0, 1.0]])


def absorbing(optimizer):
    """Compiled: outside of jit each step would compile its branches again."""
    return jax.jit(functools.partial(optimizer.update, None))


def run(params, steps, **how):
    """The states after each step, and which numbers it moved: trees of bool arrays."""
    optimizer = blockwise(ESTIMATE, **how)
    state, absorb = jax.jit(optimizer.init)(params), absorbing(optimizer)
    for _ in range(steps):
        updates, state = absorb(state, params, losses=LOSSES)
        yield state, jax.tree.map(lambda u: np.asarray(u) != 0, updates)


def moved(params, steps, **how):
    return [tree for _, tree in run(params, steps, **how)]


def test_ascending_blocks_are_embedding_layers_head():
    seen = moved(PARAMS, 5, order="ascending")
    layer = lambda i: np.arange(3) == i
    for step, tree in enumerate(seen):
        assert tree["embeddings"]["embedding"].all() == (step == 0)
        assert tree["head"]["kernel"].all() == tree["head"]["bias"].all() == (step == 4)
        assert not (tree["head"]["kernel"].any() and step != 4)
        expected = layer(step - 1)
        np.testing.assert_array_equal(tree["layers"]["kernel"].all((1, 2)), expected)
        np.testing.assert_array_equal(tree["layers"]["kernel"].any((1, 2)), expected)
        np.testing.assert_array_equal(tree["layers"]["bias"].any(1), expected)


@pytest.mark.slow
def test_unrolled_layers_are_blocks_in_the_order_of_their_numbers():
    seen = moved(UNROLLED, 14, order="ascending")
    assert seen[0]["wte"]["embedding"].all()
    for i in range(12):
        which = [tree["layers"][i]["kernel"].any() for tree in seen]
        assert which == [step == i + 1 for step in range(14)]
    assert seen[13]["norm"].all()


@pytest.mark.slow
@pytest.mark.parametrize("order", ["random", "cyclic", "ascending"])
def test_each_block_comes_once_a_cycle(order):
    states = [state for state, _ in run(PARAMS, 20, order=order)]
    numbers = np.array([int(state.block) for state in states]).reshape(4, 5)
    np.testing.assert_array_equal(np.sort(numbers, 1), np.tile(np.arange(5), (4, 1)))
    same = (numbers == numbers[0]).all()
    assert same == (order != "random")
    assert (numbers[0] == np.arange(5)).all() == (order == "ascending")


def test_labels_of_the_users_own():
    label = lambda path: "first" if "kernel" in path else "second"
    # Blocks ascend in order of appearance, and the embedding comes first.
    second, first = moved(PARAMS, 2, order="ascending", blocks=label)
    assert first["layers"]["kernel"].all()
    assert first["head"]["kernel"].all()
    assert not first["layers"]["bias"].any()
    assert second["layers"]["bias"].all()
    assert second["embeddings"]["embedding"].all()


def test_leaves_that_always_move():
    trees = moved(PARAMS, 4, order="ascending", always=lambda path: "head" in path)
    for step, tree in enumerate(trees):
        assert tree["head"]["kernel"].all()
        assert tree["head"]["bias"].all()
        assert tree["embeddings"]["embedding"].any() == (step == 0)


def test_the_noise_of_a_block_is_that_of_the_estimate_on_it_alone():
    optimizer = blockwise(ESTIMATE, order="ascending")
    state, absorb = jax.jit(optimizer.init)(PARAMS), absorbing(optimizer)
    alone = {"layers": {"bias": jnp.ones(4), "kernel": jnp.ones((4, 4))}}
    own, absorb_alone = ESTIMATE.init(alone), absorbing(ESTIMATE)
    for _ in range(3):  # the embedding and two of the layers
        updates, state = absorb(state, PARAMS, losses=LOSSES)
        expected, own = absorb_alone(own, alone, losses=LOSSES)
    for name in ("kernel", "bias"):
        np.testing.assert_array_equal(updates["layers"][name][1], expected["layers"][name])


@pytest.mark.slow
@pytest.mark.parametrize("order", ["random", "ascending"])
def test_what_is_asked_is_what_the_update_is_along(order):
    """Every block, in a stack or not: the two points of a direction lie beside the parameters."""
    optimizer = blockwise(loren_jax.mezo(0.5, perturbation_scale=0.25), order=order)
    state, params = jax.jit(optimizer.init)(PARAMS), PARAMS
    ask, absorb = jax.jit(optimizer.ask), absorbing(optimizer)
    for _ in range(5):
        plus, minus = (ask(params, state, 0, point) for point in (0, 1))
        losses = jnp.asarray([[1.0, 0.0]])
        updates, state = absorb(state, params, losses=losses)
        # x - eta (1 - 0) / (2 epsilon) u, and x_plus - x_minus = 2 epsilon u.
        along = jax.tree.map(lambda p, m: -0.5 * (p - m) / (2 * 0.25) ** 2, plus, minus)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), updates, along)
        params = optax.apply_updates(params, updates)


def test_any_optimiser_without_state_of_the_parameters_shape():
    """KerZOO with decay: what is not of the block does not decay either."""
    inner = loren_jax.kerzoo(0.1, weight_decay=0.5)
    loss = lambda params: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
    step = loren_jax.train_step(loss, optimizer := blockwise(inner, order="ascending"))
    params, _ = step(jax.tree.map(jnp.copy, PARAMS), optimizer.init(PARAMS))
    changed = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), params, PARAMS)
    assert changed["embeddings"]["embedding"]
    assert not any(jax.tree.leaves([changed["head"], changed["layers"]]))


@pytest.mark.slow
def test_auxiliary_outputs_come_through():
    total = lambda params: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
    loss = lambda params: (total(params), {"size": jnp.asarray(3.0)})
    optimizer = blockwise(ESTIMATE, order="ascending")
    state = jax.jit(optimizer.init)(PARAMS)
    step = jax.jit(functools.partial(optimizer.update, None, value_fn=loss, has_aux=True))
    for _ in range(2):
        _, state = step(state, PARAMS)
        aux = optax.tree.get(state, "aux")
        assert aux["size"].shape == (1, 2)
        np.testing.assert_array_equal(aux["size"], 3.0)


def test_errors():
    with pytest.raises(ValueError, match="order must be one of 'random', 'cyclic', 'ascending'"):
        # As without the checks of types that the tests run with.
        inspect.unwrap(blockwise)(ESTIMATE, order="backwards")
    for other in (loren_jax.loren(0.1), loren_jax.mezo_adam(0.1), loren_jax.mezo_svrg(0.1)):
        with pytest.raises(ValueError, match="must have no state of the parameters' shape"):
            blockwise(other).init(PARAMS)
