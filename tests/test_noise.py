"""Noise is identified by (run, step, query, leaf path, layer), whatever else there is."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from loren_jax import noise, scheduling


def draw_tree(key, tree):
    leaves, treedef = jax.tree_util.tree_flatten_with_path(tree)
    streams = [noise.Stream(noise.path_names(p), "vector", (), leaf.shape) for p, leaf in leaves]
    return treedef.unflatten(noise.normals(key, streams))


def test_equal_shapes_at_different_paths_are_uncorrelated():
    size = 20_000
    tree = {"a": jnp.zeros(size), "b": jnp.zeros(size), "nested": {"a": jnp.zeros(size)}}
    leaves = np.stack(jax.tree.leaves(draw_tree(noise.run_key(0), tree)))
    correlation = np.corrcoef(leaves) - np.eye(3)
    assert np.abs(correlation).max() < 4 / np.sqrt(size)


def test_adding_a_leaf_changes_no_other():
    small = draw_tree(noise.run_key(0), {"b": jnp.zeros(3), "d": jnp.zeros(3)})
    large = draw_tree(noise.run_key(0), {k: jnp.zeros(3) for k in "abcde"})
    np.testing.assert_array_equal(small["b"], large["b"])
    np.testing.assert_array_equal(small["d"], large["d"])


def test_a_slash_in_a_name_is_no_path():
    tree = {"a/b": jnp.zeros(3), "a": {"b": jnp.zeros(3)}}
    drawn = draw_tree(noise.run_key(0), tree)
    assert not np.array_equal(drawn["a/b"], drawn["a"]["b"])


def test_an_nnx_state_has_the_noise_of_its_pure_dict():
    state = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
    as_state = draw_tree(noise.run_key(0), state)
    as_dict = draw_tree(noise.run_key(0), nnx.to_pure_dict(state))
    np.testing.assert_array_equal(jax.tree.leaves(as_state)[1], as_dict["kernel"])


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["query", "key", "value"], meta_fields=[]
)
@dataclasses.dataclass
class Attention:
    """Arrays by the names that an attention has."""

    query: Any
    key: Any
    value: Any


ATTENTION = Attention(jnp.ones((2, 3)), jnp.ones((2, 3)), jnp.ones((2, 3)))


def test_a_field_named_value_is_part_of_its_path_where_it_has_siblings():
    expected = ["attn/query", "attn/key", "attn/value"]
    assert noise.leaf_paths({"attn": ATTENTION}) == expected
    assert noise.leaf_paths(ATTENTION) == ["query", "key", "value"]
    assert noise.leaf_paths({"a": {"value": 0.0}, "b": [Attention(None, None, 1.0)]}) == [
        "a/value",
        "b/0/value",
    ]
    # A mask puts empty nodes where a leaf was.
    kept = Attention(optax.MaskedNode(), optax.MaskedNode(), jnp.ones(2))
    assert noise.leaf_paths({"attn": kept}) == ["attn/value"]


def test_the_value_of_an_nnx_variable_is_not():
    model = nnx.MultiHeadAttention(2, 4, rngs=nnx.Rngs(0))
    state = nnx.state(model, nnx.Param)
    assert noise.leaf_paths(state) == noise.leaf_paths(nnx.to_pure_dict(state))
    assert "value/kernel" in noise.leaf_paths(model)


def test_noise_of_a_field_named_value_is_that_of_older_versions():
    drawn = draw_tree(noise.run_key(0), {"attn": ATTENTION})["attn"]
    stream = noise.Stream(("attn",), "vector", (), (2, 3))
    np.testing.assert_array_equal(drawn.value, noise.normals(noise.run_key(0), [stream])[0])


def test_vmap_loop_and_scan_draw_the_same_bits():
    keys = noise.fold_all(noise.run_key(3), (5,))
    draw = lambda key: noise.normal_rows(key, jnp.arange(2), 4)
    loop = np.stack([draw(key) for key in keys])
    np.testing.assert_array_equal(jax.vmap(draw)(keys), loop)
    np.testing.assert_array_equal(jax.lax.map(draw, keys), loop)
    np.testing.assert_array_equal(jax.jit(jax.vmap(draw))(keys), loop)


def test_more_layers_and_longer_rows_begin_with_the_same_numbers():
    key = noise.run_key(0)
    draw = lambda stack, size: noise.normals(key, [noise.Stream(("w",), "left", stack, (size,))])[0]
    np.testing.assert_array_equal(draw((2,), 300), draw((5,), 300)[:2])
    np.testing.assert_array_equal(draw((2,), 300), draw((2,), 500)[:, :300])


def test_layer_keys_are_those_of_each_stream_alone():
    streams = [noise.Stream(("a",), "matrix", (2, 3)), noise.Stream(("b",), "matrix", ())]
    together = noise.layer_keys(noise.run_key(0), streams)
    for stream, keys in zip(streams, together, strict=True):
        (alone,) = noise.layer_keys(noise.run_key(0), [stream])
        assert keys.shape == stream.stack
        np.testing.assert_array_equal(jax.random.key_data(keys), jax.random.key_data(alone))


def test_keys_of_a_stack_are_numbered_row_by_row():
    key = noise.run_key(0)
    grid = noise.fold_all(key, (2, 3))
    flat = noise.fold_all(key, (6,))
    np.testing.assert_array_equal(
        jax.random.key_data(grid).reshape(6, -1), jax.random.key_data(flat)
    )
    assert len(np.unique(jax.random.key_data(flat), axis=0)) == 6


def test_names_are_hashed_the_same_everywhere():
    """Frozen: a journal written today must replay tomorrow and on another machine."""
    key = noise.fold_name(noise.run_key(0), "layers/attention/query/kernel")
    assert jax.random.key_data(key).tolist() == FROZEN_KEY


FROZEN_KEY = [229748658, 3655476602]


def test_run_key_takes_seeds_and_typed_keys_alike():
    expected = jax.random.key_data(noise.run_key(7))
    np.testing.assert_array_equal(jax.random.key_data(noise.run_key(jnp.asarray(7))), expected)
    np.testing.assert_array_equal(jax.random.key_data(noise.run_key(jax.random.key(7))), expected)


def test_a_raw_key_is_the_threefry_key_that_it_is():
    for seed in (0, 7):
        raw, typed = jax.random.PRNGKey(seed), jax.random.key_data(noise.run_key(seed))
        np.testing.assert_array_equal(jax.random.key_data(noise.run_key(raw)), typed)
        np.testing.assert_array_equal(jax.random.key_data(noise.run_key(np.asarray(raw))), typed)


@pytest.mark.parametrize("make", [jnp.asarray, jax.random.key, jax.random.PRNGKey])
def test_seeds_and_keys_may_be_traced(make):
    words = lambda key: jax.random.key_data(noise.run_key(key))
    expected = np.stack([words(seed) for seed in (3, 4)])
    keys = jnp.stack([make(3), make(4)])
    np.testing.assert_array_equal(jax.jit(words)(keys[0]), expected[0])
    np.testing.assert_array_equal(jax.vmap(words)(keys), expected)


@pytest.mark.parametrize("raw", [False, True])
def test_other_generators_are_refused(raw):
    make = jax.random.PRNGKey if raw else jax.random.key
    with pytest.raises(ValueError, match=r"key uses the generator rbg.*threefry2x32"):
        noise.run_key(make(0, impl="rbg"))


@pytest.mark.parametrize(
    ("key", "given"),
    [
        (1.5, "1.5"),
        ("a", "'a'"),
        (None, "None"),
        (True, "True"),
        ([0, 1], r"\[0, 1\]"),
        (np.float32(1), r"an array of type float32 and shape \(\)"),
        (np.zeros(3, np.uint32), r"an array of type uint32 and shape \(3,\)"),
        (np.zeros((2, 2), np.uint32), r"an array of type uint32 and shape \(2, 2\)"),
        (np.zeros(2, np.int32), r"an array of type int32 and shape \(2,\)"),
        (jax.random.split(jax.random.key(0)), r"an array of keys of shape \(2,\)"),
    ],
    ids=str,
)
def test_what_is_no_key_is_named_with_the_remedy(key, given):
    with pytest.raises((TypeError, ValueError), match=f"^key is {given}.*pass [^\n]*$"):
        noise.run_key(key)


def test_any_rows_can_be_drawn_alone():
    key, some = noise.run_key(0), jnp.asarray([6, 2, 2, 40])
    every = noise.normal_rows(key, jnp.arange(50), 33)
    np.testing.assert_array_equal(noise.normal_rows(key, some, 33), every[some])


def test_two_words_are_folded_as_two_numbers_would_be():
    """The pair (0, number) is JAX's own fold_in, so that a key can be checked without this code."""
    key = noise.run_key(3)
    np.testing.assert_array_equal(
        jax.random.key_data(noise.fold_all(key, (5,))[4]),
        jax.random.key_data(jax.random.fold_in(key, 4)),
    )


