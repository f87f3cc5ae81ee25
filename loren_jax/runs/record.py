"""What a run writes and shows as it goes: journal, metrics, progress."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from loren_jax import journal
from loren_jax.reports.metrics import MetricsWriter
from loren_jax.runs.counters import Counters
from loren_jax.runs.progress import Progress
from loren_jax.types import JSON


class Writers(NamedTuple):
    """Where the first process writes.

    Attributes:
        journal: Losses of every step.
        metrics: Events.
        progress: The terminal.
    """

    journal: journal.JournalWriter
    metrics: MetricsWriter
    progress: Progress


class Record:
    """The record of a run; of several processes, those without writers know its losses only.

    A resumed run goes through the recorded steps again from its checkpoint: they take their losses
    from the journal, and are not appended to it twice.
    """

    def __init__(self, losses: Float[np.ndarray, "steps K S"], writers: Writers | None):
        self._losses, self._writers = losses, writers

    def losses(self, step: int) -> Float[np.ndarray, "K S"] | None:
        """The losses of a step, or None if it is yet to be taken."""
        return self._losses[step] if step < len(self._losses) else None

    def stepped(self, counters: Counters, loss: float, losses: Float[np.ndarray, "K S"]) -> None:
        """Writes a step down; the counters have it."""
        if self._writers is None:
            return
        log, progress = self._writers.journal, self._writers.progress
        if counters.step > len(self._losses):
            log.append(counters.step - 1, losses)
        self._write(
            "step", counters, loss=loss, losses=losses.tolist(), nonfinite=counters.nonfinite
        )
        progress.stepped(
            counters.step, loss, counters.forward_passes / max(counters.training_seconds, 1e-9)
        )

    def warned(self, counters: Counters, text: str) -> None:
        """Writes a warning down."""
        if self._writers is not None:
            self._writers.progress.warned(counters.step, text)
            self._write("warning", counters, text=text)

    def evaluated(self, counters: Counters, scores: Mapping[str, float], best: bool | None) -> None:
        """Writes an evaluation down; `best` is None where nothing is selected."""
        if self._writers is not None:
            passes = counters.evaluation_forward_passes
            told: dict[str, JSON] = {"evaluation_forward_passes": passes, **scores}
            if best is not None:
                told["best"] = best
            self._write("evaluation", counters, **told)
            self._writers.progress.evaluated(counters.step, scores)

    def finished(self, counters: Counters, summary: Mapping[str, JSON]) -> None:
        """Writes the summary down, as the last event."""
        if self._writers is not None:
            own = {n: v for n, v in summary.items() if n not in ("steps", "forward_passes")}
            self._write("summary", counters, **own)

    def _write(self, event: str, counters: Counters, **fields: JSON) -> None:
        assert self._writers is not None
        self._writers.metrics.write(event, counters.step, counters.forward_passes, **fields)
