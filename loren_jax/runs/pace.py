"""How fast a run goes: what is left of it, evaluations and all."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Times(Protocol):
    """What a run has counted so far."""

    step: int
    training_seconds: float
    evaluation_seconds: float


class Pace:
    """The time that is left, by the steps and evaluations since the run was begun or resumed.

    Args:
      steps: Steps to take in all.
      eval_every: Steps between evaluations.
      times: What was counted before; None for nothing.
    """

    def __init__(self, steps: int, eval_every: int, times: Times | None = None):
        self._steps, self._every = steps, eval_every
        self._evaluated = times.step if times else 0
        self._last = (times.training_seconds, times.evaluation_seconds) if times else (0.0, 0.0)
        self._seen, self._seconds, self._evaluation_seconds = 0, 0.0, 0.0

    def note_step(self, times: Times, *, replayed: bool) -> None:
        """Takes note of a step; one of the journal tells nothing of those to come."""
        seconds, _ = self._since(times)
        if not replayed:
            self._seen, self._seconds = self._seen + 1, self._seconds + seconds

    def note_evaluation(self, times: Times) -> None:
        """Takes note of an evaluation; the next are as long as the last, as the first compiles."""
        _, self._evaluation_seconds = self._since(times)
        self._evaluated = times.step

    def seconds_left(self, step: int) -> float | None:
        """Seconds until the end; None before the first step."""
        if not self._seen:
            return None
        evaluations = -(-self._steps // self._every) - self._evaluated // self._every
        if self._evaluated >= self._steps:  # the last one, wherever it falls
            evaluations = 0
        steps = (self._steps - step) * self._seconds / self._seen
        return steps + evaluations * self._evaluation_seconds

    def _since(self, times: Times) -> tuple[float, float]:
        now = times.training_seconds, times.evaluation_seconds
        before, self._last = self._last, now
        return now[0] - before[0], now[1] - before[1]
