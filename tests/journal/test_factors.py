"""Fan-in vectors beside a journal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax import journal

FACTORS = {"layers/kernel": np.cos(np.arange(12.0)).reshape(2, 3, 2), "file": np.ones((4, 1))}


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "run.journal"
    assert journal.factors.save(file, FACTORS).name == journal.factors.FACTORS
    found = journal.factors.load(file, journal.factors.digest(FACTORS))
    assert found.keys() == FACTORS.keys()
    for name, array in FACTORS.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array.astype(np.float32))
    assert [p.name for p in tmp_path.iterdir()] == [journal.factors.FACTORS]


def test_a_file_that_is_not_the_run_s(tmp_path):
    file = tmp_path / "run.journal"
    wanted = journal.factors.digest(FACTORS)
    with pytest.raises(journal.JournalError, match="is not beside it; copy it there"):
        journal.factors.load(file, wanted)
    path = journal.factors.save(file, {"other": np.ones((2, 1))})
    with pytest.raises(journal.JournalError, match="its digest is another"):
        journal.factors.load(file, wanted)
    journal.factors.save(file, FACTORS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(journal.JournalError, match="is damaged"):
        journal.factors.load(file, wanted)


def test_a_replay_reads_them(tmp_path):
    """The journal and the file beside it are the run; one without the other is refused."""
    start = {"kernel": jnp.ones((4, 3))}
    factors = {"kernel": np.eye(4)[:, :2]}
    knobs = {"learning_rate": 0.1, "momentum": None}
    method = journal.Method("input_subspace", knobs, factors=journal.factors.digest(factors))
    assert journal.Method.from_json(method.as_json()) == method
    with pytest.raises(journal.JournalError, match="factors are not those of the description"):
        method.build()
    optimizer = method.build(factors=factors)
    step = loren_jax.train_step(lambda params: jnp.sum(jnp.square(params["kernel"])), optimizer)
    file = tmp_path / "run.journal"
    journal.factors.save(file, factors)
    params, state = jax.tree.map(jnp.copy, start), optimizer.init(start)
    with journal.create(file, journal.header(start, (6, 1), method=method)) as log:
        for number in range(4):
            losses = step.probe(params, state)
            log.append(number, losses)
            params, state = step.absorb(params, state, losses)
    found = np.asarray(journal.replay(start, file).params["kernel"])
    np.testing.assert_array_equal(found, params["kernel"])
    np.testing.assert_array_equal(found[2:], 1.0)
    assert (found[:2] != 1.0).all()
    (tmp_path / journal.factors.FACTORS).unlink()
    with pytest.raises(journal.JournalError, match="is not beside it"):
        journal.replay(start, file)
