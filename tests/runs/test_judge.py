"""A run whose queries are judged on the host is that of the loss which the judge stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax import journal

BATCHES = np.random.default_rng(0).standard_normal((5, 8, 3)).astype(np.float32)
PARAMS = {"w": np.ones((3, 2), np.float32)}


def answers(params, batch):
    return {"said": jnp.tanh(batch @ params["w"]), "number": jnp.arange(2)}


def loss(params, batch):
    return jnp.mean((answers(params, batch)["said"] - batch[:, :2]) ** 2)


def judge(observed, batch):
    assert isinstance(observed["said"], np.ndarray)
    assert observed["number"].shape == (6, 1, 2)
    return np.mean((observed["said"] - batch[:, :2]) ** 2, axis=(-2, -1))


def run(directory, what, steps=6, **options):
    method = journal.Method("loren", {"learning_rate": 0.05}, seed=1)
    fitted = loren_jax.fit(
        what, PARAMS, BATCHES, optimizer=method, directory=directory, steps=steps, **options
    )
    return fitted.params, journal.read(directory / "run.journal")


def test_it_is_the_run_of_the_loss(tmp_path):
    wanted, own = run(tmp_path / "a", loss)
    params, judged = run(tmp_path / "b", answers, judge=judge)
    np.testing.assert_allclose(judged.losses, own.losses, rtol=1e-4)
    np.testing.assert_allclose(params["w"], wanted["w"], rtol=1e-4)


def test_it_goes_on_and_is_replayed_without_a_judge(tmp_path):
    wanted, recorded = run(tmp_path / "a", answers, judge=judge)
    run(tmp_path / "b", answers, steps=3, judge=judge)
    params, _ = run(tmp_path / "b", answers, judge=judge)
    np.testing.assert_array_equal(params["w"], wanted["w"])
    again = journal.replay(jax.tree.map(jnp.asarray, PARAMS), recorded).params
    np.testing.assert_array_equal(again["w"], wanted["w"])


def test_a_judge_that_forgets_queries_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"losses of shape \(6,\), but the step has \(6, 1\)"):
        run(tmp_path / "a", answers, judge=lambda observed, batch: np.zeros(6))
