"""What a run counts, writes and shows as it goes: journal, metrics, progress."""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from loren_jax import journal
from loren_jax.reports.metrics import MetricsWriter
from loren_jax.runs import processes
from loren_jax.runs.callbacks import Listeners
from loren_jax.runs.forecast import Forecast
from loren_jax.runs.pace import Pace
from loren_jax.types import JSON

# Half of the weight lies on the last seven steps: smooth, and still current.
_SMOOTHING = 0.9
_BAR = 10
"""The least letters that a bar is of use with."""


@contextmanager
def status(text: str) -> Iterator[None]:
    """Shows on a terminal what takes a while, as long as it does."""
    from tqdm import tqdm

    silent = sys.stderr is None or not sys.stderr.isatty() or not processes.first()
    with tqdm(desc=text, bar_format="{desc} ...", leave=False, disable=silent):
        yield


class Progress:
    """A progress bar where there is a terminal; lines alone where there is none.

    `held_out` is what the evaluated examples are called, in front of each score; `shown` are the
    scores that are shown, all by default; `label` is what the run is called among others; `pace`
    knows what is left; of `answers` so many are given by each forward pass.
    """

    def __init__(
        self,
        steps: int,
        held_out: str = "",
        shown: tuple[str, ...] | None = None,
        *,
        label: str = "",
        pace: Pace | None = None,
        answers: int = 0,
    ):
        # Not with the package, which works without it.
        from tqdm import tqdm

        self._label = f"{label}: " if label else ""
        self._bar = tqdm(
            total=steps,
            file=sys.stderr,
            disable=sys.stderr is None or not sys.stderr.isatty(),
            ncols=_columns(),
            desc=self._label,
            bar_format="{desc}{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} steps{postfix}",
        )
        self._steps, self._held_out, self._shown = steps, held_out, shown
        self._answers = answers
        self._pace = Pace(steps, steps) if pace is None else pace
        self._loss: float | None = None
        self._score: list[str] = []
        self._start = time.perf_counter()

    def show_step(self, counters: "Counters", loss: float, *, replayed: bool = False) -> None:
        """Shows that a step is done, and as much of its numbers as there is room for."""
        self._pace.note_step(counters, replayed=replayed)
        if loss == loss:  # a step without a finite loss would blank the bar for good
            kept = loss if self._loss is None else self._loss
            self._loss = _SMOOTHING * kept + (1 - _SMOOTHING) * loss
        shown = "-" if self._loss is None else f"{self._loss:.3f}"
        left, speed = self._pace.seconds_left(counters.step), counters.forward_passes_per_second
        parts = [
            [] if left is None else [f"{self._bar.format_interval(left)} left"],
            [f"loss {shown}"],
            self._score,
            self._answer_counts(counters),
            [] if speed is None or self._answers else [f"{speed:.1f} passes/s"],
        ]
        self._bar.ncols = _columns()  # a window may have changed its size
        fixed = f"{self._label}100%|| {self._steps}/{self._steps} steps"
        room = self._bar.ncols - len(fixed) - _BAR
        self._bar.set_postfix_str(_fit(parts, room), refresh=False)
        self._bar.update(counters.step - self._bar.n)

    def _answer_counts(self, counters: "Counters") -> list[str]:
        """How many answers there were, and how fast they come, in a long and a short form."""
        if not self._answers:
            return []
        number, speed = counters.forward_passes, counters.forward_passes_per_second
        text = f"{number * self._answers:,} answers"
        return [text] if speed is None else [f"{text}, {speed * self._answers:.1f}/s", text]

    def show_line(self, text: str) -> None:
        """Shows one line."""
        self._bar.write(f"{self._label}{text}", file=sys.stderr)

    def show_warning(self, step: int, text: str) -> None:
        """Shows one sentence on what is wrong with the run."""
        self.show_line(f"step {step}: warning: {text}")

    def show_scores(self, counters: "Counters", scores: Mapping[str, float]) -> None:
        """Shows the scores after a step."""
        self._pace.note_evaluation(counters)
        names = scores if self._shown is None else [n for n in self._shown if n in scores]
        before = f"{self._held_out} " if self._held_out else ""
        told = ", ".join(f"{before}{name} {scores[name]:.4f}" for name in names)
        for name in list(names)[-1:]:
            short = f"{name} {scores[name]:.3f}"
            self._score = [f"{before}{short}", short]
        loss = "" if self._loss is None else f"training loss {self._loss:.4f}, "
        speed = scores.get("tokens_per_second")
        facts = [
            *self._answer_counts(counters)[-1:],
            *([] if speed is None else [f"{speed:,.0f} tokens/s"]),
            f"{time.perf_counter() - self._start:.0f} s",
        ]
        self.show_line(f"step {counters.step}/{self._steps}: {loss}{told} ({', '.join(facts)})")

    def close(self) -> None:
        """Ends the bar."""
        self._bar.close()


