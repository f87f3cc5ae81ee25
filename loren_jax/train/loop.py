"""The training loop: steps, evaluations, counts, and the ways it can end."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from loren_jax.tasks import Tokens
from loren_jax.train.interruption import Interruption
from loren_jax.train.metrics import MetricsWriter
from loren_jax.train.progress import Progress
from loren_jax.train.scoring import Score
from loren_jax.train.step import StepMetrics, TrainStep
from loren_jax.types import PyTree


class Outcome(NamedTuple):
    """How a run went.

    Attributes:
        params: The trained parameters.
        steps: Steps taken.
        before: Score before the first step; None if it was given up.
        after: Score of `params`; None if it was given up.
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
    forward_passes: int
    evaluation_forward_passes: int
    training_seconds: float
    evaluation_seconds: float
    nonfinite: int
    interrupted: bool


class TrainingLoop:
    """Runs the steps of one run.

    Args:
        step: The compiled step; it may overwrite the parameters and the state it is given.
        scorer: Scores parameters on the held-out examples, as `Scorer` does.
        batch: The batch of a step, from its number.
        passes: Forward passes of a step, from its number.
        steps: Steps to take.
        eval_every: Steps between evaluations.
        max_dead_steps: Steps in a row without a finite loss after which to give up.
        metrics: Where events are recorded.
        progress: Where they are shown.
        interruption: Whether to stop early.
    """

    def __init__(
        self,
        step: TrainStep,
        scorer: Callable[[PyTree, Callable[[], bool]], Score | None],
        batch: Callable[[int], Tokens],
        passes: Callable[[int], int],
        *,
        steps: int,
        eval_every: int,
        max_dead_steps: int,
        metrics: MetricsWriter,
        progress: Progress,
        interruption: Interruption,
    ):
        self._step, self._scorer, self._batch, self._passes = step, scorer, batch, passes
        self._steps, self._eval_every, self._max_dead_steps = steps, eval_every, max_dead_steps
        self._metrics, self._progress, self._interruption = metrics, progress, interruption
        self._forward_passes = self._evaluation_forward_passes = 0
        self._training_seconds = self._evaluation_seconds = 0.0
        self._dead_steps = self._nonfinite = 0

    def run(self, params: PyTree, opt_state: PyTree) -> Outcome:
        """Trains; must be called once only.

        Args:
            params: The parameters; overwritten.
            opt_state: The optimiser's state; overwritten.

        Returns:
            The trained parameters and what they cost.

        Raises:
            FloatingPointError: If too many steps in a row had no finite loss.
        """
        done, before = 0, self._evaluate(0, params)
        after = before
        while done < self._steps and not self._interruption.requested:
            stop = min(done + self._eval_every - done % self._eval_every, self._steps)
            params, opt_state, done = self._advance(params, opt_state, done, stop)
            after = self._evaluate(done, params)
        return Outcome(
            params=params,
            steps=done,
            before=before,
            after=after,
            forward_passes=self._forward_passes,
            evaluation_forward_passes=self._evaluation_forward_passes,
            training_seconds=self._training_seconds,
            evaluation_seconds=self._evaluation_seconds,
            nonfinite=self._nonfinite,
            interrupted=done < self._steps,
        )

    def _advance(
        self, params: PyTree, opt_state: PyTree, done: int, stop: int
    ) -> tuple[PyTree, PyTree, int]:
        """Steps until `stop`, or until a signal."""
        pending: tuple[int, StepMetrics] | None = None
        clock = time.perf_counter()
        while done < stop and not self._interruption.requested:
            params, opt_state, metrics = self._step(params, opt_state, self._batch(done))
            # The numbers of a step are fetched while the next one runs: the device never waits.
            clock = self._settle(pending, clock)
            done += 1
            pending = done, metrics
        self._settle(pending, clock)
        return params, opt_state, done

    def _settle(self, pending: tuple[int, StepMetrics] | None, clock: float) -> float:
        """Waits for a step's numbers and records them."""
        if pending is None:
            return clock
        step, metrics = pending
        losses, loss = np.asarray(metrics.losses), float(metrics.loss)
        self._nonfinite = int(metrics.nonfinite)
        self._forward_passes += self._passes(step - 1)
        now = time.perf_counter()
        self._training_seconds += now - clock
        self._metrics.write(
            "step",
            step,
            self._forward_passes,
            loss=loss,
            losses=losses.tolist(),
            nonfinite=self._nonfinite,
        )
        self._progress.stepped(step, loss, self._forward_passes / self._training_seconds)
        self._require_life(step, losses)
        return now

    def _require_life(self, step: int, losses: np.ndarray) -> None:
        self._dead_steps = 0 if np.isfinite(losses).any() else self._dead_steps + 1
        if self._dead_steps >= self._max_dead_steps:
            raise FloatingPointError(
                f"no loss was finite in the last {self._dead_steps} steps, up to step {step}: "
                "lower learning_rate or perturbation_scale; if this began at the first step, the "
                "model's own loss is not finite"
            )

    def _evaluate(self, step: int, params: PyTree) -> Score | None:
        clock = time.perf_counter()
        score = self._scorer(params, lambda: self._interruption.urgent)
        self._evaluation_seconds += time.perf_counter() - clock
        if score is None:
            return None
        self._evaluation_forward_passes += score.forward_passes
        self._metrics.write(
            "evaluation",
            step,
            self._forward_passes,
            evaluation_forward_passes=self._evaluation_forward_passes,
            accuracy=score.accuracy,
            loss=score.loss,
            examples=score.examples,
        )
        self._progress.evaluated(step, score)
        return score
