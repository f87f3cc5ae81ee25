"""Blocks: which leaves form one, in which order they come, and that nothing else moves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax import noise
from loren_jax.directions import Dense, OneLayer, Zero, blockwise, isotropic, rank_one

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


def moved(directions, params, state, key=None):
    """What a step moves: a tree of bool arrays."""
    number, cases = directions.cases(state, params)
    drawn = cases[int(number)].draw(state, params, noise.run_key(5) if key is None else key)
    return jax.tree.map(lambda leaf, d: np.asarray(d.to_dense()) != 0, params, drawn)


def run(directions, params, steps):
    state = directions.init(params, noise.run_key(1))
    for step in range(steps):
        state = directions.refresh(state, params, noise.fold(noise.run_key(2), step))
        yield state


def test_ascending_blocks_are_embedding_layers_head():
    directions = blockwise(isotropic(), order="ascending")
    seen = [moved(directions, PARAMS, state) for state in run(directions, PARAMS, 5)]
    layer = lambda i: np.arange(3) == i
    for step, tree in enumerate(seen):
        assert tree["embeddings"]["embedding"].all() == (step == 0)
        assert tree["head"]["kernel"].all() == tree["head"]["bias"].all() == (step == 4)
        assert not (tree["head"]["kernel"].any() and step != 4)
        expected = layer(step - 1)
        np.testing.assert_array_equal(tree["layers"]["kernel"].all((1, 2)), expected)
        np.testing.assert_array_equal(tree["layers"]["kernel"].any((1, 2)), expected)
        np.testing.assert_array_equal(tree["layers"]["bias"].any(1), expected)


def test_unrolled_layers_are_blocks_in_the_order_of_their_numbers():
    directions = blockwise(isotropic(), order="ascending")
    seen = [moved(directions, UNROLLED, state) for state in run(directions, UNROLLED, 14)]
    assert seen[0]["wte"]["embedding"].all()
    for i in range(12):
        which = [tree["layers"][i]["kernel"].any() for tree in seen]
        assert which == [step == i + 1 for step in range(14)]
    assert seen[13]["norm"].all()


@pytest.mark.parametrize("order", ["random", "cyclic", "ascending"])
def test_each_block_comes_once_a_cycle(order):
    directions = blockwise(isotropic(), order=order)
    numbers = np.array([int(state.block) for state in run(directions, PARAMS, 20)]).reshape(4, 5)
    np.testing.assert_array_equal(np.sort(numbers, 1), np.tile(np.arange(5), (4, 1)))
    same = (numbers == numbers[0]).all()
    assert same == (order != "random")
    assert (numbers[0] == np.arange(5)).all() == (order == "ascending")


def test_labels_of_the_users_own():
    label = lambda path: "first" if "kernel" in path else "second"
    directions = blockwise(isotropic(), order="ascending", blocks=label)
    # Blocks ascend in order of appearance, and the embedding comes first.
    second, first = (moved(directions, PARAMS, state) for state in run(directions, PARAMS, 2))
    assert first["layers"]["kernel"].all()
    assert first["head"]["kernel"].all()
    assert not first["layers"]["bias"].any()
    assert second["layers"]["bias"].all()
    assert second["embeddings"]["embedding"].all()


def test_leaves_that_always_move():
    directions = blockwise(isotropic(), order="ascending", always=lambda path: "head" in path)
    for step, state in enumerate(run(directions, PARAMS, 4)):
        tree = moved(directions, PARAMS, state)
        assert tree["head"]["kernel"].all()
        assert tree["head"]["bias"].all()
        assert tree["embeddings"]["embedding"].any() == (step == 0)


def test_the_noise_of_a_block_is_that_of_the_directions_on_it_alone():
    directions = blockwise(isotropic(), order="ascending")
    state = list(run(directions, PARAMS, 3))[2]
    number, cases = directions.cases(state, PARAMS)
    drawn = cases[int(number)].draw(state, PARAMS, noise.run_key(7))
    alone = {"layers": {"bias": jnp.ones(4), "kernel": jnp.ones((4, 4))}}
    expected = isotropic().draw((), alone, noise.run_key(7))["layers"]
    np.testing.assert_array_equal(
        drawn["layers"]["kernel"].to_dense()[1], expected["kernel"].to_dense()
    )
    np.testing.assert_array_equal(
        drawn["layers"]["bias"].to_dense()[1], expected["bias"].to_dense()
    )


def test_inactive_leaves_are_zero_by_structure():
    directions = blockwise(isotropic(), order="ascending")
    state = directions.refresh(directions.init(PARAMS, noise.run_key(0)), PARAMS, noise.run_key(0))
    embedding, layers, head = directions.cases(state, PARAMS)[1]
    kinds = [
        jax.tree.map(lambda _, d: type(d), PARAMS, case.draw(state, PARAMS, noise.run_key(1)))
        for case in (embedding, layers, head)
    ]
    assert [k["embeddings"]["embedding"] for k in kinds] == [Dense, Zero, Zero]
    assert [k["layers"]["kernel"] for k in kinds] == [Zero, OneLayer, Zero]
    assert [k["head"]["kernel"] for k in kinds] == [Zero, Zero, Dense]


def test_errors():
    with pytest.raises(ValueError, match="order must be one of 'random', 'cyclic', 'ascending'"):
        blockwise(isotropic(), order="backwards")
    with pytest.raises(ValueError, match="directions must be without state"):
        blockwise(rank_one()).init(PARAMS, noise.run_key(0))
