"""A run's curve: loss and held-out accuracy against forward passes, the only fair abscissa."""

import itertools
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from loren_jax.whole_file import whole_file

if TYPE_CHECKING:
    import matplotlib.axes

_STEPS, _HELD_OUT = "#9ecae1", "#d94801"
_SMOOTH = "#2171b5"
_LINE = 66
"""Letters of a heading that fit the picture's width."""


def plot_curve(
    events: Sequence[dict[str, Any]],
    path: str | Path,
    *,
    majority_accuracy: float | None,
    title: str,
    held_out: str = "held out",
    selected_step: int | None = None,
    score: str | None = None,
) -> None:
    """Draws the curve of a run, all or nothing.

    Args:
      events: What `read_metrics` returns.
      path: The PNG file to write.
      majority_accuracy: What always answering the most frequent class would have; None where
        there are no classes.
      title: Heading.
      held_out: What the evaluated examples are called.
      selected_step: The evaluation whose parameters are kept, to be marked; None for the last.
      score: The score of the lower panel; by default the accuracy, or else the first there is.
    """
    figure, (losses, accuracies) = panels(7, 6)
    score = _score_of(events) if score in (None, "loss") else score
    if any(f"train_{score}" in line for line in events):
        _draw_answers(losses, events, score)
    else:
        _draw_losses(losses, events, held_out)
    _draw_scores(accuracies, events, score, held_out)
    if majority_accuracy is not None and score == "accuracy":
        label = f"majority class {majority_accuracy:.3f}"
        accuracies.axhline(majority_accuracy, color="#555555", linestyle="--", label=label)
    _mark(accuracies, events, score, selected_step)
    wrapped = (textwrap.wrap(line, _LINE) for line in title.split("\n"))
    lines = [*itertools.chain.from_iterable(wrapped)]
    figure.suptitle("\n".join(lines))
    leave_margins(figure, len(lines))
    for axes in (losses, accuracies):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
    write(figure, Path(path))


def panels(width: int, height: int) -> tuple[Any, Any]:
    """A figure, and its two panels over one abscissa."""
    # The object interface: pyplot would touch the backend of a program that draws on its own.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    both = figure.subplots(2, 1, sharex=True)
    for axes in both:
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, both


def leave_margins(figure: Any, lines: int) -> None:
    """Room for labels, and above for so many lines; a layout engine would draw all twice."""
    width, height = figure.get_size_inches()
    top = 1 - (0.15 + 0.22 * lines) / height
    room = {"left": 0.75 / width, "right": 1 - 0.15 / width, "bottom": 0.55 / height, "top": top}
    figure.subplots_adjust(**room, hspace=0.07)


KINDS = (".png", ".pdf", ".svg")


def write(figure: Any, path: Path) -> None:
    """Writes a figure of the kind that the ending says, all or nothing."""
    with whole_file(path, "wb") as file:
        figure.savefig(file, dpi=150, format=path.suffix.removeprefix(".") or "png")


def _draw_losses(
    axes: "matplotlib.axes.Axes", events: Sequence[dict[str, Any]], held_out: str
) -> None:
    passes, losses = _points(events, "step", "loss")
    axes.plot(passes, losses, ".", color=_STEPS, markersize=3, label="training, each step")
    if len(losses):
        axes.plot(passes, _smooth(losses), color=_SMOOTH, label="training, smoothed")
    axes.plot(*_points(events, "evaluation", "loss"), "o-", color=_HELD_OUT, label=held_out)
    axes.set_ylabel("loss (nats)")


def _draw_answers(
    axes: "matplotlib.axes.Axes", events: Sequence[dict[str, Any]], score: str
) -> None:
    """What answers in training were worth: a step's losses, compared with each other, mean zero."""
    passes, scores = _points(events, "evaluation", f"train_{score}")
    label = "answers in training, since the evaluation before"
    axes.plot(passes, scores, "o-", color=_SMOOTH, label=label)
    axes.set_ylabel(f"{score} in training")


def _score_of(events: Sequence[dict[str, Any]]) -> str:
    """The score of the lower panel: the accuracy, or else the first that is no loss."""
    own = ("event", "step", "forward_passes", "seconds", "evaluation_forward_passes", "loss")
    evaluations = [line for line in events if line["event"] == "evaluation"]
    names = [name for name in (evaluations[0] if evaluations else {}) if name not in own]
    return "accuracy" if "accuracy" in names or not names else names[0]


def _draw_scores(
    axes: "matplotlib.axes.Axes", events: Sequence[dict[str, Any]], score: str, held_out: str
) -> None:
    passes, scores = _points(events, "evaluation", score)
    axes.plot(passes, scores, "o-", color=_HELD_OUT, label=held_out)
    if len(scores):
        axes.annotate(
            f"{scores[-1]:.3f}",
            (passes[-1], scores[-1]),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
        )
    axes.margins(y=0.15)
    axes.set_ylabel(score)
    axes.set_xlabel("forward passes in training")


def _mark(
    axes: "matplotlib.axes.Axes", events: Sequence[dict[str, Any]], score: str, step: int | None
) -> None:
    """A ring around the evaluation whose parameters are kept."""
    if step is None:
        return
    kept = [line for line in events if line["event"] == "evaluation" and line["step"] == step]
    passes, scores = _points(kept, "evaluation", score)
    axes.plot(passes, scores, "o", mfc="none", mec="black", ms=12, label="selected")


def _points(events: Sequence[dict[str, Any]], event: str, name: str) -> tuple[Any, Any]:
    """The points of one curve; a step without a finite loss has none."""
    kept = [line for line in events if line["event"] == event and line.get(name) is not None]
    passes = np.array([line["forward_passes"] for line in kept])
    return passes, np.array([line[name] for line in kept])


def _smooth(values: np.ndarray) -> Any:
    """A mean over a moving window of about a tenth of the run."""
    half = max(2, len(values) // 20)
    sums = np.cumsum(np.concatenate([[0.0], values]))
    positions = np.arange(len(values))
    starts = np.maximum(positions - half, 0)
    stops = np.minimum(positions + half + 1, len(values))
    return (sums[stops] - sums[starts]) / (stops - starts)
