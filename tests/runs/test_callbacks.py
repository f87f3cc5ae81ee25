"""Callbacks: what they hear, once each, and what becomes of a run when one fails."""

import jax.numpy as jnp
import numpy as np
import pytest

import loren_jax
from loren_jax.reports import read_metrics
from loren_jax.runs import Callback, CallbackError

BATCHES = np.random.default_rng(0).standard_normal((7, 8, 3)).astype(np.float32)


def loss(params, batch):
    return jnp.mean((batch @ params["w"] - 1.0) ** 2)


def fit(directory, *callbacks, batches=BATCHES, steps=10, **options):
    return loren_jax.fit(
        loss,
        {"w": np.zeros(3, np.float32)},
        batches,
        optimizer=loren_jax.loren(0.05),
        directory=directory,
        steps=steps,
        evaluate=lambda params: {"loss": loss(params, BATCHES[0])},
        **{"eval_every": 3, "checkpoint_every": 4, "callbacks": callbacks, **options},
    )


class Heard(list):
    """A callback that keeps what it hears, and fails at one event."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.fails_at, self.closed = fails_at, 0

    def __call__(self, event):
        self.append(event)
        if (event["event"], event["step"]) == self.fails_at:
            raise OSError("no route to host")

    def close(self):
        self.closed += 1

    @property
    def moments(self):
        return [(event["event"], event["step"]) for event in self]


def test_they_hear_every_line_of_the_metrics(tmp_path):
    heard, other = Heard(), []
    fit(tmp_path / "run", heard, other.append)
    assert heard == other == read_metrics(tmp_path / "run")
    assert heard.moments[:3] == [("config", 0), ("evaluation", 0), ("step", 1)]
    assert (heard.moments[-1], heard.closed) == (("summary", 10), 1)
    again = Heard()
    fit(tmp_path / "run", again)  # it is complete
    assert again == []


@pytest.mark.parametrize("fails_at", [("step", 6), ("evaluation", 6), ("step", 9), ("summary", 10)])
def test_an_error_ends_the_run_by_name_and_nothing_is_lost(tmp_path, fails_at):
    """Behind the checkpoint of step 4 or 8: the steps after it are gone through again."""
    whole, first, second = Heard(), Heard(fails_at), Heard()
    expected = fit(tmp_path / "whole", whole)
    message = (
        rf"callback .*Heard failed at the {fails_at[0]} of step {fails_at[1]} \(OSError: no route "
        r"to host\); nothing is lost: .* resume"
    )
    with pytest.raises(CallbackError, match=message):
        fit(tmp_path / "run", first)
    assert (first.moments[-1], first.closed) == (fails_at, 1)
    found = fit(tmp_path / "run", second)
    np.testing.assert_array_equal(found.params["w"], expected.params["w"])
    # Each event once, whichever of the two runs it was of; the summary is told when all is done.
    told = first.moments + second.moments
    assert [m for m in told if m != ("summary", 10)] == whole.moments[:-1]
    assert second.moments[-1] == ("summary", 10)


def test_a_pause_and_what_follows_it_are_told_once(tmp_path):
    heard = Heard()
    fit(tmp_path / "run", heard, pause_at=5)
    fit(tmp_path / "run", heard)
    whole = Heard()
    fit(tmp_path / "whole", whole)
    apart = [("evaluation", 5), ("summary", 5)]
    assert [moment for moment in heard.moments if moment not in apart] == whole.moments
    assert heard.closed == 2


def test_a_close_that_fails_is_named(tmp_path):
    class Closing(Heard):
        def close(self):
            raise ValueError("full")

    with pytest.raises(CallbackError, match=r"Closing failed at the end of the run \(ValueError"):
        fit(tmp_path / "run", Closing())


def test_what_can_be_called_is_a_callback():
    assert isinstance(print, Callback)
    assert not isinstance("tensorboard", Callback)
