"""The record of a run: one JSON object per line, written as it happens.

Every line has `event`, `step`, `forward_passes` (training ones so far) and `seconds`. Everything
but the times and what is measured in them or in memory is the same for two runs of the same seed.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loren_jax.reports.files import METRICS, strict
from loren_jax.types import JSON
from loren_jax.whole_file import whole_file


class MetricsWriter:
    """Writes events to a new file, which begins with those that are kept of the same run.

    Each line is on disk before the next step starts.
    """

    def __init__(self, path: Path, kept: Sequence[Mapping[str, Any]] = ()):
        with whole_file(path) as file:
            for event in kept:
                file.write(json.dumps(strict(dict(event)), allow_nan=False) + "\n")
        self._file = path.open("a", encoding="utf-8")
        before = max((event["seconds"] for event in kept), default=0.0)
        self._start = time.perf_counter() - before

    def write(self, event: str, step: int, forward_passes: int, **fields: JSON) -> dict[str, Any]:
        """Appends a `config`, `step`, `warning`, `evaluation` or `summary`; returns the line."""
        values = {
            "event": event,
            "step": step,
            "forward_passes": forward_passes,
            "seconds": round(time.perf_counter() - self._start, 3),
            **fields,
        }
        line: Any = strict(values)
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        return line

    def __enter__(self) -> "MetricsWriter":
        """Returns the writer."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the file."""
        self._file.close()


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """Reads the events of a run, also of one that is still going.

    Args:
      path: The run's directory, or its `metrics.jsonl`.

    Returns:
      One dictionary per event. A last line that is not complete is left out.

    Raises:
      FileNotFoundError: If there is no such file.
    """
    path = Path(path)
    text = (path / METRICS if path.is_dir() else path).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def events_until(directory: Path, step: int, eval_every: int) -> list[dict[str, Any]]:
    """The events that a run which goes on at a step does not make again.

    Those up to that step, without an evaluation that a signal caused.
    """
    if not (directory / METRICS).is_file():
        return []

    def stays(event: dict[str, Any]) -> bool:
        if event["event"] == "evaluation":
            return 0 < step >= event["step"] and event["step"] % eval_every == 0
        of_step = event["event"] in ("step", "warning")
        return event["event"] == "config" or (of_step and event["step"] <= step)

    return [event for event in read_metrics(directory) if stays(event)]
