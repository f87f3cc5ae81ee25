"""Lines where there is no terminal."""

import pytest

from loren_jax.runs.record import Progress

SCORES = {"loss": 0.7, "accuracy": 0.5, "matthews": 0.1}


def shown(capsys, *arguments):
    progress = Progress(10, *arguments)
    progress.evaluated(0, SCORES)
    progress.stepped(1, 2.0, 3.0)
    progress.stepped(2, float("nan"), 3.0)
    progress.warned(2, "a loss is not finite")
    progress.stepped(3, 1.0, 3.0)
    progress.evaluated(3, SCORES)
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
def test_evaluations_and_warnings_are_printed(capsys, arguments, told):
    first, warning, last = shown(capsys, *arguments).strip().splitlines()
    assert first.startswith(f"step 0/10: {told}")
    assert warning == "step 2: warning: a loss is not finite"
    assert last.startswith(f"step 3/10: training loss 1.9000, {told}")


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    err = shown(capsys, "held-out", ("loss", "accuracy"))
    assert "0/10 steps" in err
    assert "loss 1.900, held-out accuracy 0.500, 3.0 passes/s" in err
