"""The commands, as a user meets them: results, files, errors, signals."""

import contextlib
import io
import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from quickstart import minilm
from tiny_task import train_arguments, write_data, write_model, write_task

from loren_jax.cli import main
from loren_jax.models import load_classifier
from loren_jax.reports import read_metrics

# One worker, which sets up once.
pytestmark = pytest.mark.xdist_group("commands")

TRAINABLE = ("--trainable", "classifier/*", "layers/up/kernel", "--rank", "1")
MEASURED = re.compile("seconds|_per_second|bytes|output")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    directory = tmp_path_factory.mktemp("place")
    write_model(directory / "encoder")
    write_data(directory / "reviews.tsv")
    write_task(directory / "data")
    return directory


def run(place, output, *more):
    arguments = train_arguments(place / "encoder", place / "reviews.tsv", output, *more)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(arguments) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def finished(place):
    """The output directory of a run, and what it printed."""
    return place / "run", run(place, place / "run", *TRAINABLE)


def test_everything_is_written(finished):
    directory, printed = finished
    names = {"config.json", "metrics.jsonl", "run.journal", "curve.png", "summary.json", "model"}
    assert {path.name for path in directory.iterdir()} == names | {".lock"}
    for name in names:
        assert name in printed
    summary = json.loads((directory / "summary.json").read_text())
    assert f"{summary['accuracy_after']:.3f} after (95 % interval 0." in printed
    assert summary["held_out_examples"] == 20
    assert (summary["steps"], summary["interrupted"], summary["nonfinite"]) == (6, False, 0)
    assert json.loads((directory / "config.json").read_text())["config"]["steps"] == 6


def test_metrics_count_every_forward_pass(finished):
    lines = read_metrics(finished[0])
    assert [line["event"] for line in lines] == [
        *("config", "evaluation", "step", "step", "step", "step", "evaluation"),
        *("step", "step", "evaluation", "summary"),
    ]
    assert lines[0]["versions"]["loren-jax"]
    assert lines[0]["config"]["optimizer"]["name"] == "loren"
    steps = [line for line in lines if line["event"] == "step"]
    assert [line["forward_passes"] for line in steps] == [4, 8, 12, 16, 20, 24]
    for line in steps:
        assert len(line["losses"]) == 4
        assert line["loss"] == pytest.approx(sum(map(sum, line["losses"])) / 4, rel=1e-6)
    assert lines[-1]["evaluation_forward_passes"] == 3 * math.ceil(20 / 8)
    assert not any("by_class" in line for line in lines[:-1])


def test_the_summary_has_every_class_of_what_is_kept(finished):
    summary = json.loads((finished[0] / "summary.json").read_text())
    confusion = summary["by_class"]["confusion"]
    assert sum(map(sum, confusion)) == 20
    right = sum(row[i] for i, row in enumerate(confusion))
    assert right / 20 == pytest.approx(summary["accuracy_after"])
    assert f"by class, held-out macro F1 {summary['by_class']['macro_f1']:.3f}" in finished[1]


def test_the_model_evaluates_to_what_the_summary_says(finished, place, capsys):
    directory, _ = finished
    model = load_classifier(directory / "model")
    assert (model.label_names, model.config.pooling) == (("negative", "positive"), "mean")
    arguments = f"evaluate --model {directory / 'model'} --data {place / 'reviews.tsv'} --held-out "
    arguments += "--train-examples 40 --held-out-examples 20 --max-length 16"
    assert main(arguments.split()) == 0
    said = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    summary = json.loads((directory / "summary.json").read_text())
    assert said["examples"] == "20"
    assert said["accuracy"] == f"{summary['accuracy_after']:.4f}"
    assert said["mean loss"] == f"{summary['loss_after']:.4f}"
    assert said["majority baseline"] == f"{summary['majority_accuracy']:.4f}"


