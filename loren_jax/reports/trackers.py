"""Runs in TensorBoard and Weights & Biases: callbacks that hand the events of a run on."""

import importlib
import importlib.util
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from loren_jax.reports.files import TENSORBOARD, WANDB

_GROUPS = {"step": "training", "evaluation": "evaluation"}
_APART = ("step", "seconds")


class TensorBoard:
    """Writes a run for TensorBoard, by tensorboardX; `tensorboard --logdir RUN` shows it.

    Args:
      directory: The run's directory; the events are in its folder `tensorboard`.

    Raises:
      ImportError: If tensorboardX is not installed.

    >>> callbacks = [TensorBoard("runs/mine")]  # doctest: +SKIP
    """

    def __init__(self, directory: str | os.PathLike):
        _require("tensorboard", "tensorboardX")
        self._directory, self._writer = Path(directory), None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Writes the numbers of an event."""
        if self._writer is None:
            package = importlib.import_module("tensorboardX")
            self._writer = package.SummaryWriter(logdir=str(self._directory / TENSORBOARD))
        for name, value in numbers(event).items():
            self._writer.add_scalar(name, value, event["step"])
        if event["event"] == "evaluation":
            self._writer.flush()

    def close(self) -> None:
        """Writes what is left."""
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """Sends a run to Weights & Biases, by wandb; a run that is resumed goes on there too.

    wandb's own variables say to whom and how: WANDB_PROJECT, WANDB_MODE=offline, and the others.

    Args:
      directory: The run's directory.

    Raises:
      ImportError: If wandb is not installed.

    >>> callbacks = [WeightsAndBiases("runs/mine")]  # doctest: +SKIP
    """

    def __init__(self, directory: str | os.PathLike):
        _require("wandb", "wandb")
        self._directory, self._run = Path(directory), None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Sends the numbers of an event; of the last one, as the run's summary."""
        if self._run is None:
            self._run = self._begin(event)
        if event["event"] == "summary":
            plain = {n: v for n, v in event.items() if isinstance(v, int | float | str)}
            self._run.summary.update({n: v for n, v in plain.items() if n not in ("event", "step")})
        elif found := numbers(event):
            self._run.log(found, step=event["step"])

    def close(self) -> None:
        """Sends what is left."""
        if self._run is not None:
            self._run.finish()

    def _begin(self, event: Mapping[str, Any]) -> Any:
        package = importlib.import_module("wandb")
        path = self._directory / WANDB / "id"
        new = event["event"] == "config" or not path.is_file()
        if new:
            path.parent.mkdir(exist_ok=True)
            path.write_text(uuid.uuid4().hex)
        return package.init(
            id=path.read_text(),
            resume="allow",
            dir=str(self._directory),
            name=self._directory.absolute().name,
            project=os.environ.get("WANDB_PROJECT", "loren-jax"),
            config=event.get("config"),
        )


TRACKERS: Mapping[str, Callable[[Path], Any]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}
"""By the name that `--report-to` takes, what makes the callback of a run's directory."""


def numbers(event: Mapping[str, Any]) -> dict[str, int | float]:
    """The numbers of a step or an evaluation, by name; of another event none.

    >>> numbers({"event": "step", "step": 1, "forward_passes": 4, "loss": 0.5, "losses": [0.5]})
    {'training/forward_passes': 4, 'training/loss': 0.5}
    """
    group = _GROUPS.get(event["event"])
    plain = lambda v: isinstance(v, int | float) and not isinstance(v, bool)
    if group is None:
        return {}
    return {f"{group}/{n}": v for n, v in event.items() if n not in _APART and plain(v)}


def _require(name: str, package: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:  # a folder of that name, as wandb leaves one
        raise ImportError(f"report_to: {name} needs the package {package}: pip install {package}")