def _columns() -> int:
    """Letters of a line of the terminal, without the last, where a cursor would wrap."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns - 1
    except (OSError, ValueError, AttributeError):
        return 79


def _fit(parts: Sequence[Sequence[str]], room: int) -> str:
    """The parts that there is room for, each in the first of its forms that fits.

    >>> _fit([["00:03 left"], ["dev accuracy 0.5", "accuracy 0.5"], ["9 passes/s"]], 27)
    '00:03 left, accuracy 0.5'
    """
    kept: list[str] = []
    for forms in parts:
        fits = (form for form in forms if len(", ".join(["", *kept, form])) <= room)
        kept += [form for form in [next(fits, "")] if form]
    return ", ".join(kept)


@dataclass
class Counters:
    """The counts of a run, which a checkpoint holds, so that a resumed run counts on.

    `nonfinite` counts losses, `nonfinite_steps` steps in a row, up to now, without a finite one.
    `training_seconds` are of the steps alone. What is `replayed` is of steps that took their losses
    from the journal, within the other two counts. Scores are None where there were none.
    """

    step: int = 0
    forward_passes: int = 0
    evaluation_forward_passes: int = 0
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    replayed_forward_passes: int = 0
    replayed_seconds: float = 0.0
    nonfinite: int = 0
    nonfinite_steps: int = 0
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None

    @property
    def forward_passes_per_second(self) -> float | None:
        """Of the steps that were evaluated; None before there is one."""
        passes = self.forward_passes - self.replayed_forward_passes
        seconds = self.training_seconds - self.replayed_seconds
        return passes / seconds if passes and seconds > 0 else None

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON values; `Counters(**values)` is the inverse."""
        return asdict(self)


class Writers(NamedTuple):
    """Where the first process writes: losses of every step, events, the terminal, callbacks."""

    journal: journal.JournalWriter
    metrics: MetricsWriter
    progress: Progress
    listeners: Listeners = Listeners()


class Record:
    """The record of a run; of several processes, those without writers know its losses only.

    A resumed run goes through the recorded steps again from its checkpoint: they take their losses
    from the journal, and are not appended to it twice.
    """

    def __init__(self, losses: Float[np.ndarray, "steps K S"], writers: Writers | None):
        self._losses, self._writers = losses, writers

    @property
    def steps(self) -> int:
        """Steps that were recorded before."""
        return len(self._losses)

    def losses(self, step: int) -> Float[np.ndarray, "K S"] | None:
        """The losses of a step, or None if it is yet to be taken."""
        return self._losses[step] if step < len(self._losses) else None

    def write_step(self, counters: Counters, loss: float, losses: Float[np.ndarray, "K S"]) -> None:
        """Writes a step down; the counters have it."""
        if self._writers is None:
            return
        replayed = counters.step <= self.steps
        if not replayed:
            self._writers.journal.append(counters.step - 1, losses)
        self._write(
            "step", counters, loss=loss, losses=losses.tolist(), nonfinite=counters.nonfinite
        )
        self._writers.progress.show_step(counters, loss, replayed=replayed)

    def show_forecast(self, forecast: Forecast) -> None:
        """Shows what the run will take."""
        if self._writers is not None:
            self._writers.progress.show_line(forecast.text)

    def write_warning(self, counters: Counters, text: str) -> None:
        """Writes a warning down."""
        if self._writers is not None:
            self._writers.progress.show_warning(counters.step, text)
            self._write("warning", counters, text=text)

    def write_evaluation(
        self, counters: Counters, scores: Mapping[str, Any], best: bool | None
    ) -> None:
        """Writes an evaluation down; `best` is None where nothing is selected.

        What is no number, as the scores of every class, is for the summary alone.
        """
        if self._writers is not None:
            scores = {n: value for n, value in scores.items() if not isinstance(value, Mapping)}
            passes = counters.evaluation_forward_passes
            told: dict[str, JSON] = {"evaluation_forward_passes": passes, **scores}
            if best is not None:
                told["best"] = best
            self._write("evaluation", counters, **told)
            self._writers.progress.show_scores(counters, scores)

    def write_summary(self, counters: Counters, summary: Mapping[str, JSON]) -> None:
        """Writes the summary down, as the last event."""
        if self._writers is not None:
            own = {n: v for n, v in summary.items() if n not in ("steps", "forward_passes")}
            self._write("summary", counters, **own)

    def _write(self, event: str, counters: Counters, **fields: JSON) -> None:
        assert self._writers is not None
        counts = counters.step, counters.forward_passes
        line = self._writers.metrics.write(event, *counts, **fields)
        self._writers.listeners.tell(line)
