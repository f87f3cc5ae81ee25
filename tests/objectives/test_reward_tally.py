"""What is counted of the answers of some steps."""

import numpy as np
import pytest

from loren_jax.objectives import reward_tally
from loren_jax.objectives.reward_tally import Tally


def add(tally, step, *, changed=1, tied=0, ended=True, failures=None):
    rewards, ended = np.array([[1.0, 0.0]]), np.full((1, 2), ended)
    counts = {"prompts": 2, "changed": changed, "tied": tied, "tokens": 30}
    tally.add(step, rewards, failures or {}, ended, **counts)


@pytest.fixture
def clock(monkeypatch):
    now = iter(range(100))
    monkeypatch.setattr(reward_tally.time, "perf_counter", lambda: float(next(now)))


def test_a_step_that_was_tried_beforehand_counts_once(clock):
    tally = Tally()
    for step in (b"0", b"0", b"1", b"2"):
        add(tally, step)
    shares = tally.shares()
    assert shares == {
        "train_reward": 0.5,
        "train_truncated": 0.0,
        "changed": 0.5,
        "tied": 0.0,
        # Two steps of a second each; what came before the first is not known.
        "tokens_per_second": 30.0,
    }


def test_nothing_is_said_of_no_step():
    assert Tally().shares() == {}


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"changed": 0}, "no answer differs between the queries of a step"),
        ({"tied": 2}, "all answers to each prompt are worth the same"),
        ({"ended": False}, "all answers are cut off: raise --max-new-tokens"),
        ({"failures": {"ValueError": 1}}, "1 of the answers in training have no reward: ValueErr"),
    ],
)
def test_what_cannot_be_learned_from_is_told(what, told, capsys):
    tally = Tally()
    add(tally, b"0", **what)
    assert "tokens_per_second" not in tally.shares()  # of one step
    assert told in capsys.readouterr().err
