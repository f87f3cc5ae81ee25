"""Decoding inside of other transformations, and of perturbed parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from models.test_generation import model_of
from models.tiny_checkpoints import DECODERS

import loren_jax
from loren_jax import diagnostics, noise
from loren_jax.directions import isotropic
from loren_jax.evaluation import evaluate_queries, materialised, perturbed
from loren_jax.models.decoding import Decoding, decode
from loren_jax.models.sampling import Sampling

IDS = np.array([[0, 3, 7], [2, 4, 5], [0, 0, 6]])
DRAWN = Sampling(temperature=1.0, top_k=9, top_p=0.9)
QUERIES = 4


def answers_of(config, params, sampling=DRAWN, ids=IDS, **options):
    how = Decoding(max_new_tokens=6, stop_tokens=(4, 9), sampling=sampling)
    return decode(config, params, ids, ids != 0, how, 5, **options)


@functools.cache
def directions_of(family):
    params, kind = model_of(family).params, isotropic(rank=1)
    state = kind.init(params, noise.run_key(0))
    draw = lambda i: kind.draw(state, params, noise.fold(noise.run_key(1), i))
    return jax.vmap(draw)(jnp.arange(QUERIES))


def asked(family, evaluation, chunk_size, sampling=DRAWN):
    """The program of all queries' answers, and what it takes."""
    config, _, params = model_of(family)

    def run(params, directions):
        return evaluate_queries(
            lambda params: answers_of(config, params, sampling),
            params,
            directions,
            points=(1.0, -1.0),
            scale=jnp.float32(0.1),
            evaluation=evaluation,
            chunk_size=chunk_size,
        )

    return jax.jit(run), (params, directions_of(family))


@pytest.mark.each_value
@pytest.mark.parametrize("sampling", [Sampling(), DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("family", DECODERS)
def test_no_weight_is_built_for_perturbed_answers(family, sampling):
    model = model_of(family)
    length = lambda params: jnp.mean(1.0 * answers_of(model.config, params, sampling).lengths)
    assert diagnostics.dense_leaves(length, model.params) == []


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen3", "gemma3_text"])
def test_answers_of_queries_are_those_of_perturbed_copies(family):
    program, arguments = asked(family, materialised, 1)
    wanted = program(*arguments)
    assert len(np.unique(wanted.lengths)) > 1  # queries that end apart share a loop
    for chunk_size in (1, 2 * QUERIES) if family == "llama" else (2 * QUERIES,):
        program, arguments = asked(family, perturbed, chunk_size)
        for found, expected in zip(program(*arguments), wanted, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_all_queries_see_the_same_noise():
    model = model_of("llama")
    drawn = functools.partial(answers_of, model.config)
    twice = jax.tree.map(lambda x: jnp.stack([x, x]), model.params)
    alone, both = jax.jit(drawn)(model.params), jax.jit(jax.vmap(drawn))(twice)
    for found, expected in zip(both, alone, strict=True):
        np.testing.assert_array_equal(found, np.stack([expected] * 2))


def test_rows_have_the_noise_of_their_numbers():
    model = model_of("llama")
    answer = jax.jit(functools.partial(answers_of, model.config))
    whole = answer(model.params)
    some = answer(model.params, ids=IDS[[2, 0]], rows=np.array([2, 0]))
    np.testing.assert_array_equal(some.tokens, whole.tokens[jnp.array([2, 0])])


def test_padding_stands_behind_the_end_and_rows_of_padding_have_no_answer():
    model = model_of("llama")
    ids = np.concatenate([IDS, np.zeros((1, 3), int)])
    answer = jax.jit(functools.partial(answers_of, model.config))
    tokens, lengths, ended = answer(model.params, ids=ids)
    assert lengths[3] == 0
    assert bool(ended[3])
    assert min(lengths[:3]) < 6
    for row, length in zip(np.asarray(tokens), lengths, strict=True):
        assert not row[length:].any()


def test_limit_is_a_number_of_the_program():
    model = model_of("gpt2")
    whole = answers_of(model.config, model.params, Sampling())
    limited = jax.jit(lambda n: answers_of(model.config, model.params, Sampling(), limit=n))
    for limit in (1, 4):
        found = limited(limit)
        np.testing.assert_array_equal(found.tokens[:, :limit], whole.tokens[:, :limit])
        np.testing.assert_array_equal(found.lengths, np.minimum(whole.lengths, limit))


@pytest.mark.parametrize("how", ["one", "copies", "perturbed"])
def test_the_cache_is_written_in_place(how):
    """More places cost their keys and values once, and those of one layer once more."""
    model, extra = model_of("llama", hidden_size=128, num_hidden_layers=6), 512
    config, params = model.config, model.params
    queries = 1 if how == "one" else 4

    def temporary(room):
        ids = jnp.asarray(IDS)
        run = lambda p: decode(config, p, ids, ids != 0, Decoding(max_new_tokens=room)).tokens
        given = params
        if how == "copies":
            given = jax.tree.map(lambda x: jnp.broadcast_to(x, (queries, *x.shape)), params)
            run = jax.vmap(run)
        if how == "perturbed":
            optimizer = loren_jax.loren(0.1, num_directions=queries, chunk_size=queries, rank=1)
            state = jax.jit(optimizer.init)(params)
            answers = run
            run = lambda p: loren_jax.observe(answers, optimizer, p, state)
        return jax.jit(run).lower(given).compile().memory_analysis().temp_size_in_bytes

    place = 2 * 4 * config.key_value_heads * config.head_size * len(IDS) * queries
    layers = config.num_hidden_layers
    grown = temporary(64 + extra) - temporary(64)
    assert layers * place * extra <= grown <= 1.05 * (layers + 1) * place * extra
