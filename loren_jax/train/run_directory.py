"""The directory of a run: claimed once, never half written, never mixed with another run's."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from loren_jax.journal.factors import FACTORS as FACTORS
from loren_jax.train.metrics import METRICS

CONFIG = "config.json"
SUMMARY = "summary.json"
CURVE = "curve.png"
MODEL = "model"
JOURNAL = "run.journal"
KEYFRAMES = "keyframes"


def check_free(directory: Path, *, overwrite: bool) -> None:
    """Makes sure that a run may be written here, before anything dear is done.

    Args:
        directory: The output directory.
        overwrite: Whether it may replace another run.

    Raises:
        FileExistsError: If it holds a run that may not be replaced, or something that is no run.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if not (directory / METRICS).is_file():
        raise FileExistsError(
            f"output: {directory} exists and holds something that is no run; name another "
            "directory with --output"
        )
    if not overwrite:
        raise FileExistsError(
            f"output: {directory} already holds a run; name another directory with --output, or "
            "replace it with --overwrite"
        )


def claim(directory: Path) -> None:
    """Makes the directory, without what a former run left in it; other files are not touched.

    Args:
        directory: The output directory, checked with `check_free`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in (MODEL, KEYFRAMES):
        shutil.rmtree(directory / name, ignore_errors=True)
    # The metrics last: as long as they are there, the directory counts as a run of ours.
    for name in (CONFIG, JOURNAL, FACTORS, SUMMARY, CURVE, METRICS):
        (directory / name).unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON file; a ValueError if it is not one object.

    Args:
        path: The file.

    Returns:
        What it holds.
    """
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no JSON object")
    return values


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a JSON file, all or nothing.

    Args:
        path: The file.
        values: What it holds.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    os.replace(draft, path)
