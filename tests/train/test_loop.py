"""The loop's book-keeping, with a step that only counts."""

import numpy as np
import pytest
from loren_jax.train.interruption import Interruption
from loren_jax.train.loop import TrainingLoop
from loren_jax.train.metrics import METRICS, MetricsWriter
from loren_jax.train.progress import Progress

from loren_jax.train import Score, Selection, StepMetrics, read_metrics


class Losses:
    """Stands in for a step's losses on the device, and notes when they are fetched."""

    def __init__(self, step, values, order):
        self.step, self.values, self.order = step, values, order

    def __array__(self, dtype=None, copy=None):
        self.order.append(f"fetch {self.step}")
        return self.values


class Run:
    """A loop around a fake step; parameters and state are the number of steps taken."""

    def __init__(self, directory, *, losses=((1.0,), (2.0,)), signals=None, **options):
        self.order, self.losses, self.signals = [], losses, signals or {}
        self.interruption = Interruption()
        with MetricsWriter(directory / METRICS) as metrics, Progress(10) as progress:
            loop = TrainingLoop(
                self.step,
                self.score,
                lambda step: 2,
                metrics=metrics,
                progress=progress,
                interruption=self.interruption,
                **{"steps": 5, "eval_every": 2, "max_dead_steps": 3, **options},
            )
            self.outcome = loop.run(0, 0)

    def step(self, params, opt_state, batch):
        assert params == opt_state == batch
        step = batch + 1
        self.order.append(f"step {step}")
        self.interruption.count += self.signals.get(step, 0)
        values = np.asarray(self.losses(step) if callable(self.losses) else self.losses)
        finite = np.isfinite(values)
        loss = np.mean(values[finite]) if finite.any() else np.nan
        metrics = StepMetrics(Losses(step, values, self.order), loss, np.sum(~finite))
        return params + 1, opt_state + 1, metrics

    def score(self, params, abandoned):
        if abandoned():
            return None
        self.order.append(f"score {params}")
        return Score(params / 10, 0.5, 20, 4)


def test_numbers_are_fetched_while_the_next_step_runs(tmp_path):
    assert Run(tmp_path).order == [
        *("score 0", "step 1", "step 2", "fetch 1", "fetch 2"),
        *("score 2", "step 3", "step 4", "fetch 3", "fetch 4"),
        *("score 4", "step 5", "fetch 5", "score 5"),
    ]


def test_every_forward_pass_is_counted(tmp_path):
    outcome = Run(tmp_path).outcome
    assert (outcome.params, outcome.steps, outcome.interrupted) == (5, 5, False)
    assert (outcome.before.accuracy, outcome.after.accuracy) == (0.0, 0.5)
    assert (outcome.forward_passes, outcome.evaluation_forward_passes) == (10, 16)
    lines = read_metrics(tmp_path)
    steps = [line for line in lines if line["event"] == "step"]
    assert [line["forward_passes"] for line in steps] == [2, 4, 6, 8, 10]
    assert [line["losses"] for line in steps] == [[[1.0], [2.0]]] * 5
    evaluations = [line for line in lines if line["event"] == "evaluation"]
    assert [line["step"] for line in evaluations] == [0, 2, 4, 5]
    assert [line["forward_passes"] for line in evaluations] == [0, 4, 8, 10]
    assert [line["evaluation_forward_passes"] for line in evaluations] == [4, 8, 12, 16]


def test_one_signal_stops_after_the_step_and_evaluates(tmp_path):
    run = Run(tmp_path, signals={3: 1})
    assert (run.outcome.params, run.outcome.steps, run.outcome.interrupted) == (3, 3, True)
    assert run.outcome.after.accuracy == 0.3
    assert run.order[-3:] == ["step 3", "fetch 3", "score 3"]


def test_two_signals_leave_out_the_evaluation(tmp_path):
    run = Run(tmp_path, signals={3: 2})
    assert (run.outcome.params, run.outcome.steps, run.outcome.after) == (3, 3, None)
    assert run.outcome.forward_passes == 6
    assert run.order[-2:] == ["step 3", "fetch 3"]


def test_a_signal_at_the_last_step_interrupts_nothing(tmp_path):
    assert not Run(tmp_path, signals={5: 1}).outcome.interrupted


def test_dead_steps_in_a_row_end_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match=r"in the last 3 steps, up to step 5: lower"):
        Run(tmp_path, losses=lambda step: [[np.nan if step > 2 else 1.0]], steps=9, eval_every=9)
    last = read_metrics(tmp_path)[-1]
    assert (last["step"], last["loss"], last["losses"]) == (5, None, [[None]])


def test_dead_steps_with_life_in_between_do_not(tmp_path):
    outcome = Run(tmp_path, losses=lambda step: [[np.inf], [np.nan if step % 3 else 1.0]]).outcome
    assert outcome.steps == 5


class Judge(Selection):
    """A selection that has seen enough after some evaluations."""

    def __init__(self, evaluations):
        self.steps, self._evaluations = [], evaluations

    @property
    def exhausted(self):
        return len(self.steps) >= self._evaluations

    def consider(self, step, params, score):
        assert params == step
        self.steps.append(step)
        return step == 2


def test_a_selection_sees_every_evaluation_and_may_end_the_run(tmp_path):
    judge = Judge(3)
    outcome = Run(tmp_path, steps=20, selection=judge).outcome
    assert judge.steps == [0, 2, 4]
    assert (outcome.steps, outcome.stopped, outcome.interrupted) == (4, True, False)
    evaluations = [line for line in read_metrics(tmp_path) if line["event"] == "evaluation"]
    assert [line["best"] for line in evaluations] == [False, True, False]


def test_a_run_that_ends_by_itself_was_not_stopped(tmp_path):
    outcome = Run(tmp_path, selection=Judge(4)).outcome
    assert (outcome.steps, outcome.stopped, outcome.interrupted) == (5, False, False)
