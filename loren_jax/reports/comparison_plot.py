"""Runs in one picture: loss and score of the evaluations against forward passes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loren_jax.reports.comparison import Run, run_name, varied_options
from loren_jax.reports.curve import KINDS, leave_margins, panels, write

if TYPE_CHECKING:
    import matplotlib.axes


def plot_comparison(groups: Sequence[Sequence[Run]], path: str | Path) -> None:
    """Draws groups of runs, all or nothing: each run thinly, the mean of a group boldly.

    Args:
      groups: Runs that differ by their seed alone, together.
      path: The file to write, of the kind that its ending says: PNG, PDF or SVG.

    Raises:
      ValueError: If the ending says no such kind.
    """
    path = Path(path)
    if path.suffix not in KINDS:
        raise ValueError(f"output: {path} ends in none of {', '.join(KINDS)}, which say the kind")
    figure, both = panels(8, 7)
    varied = varied_options(groups)
    for number, group in enumerate(groups):
        for axes, name in zip(both, ("loss", "accuracy"), strict=True):
            _draw(axes, group, name, f"C{number % 10}", _label(group, varied[number]))
    majorities = _majorities(groups)
    for value in majorities:
        both[1].axhline(value, color="#555555", linestyle="--", lw=0.8, zorder=0)
    if majorities:
        words = ", ".join(f"{value:.3f}" for value in majorities)
        both[1].plot([], [], color="#555555", linestyle="--", lw=0.8, label=f"majority {words}")
    for axes, title in zip(both, ("loss (nats)", "accuracy"), strict=True):
        axes.set_ylabel(f"{title} on the evaluated examples")
    both[1].set_xlabel("forward passes in training")
    both[1].legend(frameon=False, fontsize="small")
    leave_margins(figure, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(figure, path)


def _draw(
    axes: "matplotlib.axes.Axes",
    group: Sequence[Run],
    name: str,
    colour: str,
    label: str,
) -> None:
    curves = [_curve(run, name) for run in group]
    for passes, values in curves:
        axes.plot(passes, values, color=colour, alpha=0.35, lw=0.9)
    passes, mean = mean_curve(curves)
    axes.plot(passes, mean, "o-", color=colour, markersize=3, label=label)


def mean_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The mean of curves, pairs of forward passes and values, where all of them have a point.

    >>> one = (np.array([0, 10, 20]), np.array([1.0, 2.0, 3.0]))
    >>> two = (np.array([0, 10]), np.array([3.0, 4.0]))
    >>> mean_curve([one, two])[1].tolist()
    [2.0, 3.0]
    """
    common = sorted(set.intersection(*(set(passes.tolist()) for passes, _ in curves)))
    values = [
        [dict(zip(passes.tolist(), heights.tolist(), strict=True))[at] for at in common]
        for passes, heights in curves
    ]
    return np.array(common), np.mean(np.array(values).reshape(len(curves), len(common)), axis=0)


def _curve(run: Run, name: str) -> tuple[np.ndarray, np.ndarray]:
    known = [event for event in run.evaluations if event.get(name) is not None]
    passes = np.array([event["forward_passes"] for event in known], np.int64)
    return passes, np.array([event[name] for event in known], np.float64)


def _label(group: Sequence[Run], varied: str) -> str:
    config = group[0].config
    words = [run_name(group), *(config.get("optimizer", {}).get("name", "").split())]
    words += [Path(config[name]).name for name in ("model", "data") if name in config]
    if config.get("protocol"):
        words.append(config["protocol"])
    if varied:
        words.append(varied)
    if (seeds := len({run.config.get("seed") for run in group})) > 1:
        words.append(f"{seeds} seeds")
    if any(run.summary is None for run in group):
        words.append("unfinished")
    return ", ".join(words)


def _majorities(groups: Sequence[Sequence[Run]]) -> list[float]:
    """The different majority baselines of the evaluated examples."""
    finished = [run.summary for group in groups for run in group if run.summary is not None]
    return sorted({s["majority_accuracy"] for s in finished if s.get("majority_accuracy")})
