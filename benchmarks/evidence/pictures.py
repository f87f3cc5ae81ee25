"""Pictures of rows: mean held-out loss against forward passes."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.tables import mean_curve

_LEADING = ("loren", "mezo", "zo_muon", "mezo_adam", "lozo", "hizoo", "loren, along the inputs")
_COLUMNS = 3


def draw_curves(panels: dict[str, dict[str, list[dict[str, Any]]]], path: Path) -> None:
    """One panel a task, one line a method; a band of one standard error.

    Args:
      panels: task -> method -> rows of its seeds.
      path: of the PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(panels))
    rows_of_panels = -(-len(panels) // columns)
    size = (4.6 * columns, 3.6 * rows_of_panels + 1)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows_of_panels, columns, squeeze=False)
    all_axes = grid.reshape(-1)[: len(panels)]
    for unused in grid.reshape(-1)[len(panels) :]:
        unused.set_visible(False)
    names = list(dict.fromkeys(name for methods in panels.values() for name in methods))
    for axes, (task, methods) in zip(all_axes, panels.items(), strict=True):
        for name, rows in methods.items():
            _line(axes, name, rows, names.index(name))
        axes.set_title(task, fontsize=10)
        axes.set_xlabel("forward passes")
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        # What rises above the start has diverged; how far would flatten all others.
        start = max(mean_curve(rows)[0] for rows in methods.values())
        axes.set_ylim(top=min(axes.get_ylim()[1], start * 1.03))
    for axes in grid[:, 0]:
        axes.set_ylabel("dev loss, mean over seeds")
    lines = {line.get_label(): line for axes in all_axes for line in axes.lines}
    place = {"loc": "outside lower center", "ncols": 6, "frameon": False, "fontsize": 8}
    figure.legend(lines.values(), lines.keys(), **place)
    figure.savefig(path, dpi=130)


PEERS = (
    "LOREN, rank 1", "MeZO, rank 1", "LOREN, Gaussian", "MeZO, Gaussian", "LOREN, official loop",
    "MeZO, official loop", "evosax Open-ES", "evosax SNES", "Adam, gradients",
    "Adam, gradients, checkpointing", "LoRA, gradients", "LoRA, gradients, checkpointing",
)  # fmt: skip
OWN = PEERS[:4]
CURVES = {"adamw, gradients": "AdamW, gradients", "loren": "LOREN", "mezo": "MeZO"}


def draw_peers(
    costs: list[dict[str, Any]], curves: dict[str, list[dict[str, Any]]], path: Path
) -> None:
    """What README opens with: time and memory of a step beside others, and one curve.

    Args:
      costs: rows of `peers.py cost`, of one size; a method without a row has no bar.
      curves: method -> rows of its seeds, of one task.
      path: of the SVG.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), layout="constrained")
    FigureCanvasSVG(figure)
    time, memory, curve = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    rows = {row["method"]: row for row in costs}
    names = [name for name in PEERS[::-1] if name in rows]
    _bars(time, names, [rows[name]["times the passes"] for name in names])
    time.set_title("time a step", fontsize=10)
    time.set_xlabel("times six forward passes")
    _bars(memory, names, [_beside(rows[name]) for name in names])
    memory.set_title("memory beside the parameters", fontsize=10)
    memory.set_xlabel("times the parameters, temporary and state")
    memory.set_xscale("log")
    memory.set_xlim(0.1, 200)
    memory.set_yticklabels([])
    for number, (name, shown) in enumerate(CURVES.items()):
        _line(curve, name, curves[name], number)
        curve.lines[-1].set_label(shown)
    curve.set_title("MiniLM's head on SST-2: dev loss", fontsize=10)
    curve.set_xlabel("forward passes, three for a gradient")
    curve.legend(frameon=False, fontsize=8)
    for axes in (time, memory, curve):
        axes.spines[["top", "right"]].set_visible(False)
    with matplotlib.rc_context({"svg.hashsalt": "peers"}):  # the same picture, the same bytes
        figure.savefig(path, metadata={"Date": None})


def _bars(axes: Any, names: list[str], values: list[float | None]) -> None:
    colors = ["C0" if name in OWN else "#999999" for name in names]
    axes.barh(names, [value or 0 for value in values], color=colors)
    for place, value in enumerate(values):
        at, shown = (value, f" {value:.2g}") if value else (0, " not measured")
        transform = axes.transData if value else axes.get_yaxis_transform()
        axes.text(at, place, shown, va="center", fontsize=8, transform=transform)
    axes.margins(x=0.15)
    axes.tick_params(axis="y", labelsize=8.5)


def _beside(row: dict[str, Any]) -> float | None:
    """Temporary memory and state."""
    temporary = row["temporary / parameters"]
    return None if temporary is None else temporary + row["state / parameters"]


def _line(axes: Any, name: str, rows: list[dict[str, Any]], number: int) -> None:
    passes, mean = np.array(rows[0]["passes"]), mean_curve(rows)
    spread = np.std([np.array(row["dev loss"], float) for row in rows], 0, ddof=1)
    spread /= len(rows) ** 0.5
    gradient, leading = name.endswith("gradients"), name in _LEADING
    color = "black" if gradient else f"C{number % 10}"
    style = "--" if gradient else "-" if number < 10 else "-."
    axes.plot(passes, mean, style, color=color, linewidth=1.8 if leading else 1, label=name)
    if leading:
        axes.fill_between(passes, mean - spread, mean + spread, color=color, alpha=0.2, linewidth=0)
