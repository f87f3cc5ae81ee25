"""Replays: to the bit, of any step, of every kind of run, and never of the wrong model."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax import journal, noise

K = {"num_directions": 2}
START = {
    "layers": {"kernel": jnp.cos(jnp.arange(24.0)).reshape(2, 4, 3), "bias": jnp.zeros((2, 3))},
    "head": jnp.sin(jnp.arange(6.0)),
}
BFLOAT = jax.tree.map(lambda x: x.astype(jnp.bfloat16), START)


def loss(params, shift):
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    inner = jnp.tanh(jnp.einsum("lij,lj->li", wide["layers"]["kernel"], wide["layers"]["bias"] + 1))
    return jnp.sum((inner - shift) ** 2) + jnp.sum((wide["head"] - shift) ** 2)


def recorded(path, method, start=START, steps=6, broken=(), optimizer=None):
    """A run of some steps; returns what it was after each."""
    optimizer = optimizer or method.build()
    step = loren_jax.train_step(loss, optimizer, full_loss=lambda params: loss(params, 0.5))
    params, state = jax.tree.map(jnp.copy, start), jax.jit(optimizer.init)(start)
    shape = jax.eval_shape(step.probe, params, state, 0.0).shape
    seen = [jax.device_get(params)]
    with journal.create(path, journal.header(start, shape, method=method)) as log:
        for number in range(steps):
            losses = np.asarray(step.probe(params, state, 0.1 * number)).copy()
            if number in broken:
                losses[: broken[number]] = np.nan
            log.append(number, losses)
            params, state = step.absorb(params, state, losses)
            seen.append(jax.device_get(params))
    return seen, state


def assert_bits(found, expected):
    data = lambda x: noise.words(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(data(a), data(b)), found, expected)


@pytest.mark.parametrize(
    ("method", "start"),
    [
        (journal.Method("loren", {"learning_rate": 0.02, **K}), START),
        (journal.Method("loren", {"learning_rate": 0.02, "rank": 1, **K}, seed=5), BFLOAT),
        (journal.Method("mezo_svrg", {"learning_rate": 0.01, "every": 2}), START),
        (journal.Method("mezo_adam", {"learning_rate": 0.01}, trained=["head"]), START),
    ],
    ids=["loren", "bfloat16", "svrg", "masked adam"],
)
def test_every_step_again_to_the_bit(tmp_path, method, start):
    optimizer = method.build()
    seen, state = recorded(tmp_path / "j", method, start, optimizer=optimizer)
    again = journal.replay(start, tmp_path / "j")
    assert (again.steps, again.differences) == (6, [])
    assert_bits(again.params, seen[6])
    assert_bits(again.state, state)
    for until in (0, 1, 4):
        again = journal.replay(start, tmp_path / "j", until, optimizer=optimizer)
        assert_bits(again.params, seen[until])
    assert not np.array_equal(seen[6]["head"], seen[0]["head"])


def test_losses_that_are_not_finite(tmp_path):
    """One query, then a whole step: no weight, no poison, counted, and replayed."""
    method = journal.Method("loren", {"learning_rate": 0.02, "num_directions": 3})
    seen, state = recorded(tmp_path / "j", method, broken={1: 1, 3: 3})
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(seen[6]))
    assert int(state[0].nonfinite) == 4
    again = journal.replay(START, tmp_path / "j")
    assert_bits(again.params, seen[6])
    assert_bits(again.state, state)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "j"
    return path, recorded(path, journal.Method("loren", {"learning_rate": 0.02, **K}))[0]


def test_another_base_model_is_refused(run):
    with pytest.raises(journal.JournalError, match="the numbers are not"):
        journal.replay({**START, "head": START["head"] + 1}, run[0])
    with pytest.raises(journal.JournalError, match="leaf 'head'"):
        journal.replay({**START, "head": START["head"][:3]}, run[0])


def test_damage_in_the_middle_is_refused_and_what_is_whole_is_replayed(run, tmp_path):
    path, seen = run
    data = bytearray(path.read_bytes())
    data[-4 * 16 + 5] ^= 1  # a loss of the fourth record from the end
    (tmp_path / "damaged").write_bytes(data)
    with pytest.raises(journal.JournalError, match="damaged: 64 bytes behind step 2"):
        journal.replay(START, tmp_path / "damaged")
    assert_bits(journal.replay(START, tmp_path / "damaged", 2).params, seen[2])
    with pytest.raises(journal.JournalError, match="2 whole steps, not 3"):
        journal.replay(START, tmp_path / "damaged", 3)


def test_a_run_of_an_optimiser_of_ones_own(tmp_path):
    """The journal does not say what it was; whoever replays does."""
    optimizer = loren_jax.mezo(0.01, key=3)
    step = loren_jax.train_step(loss, optimizer)
    params, state = jax.tree.map(jnp.copy, START), optimizer.init(START)
    with journal.create(tmp_path / "j", journal.header(START, (1, 2))) as log:
        losses = step.probe(params, state, 0.0)
        log.append(0, losses)
        params, _ = step.absorb(params, state, losses)
    with pytest.raises(journal.JournalError, match="pass optimizer="):
        journal.replay(START, tmp_path / "j")
    assert_bits(journal.replay(START, tmp_path / "j", optimizer=optimizer).params, params)


@functools.partial(jax.tree_util.register_dataclass, data_fields=["key", "value"], meta_fields=[])
@dataclasses.dataclass
class Attention:
    """Whose last field older versions left out of its path."""

    key: Any
    value: Any


@pytest.mark.parametrize("trained", ["attn", "attn/value"])
def test_a_field_named_value_is_known_by_its_path_and_as_older_journals_spell_it(trained, tmp_path):
    start = {"attn": Attention(jnp.ones((3, 2)), jnp.cos(jnp.arange(6.0)).reshape(3, 2))}
    factors = {trained: np.ones((3, 1), np.float32)}
    knobs = {"learning_rate": 0.1, "momentum": None}
    digest = journal.factors.digest(factors)
    method = journal.Method("input_subspace", knobs, trained=[trained], factors=digest)
    header = journal.header(start, (6, 1), method=method)
    assert [path for path, _, _ in header["params"]["leaves"]] == ["attn/key", "attn"]
    with journal.create(tmp_path / "j", header) as log:
        log.append(0, np.arange(6, dtype=np.float32)[:, None])
    journal.factors.save(tmp_path / "j", factors)
    after = journal.replay(start, tmp_path / "j").params["attn"]
    np.testing.assert_array_equal(after.key, start["attn"].key)
    moved = after.value - start["attn"].value
    assert np.abs(moved).min() > 0
    np.testing.assert_allclose(moved[0], moved[1], rtol=1e-5)  # along the one fan-in vector
