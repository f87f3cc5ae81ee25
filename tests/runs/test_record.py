"""What a run shows: lines, and a bar where there is a terminal."""

import os
import re

import pytest

from loren_jax.runs.pace import Pace
from loren_jax.runs.record import Counters, Progress

SCORES = {"loss": 0.7, "accuracy": 0.5, "matthews": 0.1}


def shown(capsys, *arguments, steps=10, last=3, **options):
    counters = Counters()
    progress = Progress(steps, *arguments, pace=Pace(steps, 5), **options)
    progress.show_scores(counters, SCORES)
    for step, loss in ((1, 2.0), (2, float("nan")), (last, 1.0)):
        counters.step, counters.forward_passes = step, 3 * step
        counters.training_seconds = float(step)
        progress.show_step(counters, loss)
        if step == 2:
            progress.show_warning(2, "a loss is not finite")
    progress.show_scores(counters, SCORES)
    progress.close()
    out, err = capsys.readouterr()
    assert out == ""
    return err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "loss 0.7000, accuracy 0.5000, matthews 0.1000 ("),
        (("held-out", ("loss", "accuracy")), "held-out loss 0.7000, held-out accuracy 0.5000 ("),
        (("dev", ("matthews", "f1")), "dev matthews 0.1000 ("),
    ],
)
@pytest.mark.parametrize("label", ["", "seed 1 (2/3)"])
def test_evaluations_and_warnings_are_printed(capsys, arguments, told, label):
    first, warning, last = shown(capsys, *arguments, label=label).strip().splitlines()
    before = f"{label}: " if label else ""
    assert first.startswith(f"{before}step 0/10: {told}")
    assert warning == f"{before}step 2: warning: a loss is not finite"
    assert last.startswith(f"{before}step 3/10: training loss 1.9000, {told}")


def bars(capsys, monkeypatch, columns, **options):
    """What a terminal of so many columns shows, as lines."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.fileno", lambda: 2)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
    err = shown(capsys, "held-out", ("loss", "accuracy"), **options)
    return [line for line in re.split(r"[\r\n]", err) if "%|" in line]


def test_a_wide_terminal_gets_a_bar_with_all_numbers(capsys, monkeypatch):
    lines = bars(capsys, monkeypatch, 120)
    assert "0/10 steps" in lines[0]
    assert lines[-1].endswith(
        "3/10 steps, 00:07 left, loss 1.900, held-out accuracy 0.500, 3.0 passes/s"
    )


@pytest.mark.parametrize("label", ["", "seed 12 (13/20)"])
@pytest.mark.parametrize("steps", [40, 100_000])
def test_80_columns_have_room_for_a_bar_and_whole_numbers(capsys, monkeypatch, label, steps):
    lines = bars(capsys, monkeypatch, 80, label=label, steps=steps, last=steps * 3 // 4)
    assert all(len(line) < 80 for line in lines)
    (bar, after) = lines[-1].split("%|")[1].split("|")
    assert len(bar) >= 10
    assert lines[-1].startswith(f"{label}:  75%" if label else " 75%")
    count, *numbers = after.strip().split(", ")
    assert count == f"{steps * 3 // 4}/{steps} steps"
    known = r"(\d+:)?\d\d:\d\d left|loss 1\.900|(held-out )?accuracy 0\.500|3\.0 passes/s"
    assert numbers
    assert all(re.fullmatch(known, number) for number in numbers), numbers


def test_a_narrow_terminal_has_the_count_alone(capsys, monkeypatch):
    lines = bars(capsys, monkeypatch, 30)
    assert re.fullmatch(r" 30%\|\S+ *\| 3/10 steps", lines[-1])


def test_answers_are_counted_where_the_passes_give_some(capsys, monkeypatch):
    line = bars(capsys, monkeypatch, 120, answers=8)[-1]
    assert line.endswith("held-out accuracy 0.500, 72 answers, 24.0/s")
    counters = Counters(step=3, forward_passes=9)
    Progress(10, answers=8).show_scores(counters, {"reward": 0.5, "tokens_per_second": 1234.5})
    told = capsys.readouterr().err
    assert "reward 0.5000" in told
    assert "(72 answers, 1,234 tokens/s, 0 s)" in told