def everything(key):
    """A bit of all that is drawn, `vmap`ped, looped and alone."""
    key = noise.run_key(key)
    rows = lambda key: noise.normal_rows(key, jnp.arange(3), 200)
    streams = [noise.Stream(("w",), "left", (2,), (5, 3)), noise.Stream(("b",), "vector", (), (7,))]
    keys = noise.fold_all(noise.fold(key, 3), (2,))
    layers = [jax.random.key_data(k) for k in noise.layer_keys(key, streams)]
    return (
        rows(key),
        jax.vmap(rows)(keys),
        jax.lax.map(rows, keys),
        noise.normals(key, streams),
        layers,
    )


FLAGS = {
    "jax_threefry_partitionable": False,
    "jax_random_seed_offset": 5,
    "jax_enable_x64": True,
    "jax_default_prng_impl": "rbg",
}


@pytest.mark.each_value
@pytest.mark.slow
@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("seed", [-3, 2**40 + 5])
def test_flags_of_jax_change_no_number(flag, seed):
    """Not when a program is traced, and not when it is compiled, which is later."""
    fresh, argument = lambda: jax.jit(lambda _: everything(seed)), np.float32(0)
    expected, traced = fresh()(argument), fresh().trace(argument)
    before = getattr(jax.config, flag)
    jax.config.update(flag, FLAGS[flag])
    try:
        found = [everything(seed), fresh()(argument), traced.lower().compile()(argument)]
    finally:
        jax.config.update(flag, before)
    for numbers in found:
        jax.tree.map(np.testing.assert_array_equal, numbers, expected)


