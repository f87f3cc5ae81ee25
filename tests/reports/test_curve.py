"""The curve is drawn, also of the odd run."""

import struct
import subprocess
import sys

import numpy as np
import pytest

from loren_jax.reports import curve, plot_curve
from loren_jax.reports.curve import _smooth


def events(count, score="accuracy"):
    yield {"event": "evaluation", "step": 0, "forward_passes": 0, "loss": 0.7, score: 0.5}
    for step in range(1, count + 1):
        yield {"event": "step", "forward_passes": 6 * step, "loss": None if step == 2 else 1 / step}
    passes = 6 * count
    last = {"step": count, "forward_passes": passes, "loss": 0.5, score: 0.8}
    yield {"event": "evaluation", **last}


@pytest.mark.parametrize(
    ("drawn", "options"),
    [
        *[(list(events(count)), {"majority_accuracy": 0.534}) for count in (0, 1, 2, 50)],
        (list(events(9, "error")), {"majority_accuracy": None}),  # of no classes
        ([], {"majority_accuracy": 0.5}),  # never evaluated
    ],
)
def test_a_picture_is_written(drawn, options, tmp_path):
    path = tmp_path / "curve.png"
    plot_curve(drawn, path, title="a run", **options)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (1050, 900)
    assert [file.name for file in tmp_path.iterdir()] == ["curve.png"]


def test_the_selected_evaluation_is_marked(tmp_path):
    options = {"majority_accuracy": 0.5, "title": "a run", "held_out": "dev"}
    for name, step in (("plain", None), ("marked", 3)):
        plot_curve(list(events(3)), tmp_path / name, selected_step=step, **options)
    assert (tmp_path / "plain").read_bytes() != (tmp_path / "marked").read_bytes()


def test_the_heading_fits_and_the_score_that_selects_is_the_one_drawn(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(curve, "write", lambda figure, path: figures.append(figure))
    title = "loren on some/model, cola, seed 0\nprotocol clean (" + "train_examples 64; " * 6 + ")"
    drawn = [line | {"matthews": 0.1 * line["step"]} for line in events(3) if "step" in line]
    plot_curve(
        drawn, tmp_path / "a.png", majority_accuracy=0.6, title=title, score="matthews",
        selected_step=3,
    )  # fmt: skip
    (figure,) = figures
    figure.canvas.draw()
    box, whole = figure._suptitle.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0
    assert box.x1 <= whole.x1
    scores = figure.axes[1]
    assert scores.get_ylabel() == "matthews"
    assert all("majority" not in line.get_label() for line in scores.lines)
    selected = next(line for line in scores.lines if line.get_label() == "selected")
    np.testing.assert_allclose(selected.get_ydata(), [0.1 * 3])


def test_smoothing_keeps_constants_and_length():
    np.testing.assert_allclose(_smooth(np.full(100, 2.5)), 2.5)
    assert _smooth(np.arange(7.0)).shape == (7,)
    assert _smooth(np.arange(100.0))[50] == pytest.approx(50)


def test_matplotlib_is_imported_only_to_draw():
    code = "import loren_jax.reports, loren_jax.train, sys; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_of_a_reward_the_answers_in_training_are_drawn_and_no_losses(tmp_path, monkeypatch):
    """Those of a step are compared with each other: their mean is zero, whatever is learned."""
    figures = []
    monkeypatch.setattr(curve, "write", lambda figure, path: figures.append(figure))
    steps = [{"event": "step", "forward_passes": 6 * s, "loss": 1e-8} for s in range(1, 5)]
    scores = [
        {"event": "evaluation", "step": s, "forward_passes": 6 * s, "reward": 0.1 * s}
        | ({"train_reward": 0.1 * s} if s else {})
        for s in (0, 2, 4)
    ]
    plot_curve(
        [*steps, *scores], tmp_path / "a.png", majority_accuracy=None, title="a", score="reward"
    )
    upper, lower = figures[0].axes
    assert upper.get_ylabel() == "reward in training"
    (line,) = upper.get_lines()
    np.testing.assert_allclose(line.get_ydata(), [0.2, 0.4])
    assert lower.get_ylabel() == "reward"
