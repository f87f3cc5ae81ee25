"""The training loop: steps, evaluations, counts, and the ways it can end."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from loren_jax.diagnostics import VitalSigns
from loren_jax.train.interruption import Interruption, SharedInterruption
from loren_jax.train.metrics import MetricsWriter, NoMetrics
from loren_jax.train.progress import Progress
from loren_jax.train.scoring import Score
from loren_jax.train.selection import Selection
from loren_jax.train.step import StepMetrics
from loren_jax.train.tally import Tally
from loren_jax.train.vitality import Vitality
from loren_jax.types import PyTree


class Outcome(NamedTuple):
    """How a run went.

    Attributes:
        params: The trained parameters.
        steps: Steps taken.
        before: Score before the first step; None if it was given up.
        after: Score of `params`; None if it was given up.
        stopped: Whether the selection ended the run, having seen no improvement for too long.
        forward_passes: Forward passes of the steps.
        evaluation_forward_passes: Those of the evaluations.
        training_seconds: Time of the steps alone.
        evaluation_seconds: Time of the evaluations.
        nonfinite: Losses that were not finite.
        interrupted: Whether a signal ended the run.
    """

    params: PyTree
    steps: int
    before: Score | None
    after: Score | None
    stopped: bool
    forward_passes: int
    evaluation_forward_passes: int
    training_seconds: float
    evaluation_seconds: float
    nonfinite: int
    interrupted: bool


class TrainingLoop:
    """Runs the steps of one run.

    Args:
        step: The compiled step, of parameters, state and the step's number; it may overwrite the
            former two.
        scorer: Scores parameters on the held-out examples, as `Scorer` does.
        passes: Forward passes of a step, from its number.
        steps: Steps to take.
        eval_every: Steps between evaluations.
        keep_every: Steps between calls of `keep`; None for none.
        max_dead_steps: Steps in a row without a finite loss after which to give up.
        metrics: Where events are recorded.
        progress: Where they are shown.
        interruption: Whether to stop early.
        metric: Name of a metric to record beside the accuracy.
        selection: Judges every evaluation, and may end the run; None for a run to the end.
        record: Called with the number of each step, from 0, and its losses, in their order.
        keep: Called with parameters, state and tally where a keyframe is due.
        suspects: Names the processes whose losses are not finite, of parameters and the number of a
            group of devices, or None; an empty list where there is one process.
        groups: Which group of devices evaluates each loss, of their shape; None for one group.
        signs: Says of the losses of every step what cannot work; None for silence.
    """

    def __init__(
        self,
        step: Callable[[PyTree, PyTree, Any], tuple[PyTree, PyTree, StepMetrics]],
        scorer: Callable[[PyTree, Callable[[], bool]], Score | None],
        passes: Callable[[int], int],
        *,
        steps: int,
        eval_every: int,
        max_dead_steps: int,
        metrics: MetricsWriter | NoMetrics,
        progress: Progress,
        interruption: Interruption | SharedInterruption,
        metric: str = "accuracy",
        selection: Selection | None = None,
        keep_every: int | None = None,
        record: Callable[[int, np.ndarray], None] = lambda step, losses: None,
        keep: Callable[[PyTree, PyTree, Tally], None] = lambda params, opt_state, tally: None,
        suspects: Callable[[PyTree, int | None], list[int]] = lambda params, group: [],
        groups: Callable[[tuple[int, ...]], np.ndarray | None] = lambda shape: None,
        signs: VitalSigns | None = None,
    ):
        self._step, self._scorer, self._passes = step, scorer, passes
        self._steps, self._eval_every = steps, eval_every
        self._vitality, self._suspects = Vitality(max_dead_steps, groups), suspects
        self._signs = signs
        self._metrics, self._progress, self._interruption = metrics, progress, interruption
        self._metric, self._selection = metric, selection
        self._keep_every, self._record, self._keep = keep_every, record, keep
        self._tally = Tally()

    def run(self, params: PyTree, opt_state: PyTree, tally: Tally | None = None) -> Outcome:
        """Trains; must be called once only.

        Args:
            params: The parameters; overwritten.
            opt_state: The optimiser's state; overwritten.
            tally: What was counted up to a keyframe, to go on from there; None for a first step.

        Returns:
            The trained parameters and what they cost.

        Raises:
            FloatingPointError: If too many steps in a row had no finite loss.
        """
        if tally is None:
            self._tally.before = self._evaluate(params)
        else:
            self._tally = tally
        while self._tally.step < self._steps and not (
            self._interruption.requested or self._exhausted
        ):
            params, opt_state = self._advance(params, opt_state)
            step = self._tally.step
            whole = not self._interruption.requested
            if not whole or step % self._eval_every == 0 or step == self._steps:
                self._evaluate(params)
            if whole and self._keep_every is not None and step % self._keep_every == 0:
                self._keep(params, opt_state, self._tally)
        done, tally = self._tally.step, self._tally
        return Outcome(
            params=params,
            steps=done,
            before=tally.before,
            after=tally.after,
            stopped=done < self._steps and self._exhausted,
            forward_passes=tally.forward_passes,
            evaluation_forward_passes=tally.evaluation_forward_passes,
            training_seconds=tally.training_seconds,
            evaluation_seconds=tally.evaluation_seconds,
            nonfinite=tally.nonfinite,
            interrupted=done < self._steps and not self._exhausted,
        )

    @property
    def _exhausted(self) -> bool:
        return self._selection is not None and self._selection.exhausted

    def _advance(self, params: PyTree, opt_state: PyTree) -> tuple[PyTree, PyTree]:
        """Steps until something else is due, or until a signal."""
        pending: tuple[int, StepMetrics] | None = None
        clock, done = time.perf_counter(), self._tally.step
        due = [
            done + every - done % every for every in (self._eval_every, self._keep_every) if every
        ]
        stop = min(*due, self._steps)
        while done < stop and not self._interruption.requested:
            params, opt_state, metrics = self._step(params, opt_state, done)
            # The numbers of a step are fetched while the next one runs: the device never waits.
            clock = self._settle(pending, clock, params)
            done += 1
            pending = done, metrics
        self._settle(pending, clock, params)
        return params, opt_state

    def _settle(
        self, pending: tuple[int, StepMetrics] | None, clock: float, params: PyTree
    ) -> float:
        """Waits for a step's numbers and records them."""
        if pending is None:
            return clock
        step, metrics = pending
        losses, loss = np.asarray(metrics.losses), float(metrics.loss)
        self._record(step - 1, losses)
        tally = self._tally
        tally.step, tally.nonfinite = step, int(metrics.nonfinite)
        tally.forward_passes += self._passes(step - 1)
        now = time.perf_counter()
        tally.training_seconds += now - clock
        self._metrics.write(
            "step",
            step,
            tally.forward_passes,
            loss=loss,
            losses=losses.tolist(),
            nonfinite=tally.nonfinite,
        )
        self._progress.stepped(step, loss, tally.forward_passes / tally.training_seconds)
        for text in self._signs.seen(losses) if self._signs else ():
            self._progress.warned(step, text)
            self._metrics.write("warning", step, tally.forward_passes, text=text)
        tally.dead_steps = 0 if np.isfinite(losses).any() else tally.dead_steps + 1
        if dead := self._vitality.dead(losses, tally.dead_steps):
            raise FloatingPointError(dead.text(step, self._suspects(params, dead.group)))
        return now

    def _evaluate(self, params: PyTree) -> Score | None:
        tally, clock = self._tally, time.perf_counter()
        tally.after = score = self._scorer(params, lambda: self._interruption.urgent)
        tally.evaluation_seconds += time.perf_counter() - clock
        if score is None:
            return None
        tally.evaluation_forward_passes += score.forward_passes
        best = self._selection is not None and self._selection.consider(tally.step, params, score)
        own = {} if self._metric == "accuracy" else {self._metric: score.metric(self._metric)}
        self._metrics.write(
            "evaluation",
            tally.step,
            tally.forward_passes,
            evaluation_forward_passes=tally.evaluation_forward_passes,
            accuracy=score.accuracy,
            loss=score.loss,
            examples=score.examples,
            **own,
            **({} if self._selection is None else {"best": best}),
        )
        self._progress.evaluated(tally.step, score)
        return score