@pytest.mark.slow
def test_a_task_with_several_seeds_and_their_comparison(place, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # as many as the table needs
    out = tmp_path / "out"
    more = f"--data sst2 --data-dir {place / 'data'} --dev-examples 12 --steps 1 --seeds 0 1"
    printed = run(place, out, *TRAINABLE, *more.split())
    assert "protocol        clean (train_examples 40, not 512; dev_examples 12" in printed
    assert re.search(r"test accuracy +0\.\d{3} ± 0\.\d{3}", printed)
    task = f"--data sst2 --data-dir {place / 'data'}"
    assert main(f"evaluate --model {out / 'seed1' / 'model'} {task}".split()) == 0
    summary = json.loads((out / "seed1" / "summary.json").read_text())
    said, told = capsys.readouterr()
    assert "seed 0 (1/2): step 0/1: dev " in told
    assert "seed 1 (2/2): step 1/1: training loss " in told
    assert f"accuracy           {summary['test']['accuracy']:.4f}" in said
    assert main(["compare", str(out), "--output", str(tmp_path / "all.png")]) == 0
    table = capsys.readouterr().out.splitlines()
    assert "  0,1  " in table[1]
    assert table[2] == f"drawn: {tmp_path / 'all.png'}"
    assert (tmp_path / "all.png").exists()
    assert main(["compare"]) == 2
    assert err(capsys) == (
        "loren-jax: error: runs is empty: name the directories of one or more runs.\n"
    )


def test_the_same_seed_gives_the_same_numbers(finished, place, tmp_path):
    run(place, tmp_path / "again", *TRAINABLE)
    run(place, tmp_path / "other", *TRAINABLE, "--seed", "1")
    first, again, other = map(comparable, (finished[0], tmp_path / "again", tmp_path / "other"))
    assert first == again
    assert first[1:] != other[1:]


def comparable(directory):
    def strip(value):
        if isinstance(value, dict):
            return {key: strip(v) for key, v in value.items() if not MEASURED.search(key)}
        return value

    return [strip(line) for line in read_metrics(directory)]


def edited(place, tmp_path, edit):
    model = shutil.copytree(place / "encoder", tmp_path / "model")
    edit(model)
    return ["--model", str(model)]


def cut(model):
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def of_another_family(model):
    raw = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**raw, "model_type": "mamba"}))


def text_file(tmp_path, text):
    path = tmp_path / "data.tsv"
    path.write_text(text)
    return str(path)


