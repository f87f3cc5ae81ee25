"""The files of a run, by name; and JSON, written strictly and read with clear errors."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from loren_jax.types import JSON
from loren_jax.whole_file import whole_file

CONFIG = "config.json"
METRICS = "metrics.jsonl"
JOURNAL = "run.journal"
FACTORS = "factors.npz"
CHECKPOINTS = "checkpoints"
CURVE = "curve.png"
SUMMARY = "summary.json"
ANSWERS = "answers.jsonl"
MODEL = "model"
ADAPTER = "adapter"
PACKED = "trained.gguf"
TENSORBOARD = "tensorboard"
WANDB = "wandb"
SEEDS = "seeds.json"
SWEEP = "sweep.json"
"""Of the directories around the runs of several seeds, and of a sweep."""


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object; the ValueError of a damaged file names it."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: it is not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object")
    return values


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a JSON file, all or nothing; numbers that are not finite become null."""
    write_text(path, json.dumps(strict(values), indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text file, all or nothing."""
    with whole_file(path) as file:
        file.write(text)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes a file of JSON lines, all or nothing."""
    lines = (json.dumps(strict(row), allow_nan=False, ensure_ascii=False) for row in rows)
    write_text(path, "".join(f"{line}\n" for line in lines))


def strict(value: JSON) -> JSON:
    """JSON values as any reader takes them: without NaN and infinity, which JSON does not have.

    >>> strict({"loss": float("nan"), "steps": (1, 2)})
    {'loss': None, 'steps': [1, 2]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: strict(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [strict(entry) for entry in value]
    return value
