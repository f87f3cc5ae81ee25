"""The loop's book-keeping, with a step that only counts, and signals that are sent."""

import os
import signal
import time
from contextlib import closing

import numpy as np
import pytest

from loren_jax.diagnostics import VitalSigns
from loren_jax.reports import read_metrics
from loren_jax.reports.files import METRICS
from loren_jax.reports.metrics import MetricsWriter
from loren_jax.runs import Selection
from loren_jax.runs.interruption import Interruption
from loren_jax.runs.loop import Loop
from loren_jax.runs.record import Counters, Progress, Record, Writers

NAN = float("nan")
GIVEN = {
    "points": 1,
    "steps": 5,
    "eval_every": 2,
    "checkpoint_every": 100,
    "max_nonfinite_steps": 3,
}


class Losses:
    """Stands in for a step's losses on the device, and notes when they are fetched."""

    def __init__(self, step, values, order):
        self.step, self.values, self.order = step, np.asarray(values, np.float32), order
        self.shape, self.dtype = self.values.shape, self.values.dtype

    def __array__(self, dtype=None, copy=None):
        self.order.append(f"fetch {self.step}")
        return self.values


class Journal(list):
    """The numbers of the steps that were appended."""

    def append(self, step, losses):
        super().append(step)


class Ran:
    """A loop around a fake step; parameters and state are the number of steps taken.

    Signals arrive while a step is absorbed, or, by the name of `evaluation`, in the last one.
    """

    def __init__(self, directory, *, losses=((1.0,), (2.0,)), signals=None, recorded=0, **options):
        self.order, self.losses, self.signals = [], losses, signals or {}
        self.journal, self.counters = Journal(), options.pop("counters", Counters())
        known = np.ones((recorded, 2, 1), np.float32)
        with (
            MetricsWriter(directory / METRICS) as metrics,
            closing(Progress(10)) as progress,
            Interruption() as interruption,
        ):
            self.loop = Loop(
                probe=self.probe,
                absorb=self.absorb,
                batch=lambda step: step,
                passes=lambda step: 2,
                evaluate=self.evaluate,
                save=lambda params, state: self.order.append(f"save {params}"),
                begin=lambda params, state: None,
                record=Record(known, Writers(self.journal, metrics, progress)),
                interruption=interruption,
                selection=options.pop("selection", None),
                signs=VitalSigns(1.0),
                counters=self.counters,
                evaluation_passes=4,
                **{**GIVEN, **options},
            )
            self.params, _ = self.loop.run(self.counters.step, self.counters.step)

    def probe(self, params, state, batch):
        assert params == state == batch
        values = self.losses(batch + 1) if callable(self.losses) else self.losses
        return Losses(batch + 1, values, self.order)

    def absorb(self, params, state, losses):
        self.order.append(f"step {params + 1}")
        self.kill(params + 1)
        return params + 1, state + 1

    def evaluate(self, params):
        self.order.append(f"score {params}")
        if params:
            self.kill("evaluation")
        return {"accuracy": params / 10, "loss": 0.5}

    def kill(self, moment):
        for _ in range(self.signals.get(moment, 0)):
            os.kill(os.getpid(), signal.SIGTERM)


def events(directory, name):
    return [line for line in read_metrics(directory) if line["event"] == name]


def test_numbers_are_fetched_while_the_next_step_runs(tmp_path):
    assert Ran(tmp_path).order == [
        *("score 0", "step 1", "step 2", "fetch 1", "fetch 2"),
        *("score 2", "step 3", "step 4", "fetch 3", "fetch 4"),
        *("score 4", "step 5", "fetch 5", "score 5"),
    ]


def test_every_forward_pass_is_counted(tmp_path):
    ran = Ran(tmp_path)
    counters = ran.counters
    assert (ran.params, counters.step, ran.loop.interrupted) == (5, 5, False)
    assert (counters.before["accuracy"], counters.after["accuracy"]) == (0.0, 0.5)
    assert (counters.forward_passes, counters.evaluation_forward_passes) == (10, 16)
    steps, evaluations = events(tmp_path, "step"), events(tmp_path, "evaluation")
    assert [line["forward_passes"] for line in steps] == [2, 4, 6, 8, 10]
    assert [line["losses"] for line in steps] == [[[1.0], [2.0]]] * 5
    assert [line["step"] for line in evaluations] == [0, 2, 4, 5]
    assert [line["forward_passes"] for line in evaluations] == [0, 4, 8, 10]
    assert [line["evaluation_forward_passes"] for line in evaluations] == [4, 8, 12, 16]