ERRORS = {
    "empty data": (
        lambda place, tmp: ["--data", text_file(tmp, "")],
        r"data\.tsv is empty",
    ),
    "label never seen": (
        lambda place, tmp: ["--held-out-data", text_file(tmp, "sentence\tlabel\nfilm\tmixed\n")],
        r"data\.tsv, line 2: unknown label 'mixed'; the known labels are negative, positive",
    ),
    "no weights": (
        lambda place, tmp: edited(place, tmp, lambda m: (m / "model.safetensors").unlink()),
        "has none of .*model.safetensors",
    ),
    "truncated weights": (
        lambda place, tmp: edited(place, tmp, cut),
        "model.safetensors is damaged or incomplete",
    ),
    "unsupported family": (
        lambda place, tmp: edited(place, tmp, of_another_family),
        "model_type='mamba' is not supported; the families are",
    ),
    "no such task folder": (
        lambda place, tmp: ["--data", "rte", "--data-dir", str(place / "data")],
        "there is no folder .*rte; --data-dir must hold a folder for each task",
    ),
    "no such column": (
        lambda place, tmp: ["--text-columns", "review"],
        "no column 'review'; the columns are sentence, label",
    ),
    "more than the model's positions": (
        lambda place, tmp: ["--max-length", "1024"],
        "--max-length is 1024, but the model has 16 positions",
    ),
    "no such data": (lambda place, tmp: ["--data", str(tmp / "none.tsv")], "none.tsv"),
    "too few examples": (lambda place, tmp: ["--train-examples", "50"], "there are only 60"),
    "learning rate": (
        lambda place, tmp: ["--learning-rate", "0"],
        "--learning-rate must be positive",
    ),
    "one direction": (
        lambda place, tmp: ["--num-directions", "1"],
        "--num-directions must be at least 2, got 1: .*raise --num-directions",
    ),
    "unknown optimiser": (
        lambda place, tmp: ["--optimizer", "adam"],
        "optimizer 'adam' is unknown; the optimisers are loren, input_subspace",
    ),
    "unknown parameters": (
        lambda place, tmp: ["--trainable", "decoder/*"],
        r"'decoder/\*' matches no parameter; they are classifier/bias",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line(name, place, tmp_path, capsys):
    more, message = ERRORS[name]
    arguments = train_arguments(
        place / "encoder", place / "reviews.tsv", tmp_path / "out", *more(place, tmp_path)
    )
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(f"loren-jax: error: .*{message}.*\n", err), err
    assert not (tmp_path / "out").exists()


def test_another_run_is_not_overwritten(finished, place, capsys):
    before = (finished[0] / "metrics.jsonl").read_bytes()
    assert main(train_arguments(place / "encoder", place / "reviews.tsv", finished[0])) == 2
    assert re.search(r"error: --output: .*run already holds a run; .*--overwrite", err(capsys))
    assert (finished[0] / "metrics.jsonl").read_bytes() == before


def err(capsys):
    return capsys.readouterr().err


def test_options_of_another_optimiser_are_refused(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "--optimizer", "mezo", "--learning-rate", "1e-6", "--damping", "0.1"])
    assert end.value.code == 2
    assert "--damping" in err(capsys)


def test_a_traceback_can_be_had(capsys, monkeypatch):
    monkeypatch.setenv("LOREN_JAX_TRACEBACK", "1")
    assert main(["train", "--learning-rate", "1", "--optimizer", "none"]) == 2
    assert "Traceback" in err(capsys)


def test_a_missing_extra_says_how_to_mend_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "flax", None)
    assert main(["train"]) == 2
    assert "flax not installed: the commands need pip install 'loren-jax[train]'" in err(capsys)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("--help", ["train", "evaluate", "forward passes"]),
        ("train --help", ["--trainable", "--damping", "Ctrl-C", "--overwrite"]),
        ("train --optimizer mezo --help", ["--num-directions", "pairs a step"]),
        ("compare --help", ["Directories of runs", "--output PATH"]),
        ("evaluate --help", ["--held-out", "--model STR", "(required)"]),
    ],
)
def test_help(command, expected, capsys):
    with pytest.raises(SystemExit) as end:
        main(command.split())
    assert end.value.code == 0
    out = capsys.readouterr().out
    for words in expected:
        assert words in out
    assert ("--damping" in out) == (command == "train --help")


def test_optimizers_are_listed(capsys):
    assert main(["optimizers"]) == 0
    out = capsys.readouterr().out
    for words in ("zo_muon", "2 K + 1", "arXiv 2511.07971", "MeZO-BCD"):
        assert words in out


@pytest.mark.slow
def test_a_signal_keeps_what_was_learned(place, tmp_path):
    """What a scheduler sends; Ctrl-C: to a run of two processes, in `cluster/test_runs.py`."""
    out = tmp_path / "out"
    arguments = train_arguments(place / "encoder", place / "reviews.tsv", out)
    arguments += ["--steps", "1000000", "--eval-every", "1000000", *TRAINABLE]
    command = [sys.executable, "-m", "loren_jax.cli", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not (out.exists() and steps_of(out) > 3):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        printed, complaints = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, complaints
    summary = json.loads((out / "summary.json").read_text())
    assert summary["interrupted"]
    assert summary["steps"] == steps_of(out)
    assert f"interrupted at step {summary['steps']} of 1000000" in printed
    assert summary["accuracy_after"] == read_metrics(out)[-2]["accuracy"]
    assert load_classifier(out / "model").label_names == ("negative", "positive")
    assert (out / "curve.png").exists()


def steps_of(directory):
    if not (directory / "metrics.jsonl").exists():
        return 0
    return sum(line["event"] == "step" for line in read_metrics(directory))


@pytest.mark.slow
def test_minilm(place, tmp_path):
    more = "--steps 3 --num-directions 16 --chunk-size 16 --trainable classifier/*"
    printed = run(place, tmp_path / "out", "--model", str(minilm()), *more.split())
    assert "trained            770 of 22,566,146 parameters" in printed
    assert load_classifier(tmp_path / "out" / "model").config.hidden_size == 384
