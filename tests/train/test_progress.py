"""Lines where there is no terminal."""

from loren_jax.train.progress import Progress

from loren_jax.train import Score


def test_evaluations_are_printed(capsys):
    with Progress(10) as progress:
        progress.evaluated(0, Score(0.5, 0.7, 20, 2))
        progress.stepped(1, 2.0, 3.0)
        progress.stepped(2, float("nan"), 3.0)
        progress.stepped(3, 1.0, 3.0)
        progress.evaluated(3, Score(0.75, 0.6, 20, 2))
    out, err = capsys.readouterr()
    first, last = err.strip().splitlines()
    assert first.startswith("step 0/10: held-out loss 0.7000, held-out accuracy 0.500 (")
    assert last.startswith("step 3/10: training loss 1.9000, held-out loss 0.6000, held-out acc")
    assert out == ""


def test_dev_is_not_called_held_out(capsys):
    with Progress(10, "dev") as progress:
        progress.evaluated(0, Score(0.5, 0.7, 20, 2))
    assert "step 0/10: dev loss 0.7000, dev accuracy 0.500 (" in capsys.readouterr().err


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with Progress(10) as progress:
        progress.evaluated(0, Score(0.5, 0.7, 20, 2))
        progress.stepped(4, 2.0, 3.0)
    err = capsys.readouterr().err
    assert "0/10 steps" in err
    assert "loss 2.000, held-out accuracy 0.500, 3.0 passes/s" in err