def test_a_resumed_run_takes_recorded_losses_and_appends_its_own_alone(tmp_path):
    """From a checkpoint of step 2, with a journal of 4 steps."""
    ran = Ran(tmp_path, recorded=4, counters=Counters(step=2, forward_passes=4), steps=6)
    assert ran.journal == [4, 5]
    assert [word for word in ran.order if "fetch" in word] == ["fetch 5", "fetch 6"]
    assert [word for word in ran.order if "score" in word] == ["score 4", "score 6"]
    assert (ran.params, ran.counters.forward_passes) == (6, 12)


def test_the_speed_is_that_of_the_steps_that_were_evaluated(tmp_path):
    """Four of six took their losses from the journal, in no time."""
    slow = lambda step: time.sleep(0.05) or ((1.0,), (2.0,))
    options = {"losses": slow, "steps": 6, "eval_every": 100}
    resumed, whole = (Ran(tmp_path, recorded=recorded, **options).counters for recorded in (4, 0))
    assert (resumed.replayed_forward_passes, whole.replayed_forward_passes) == (8, 0)
    assert resumed.forward_passes == whole.forward_passes == 12
    for counters in (resumed, whole):
        assert 0 < counters.forward_passes_per_second <= 2 / 0.05
    only = Ran(tmp_path, recorded=6, **options).counters
    assert only.forward_passes_per_second is None
    assert only.training_seconds > 0


@pytest.mark.parametrize(
    ("signals", "end", "after"),
    [
        ({3: 1}, ["step 3", "fetch 2", "fetch 3", "score 3"], {"accuracy": 0.3, "loss": 0.5}),
        (
            {3: 2},
            ["step 3", "fetch 2", "fetch 3"],
            None,
        ),  # it is left out
        ({3: 1, "evaluation": 1}, ["score 3"], None),  # or ends it
    ],
)
def test_a_signal_stops_behind_the_step(tmp_path, signals, end, after):
    ran = Ran(tmp_path, signals=signals, eval_every=9, checkpoint_every=3)
    assert (ran.params, ran.counters.step, ran.loop.interrupted) == (3, 3, True)
    assert (ran.counters.forward_passes, ran.counters.after) == (6, after)
    assert ran.order[-len(end) :] == end
    assert "save 3" not in ran.order


def test_a_signal_at_the_last_step_interrupts_nothing(tmp_path):
    assert not Ran(tmp_path, signals={5: 1}).loop.interrupted


def test_checkpoints_are_written_behind_what_the_journal_has(tmp_path):
    order = Ran(tmp_path, checkpoint_every=2, eval_every=9).order
    assert [order[order.index(save) - 1] for save in ("save 2", "save 4")] == ["fetch 2", "fetch 4"]


def test_steps_in_a_row_without_a_finite_loss_end_the_run(tmp_path):
    losses = lambda step: [[NAN if step > 2 else 1.0]]
    with pytest.raises(FloatingPointError, match=r"in the last 3 steps, up to step 5: lower"):
        Ran(tmp_path, losses=losses, steps=9, eval_every=9)
    last = events(tmp_path, "step")[-1]
    assert (last["step"], last["loss"], last["losses"]) == (5, None, [[None]])


def test_those_with_a_finite_one_in_between_do_not(tmp_path):
    counters = Ran(tmp_path, losses=lambda step: [[np.inf], [NAN if step % 3 else 1.0]]).counters
    assert (counters.step, counters.nonfinite, counters.nonfinite_steps) == (5, 9, 2)


class Judge(Selection):
    """A selection that has seen enough after some evaluations."""

    def __init__(self, evaluations):
        self.steps, self._evaluations = [], evaluations

    @property
    def exhausted(self):
        return len(self.steps) >= self._evaluations

    def consider(self, step, params, scores):
        assert params == step
        self.steps.append(step)
        return step == 2


def test_a_selection_sees_every_evaluation_and_may_end_the_run(tmp_path):
    judge = Judge(3)
    ran = Ran(tmp_path, steps=20, selection=judge)
    assert judge.steps == [0, 2, 4]
    assert (ran.counters.step, ran.loop.interrupted) == (4, False)
    assert [line["best"] for line in events(tmp_path, "evaluation")] == [False, True, False]