def test_numbers_are_those_of_jax_with_its_default_flags():
    """So that they can be made again without this code, and an old journal replays."""
    for seed in (0, -3, 2**40 + 5, np.int32(9)):
        expected = jax.random.key_data(jax.random.key(seed))
        np.testing.assert_array_equal(jax.random.key_data(noise.run_key(seed)), expected)
    key = noise.run_key(7)
    rows = [jax.random.normal(jax.random.fold_in(key, i), (1000,), jnp.float32) for i in range(3)]
    np.testing.assert_array_equal(noise.normal_rows(key, jnp.arange(3), 1000), np.stack(rows))


def test_noise_forces_no_retrace():
    traced = []

    @jax.jit
    def draw(key):
        traced.append(key)
        return noise.normal_rows(noise.run_key(key), jnp.arange(3), 20)

    for seed in range(3):
        draw(seed)
    assert len(traced) == 1


def test_large_draws_hold_little_beside_their_result():
    size = 2048
    draw = lambda w, key: w + noise.normal_rows(key, jnp.arange(size), size)
    w = jax.ShapeDtypeStruct((size, size), jnp.float32)
    compiled = jax.jit(draw).lower(w, noise.run_key(0)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 1.2 * 4 * size**2


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere a loop is the boundary")
def test_numbers_that_are_read_twice_are_drawn_once():
    """Nor again for each entry of what a factor is multiplied into; twenty rounds have one each."""
    keys = noise.fold_all(noise.run_key(0), (512,))

    def read(keys):
        drawn = scheduling.in_blocks(noise._normal, keys, 128)
        return drawn[:, :, None] * drawn[:, None], jnp.sum(drawn, 1)

    text = jax.jit(read).lower(keys).compile().as_text()
    assert text.count(" shift-left(") == 20
    assert " while(" not in text


def test_a_block_takes_no_more_memory_than_with_jax_itself():
    keys = noise.fold_all(noise.run_key(0), (32,))
    jaxs = jax.vmap(lambda key: jax.random.normal(key, (2048,), jnp.float32))
    memory = lambda draw: jax.jit(draw).lower(keys).compile().memory_analysis().temp_size_in_bytes
    assert memory(lambda keys: noise._normal(keys, 2048)) <= memory(jaxs)


def test_standard_normal():
    """Mean, variance and fourth moment of 200,000 numbers, within five standard errors."""
    x = noise.normal_rows(noise.run_key(1), jnp.arange(500), 400)
    x = np.asarray(x, np.float64).ravel()
    for power, expected in ((1, 0.0), (2, 1.0), (4, 3.0)):
        error = (x**power).std() / np.sqrt(x.size)
        assert abs((x**power).mean() - expected) < 5 * error


def test_signs_are_fair_and_independent():
    x = np.asarray(noise.sign_rows(noise.run_key(1), jnp.arange(500), 400))
    assert set(np.unique(x)) == {-1.0, 1.0}
    error = 1 / np.sqrt(x.size)
    assert abs(x.mean()) < 4 * error
    # Of neighbours in a row, in a column, at the distance of a word and of a pair of words.
    pairs = [(x[1:], x[:-1]), *((x[:, n:], x[:, :-n]) for n in (1, 32, 64))]
    for a, b in pairs:
        assert abs(np.mean(a * b)) < 4 / np.sqrt(a.size)
    assert np.abs(x.mean(0)).max() < 5 / np.sqrt(500)


def test_rows_of_signs_do_not_depend_on_what_else_is_drawn():
    key = noise.run_key(3)
    every = noise.sign_rows(key, jnp.arange(50), 70)
    some = jnp.asarray([40, 3, 7])
    np.testing.assert_array_equal(noise.sign_rows(key, some, 70), every[some])


def test_gumbel_numbers_are_standard_and_known_by_key_row_and_place():
    draw = lambda rows, place: noise.gumbels(
        noise.run_key(3), jnp.asarray(rows), jnp.asarray(place), 4096
    )
    numbers = draw([*range(16)], 5)
    count = numbers.size
    assert abs(float(numbers.mean()) - np.euler_gamma) < 5 * np.pi / np.sqrt(6 * count)
    assert abs(float(numbers.var()) - np.pi**2 / 6) < 0.06
    assert bool(jnp.all(jnp.isfinite(numbers)))
    np.testing.assert_array_equal(draw([11, 2], 5), numbers[jnp.array([11, 2])])
    assert not np.any(np.asarray(draw([11], 6)[0]) == np.asarray(numbers[11]))
