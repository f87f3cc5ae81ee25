"""The record of a run: one JSON object per line, written as it happens.

Every line has `event`, `step`, `forward_passes` (training ones so far) and `seconds`. Everything
but the times and what is measured in them or in memory is the same for two runs of the same seed.
"""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loren_jax.types import JSON

METRICS = "metrics.jsonl"


class MetricsWriter:
    """Writes events; each line is on disk before the next step starts.

    Args:
        path: The file to create.
        kept: Events of the same run that it begins with.
    """

    def __init__(self, path: Path, kept: Sequence[Mapping[str, Any]] = ()):
        draft = path.with_name(f".{path.name}.draft")
        lines = [json.dumps(_finite(dict(event)), allow_nan=False) + "\n" for event in kept]
        draft.write_text("".join(lines), encoding="utf-8")
        os.replace(draft, path)  # never half of what there was before
        self._file = path.open("a", encoding="utf-8")
        before = max((event["seconds"] for event in kept), default=0.0)
        self._start = time.perf_counter() - before

    def write(self, event: str, step: int, forward_passes: int, **fields: JSON) -> None:
        """Appends one line.

        Args:
            event: `config`, `step`, `warning`, `evaluation` or `summary`.
            step: Steps taken.
            forward_passes: Forward passes of these steps.
            **fields: What else there is to say; numbers that are not finite become null.
        """
        line = {
            "event": event,
            "step": step,
            "forward_passes": forward_passes,
            "seconds": round(time.perf_counter() - self._start, 3),
            **fields,
        }
        self._file.write(json.dumps(_finite(line), allow_nan=False) + "\n")
        self._file.flush()

    def __enter__(self) -> "MetricsWriter":
        """Returns the writer."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Closes the file."""
        self._file.close()


class NoMetrics:
    """What `MetricsWriter` is on the first process of several, on the others."""

    def write(self, event: str, step: int, forward_passes: int, **fields: JSON) -> None:
        """Leaves it to the first."""

    def __enter__(self) -> "NoMetrics":
        """Returns the writer."""
        return self

    def __exit__(self, *exception: object) -> None:
        """There is nothing to close."""


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


def _finite(value: JSON) -> JSON:
    """JSON has neither NaN nor infinity, and most readers refuse a file that has."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
