"""Runs from the command line, gone on with under other circumstances than they began in."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_task import train_arguments

from loren_jax import journal
from loren_jax.cli import main
from loren_jax.journal import method
from loren_jax.reports import read_metrics
from loren_jax.runs.loop import Loop
from loren_jax.train import OPTIONS, TrainConfig, evaluate, train_seeds
from loren_jax.train.config import EvaluateConfig

TRAINED = ("--trainable", "classifier/*", "--rank", "1")


def arguments(place, output, *more):
    return train_arguments(place / "encoder", place / "reviews.tsv", output, *TRAINED, *more)


@pytest.fixture
def interrupted(monkeypatch):
    """Makes the next run stop behind its third step, as Ctrl-C would, and the others run on."""

    def interrupt(step=3):
        started = Loop.run

        def run(self, params, state):
            self.interruption.requested = lambda now: now >= step
            monkeypatch.setattr(Loop, "run", started)
            return started(self, params, state)

        monkeypatch.setattr(Loop, "run", run)

    return interrupt


def refused(capsys, *command):
    """The one line of an error."""
    assert main([str(word) for word in command]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    return line


def model(directory):
    return (directory / "model" / "model.safetensors").read_bytes()


def test_changed_data_stops_a_resume_by_name(place, tmp_path, interrupted, capsys):
    data = tmp_path / "data.tsv"
    shutil.copy(place / "reviews.tsv", data)
    interrupted()
    command = train_arguments(place / "encoder", data, tmp_path / "run", *TRAINED)
    assert main(command) == 130
    text = data.read_text()
    data.write_text(text.replace("film", "plot"))
    line = refused(capsys, "train", "--resume", tmp_path / "run")
    assert "the training data of this run is not what it was" in line
    data.write_text(text)
    assert main(["train", "--resume", str(tmp_path / "run")]) == 0


@pytest.mark.slow
def test_local_paths_are_kept_as_they_were_meant(place, tmp_path, interrupted, monkeypatch):
    monkeypatch.chdir(place)
    interrupted()
    assert main(train_arguments("encoder", "reviews.tsv", tmp_path / "run", *TRAINED)) == 130
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--resume", "run"]) == 0
    assert main(["verify", "run"]) == 0
    assert main(["export", "run", "--step", "2", "--output", "two"]) == 0


def test_a_stopped_run_says_how_to_go_on(place, tmp_path, interrupted, capsys):
    interrupted()
    assert main(arguments(place, tmp_path / "run&1")) == 130
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last == f"go on with: loren-jax train --resume '{tmp_path / 'run&1'}'"
    assert main(shlex.split(last.partition("loren-jax ")[2])) == 0
    printed, told = capsys.readouterr()
    assert "resuming behind step 3, from the checkpoint of step 0" in told
    assert "go on with" not in printed


@pytest.mark.slow
def test_a_group_of_seeds_goes_on_and_a_stopped_seed_enters_no_mean(
    place, tmp_path, interrupted, capsys
):
    group, whole = tmp_path / "group", tmp_path / "whole"
    seeds = ("--seeds", "0", "1", "2")
    interrupted()
    assert main(arguments(place, group, *seeds)) == 130
    printed = capsys.readouterr().out
    assert f"seeds none complete of 3; go on with loren-jax train --resume {group}" in printed
    assert json.loads((group / "seeds.json").read_text())["statistics"] == {}
    assert main(["compare", str(group), "--output", str(tmp_path / "c.png")]) == 0
    assert "(unfinished)" in capsys.readouterr().out
    assert main(["train", "--resume", str(group)]) == 0
    assert main(arguments(place, whole, *seeds)) == 0
    for seed in range(3):
        assert model(group / f"seed{seed}") == model(whole / f"seed{seed}")
    scores = [json.loads((d / "seeds.json").read_text())["scores"] for d in (group, whole)]
    timed = lambda rows: [{n: v for n, v in r.items() if "seconds" not in n} for r in rows]
    assert timed(scores[0]) == timed(scores[1])
    assert len(scores[0]) == 3


@pytest.mark.slow
def test_a_group_that_stopped_before_its_first_run_goes_on(place, tmp_path, monkeypatch):
    import loren_jax.train.seeds as seeds

    config = TrainConfig(
        optimizer=OPTIONS["mezo"](learning_rate=0.1), model=str(place / "encoder"),
        data=str(place / "reviews.tsv"), output=tmp_path / "group", steps=2, train_examples=20,
        held_out_examples=8, pooling="mean", seeds=(3, 4), max_length=16,
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(
            seeds, "train", lambda *given, **more: (_ for _ in ()).throw(OSError("no room"))
        )
        with pytest.raises(OSError, match="no room"):
            train_seeds(config)
    assert [r.summary.facts["seed"] for r in seeds.resume_seeds(config.directory).results] == [3, 4]


@pytest.mark.slow
def test_a_run_can_be_trained_for_longer(place, tmp_path, capsys):
    short, long = tmp_path / "short", tmp_path / "long"
    assert main(arguments(place, short)) == 0
    assert "is complete" in refused(capsys, "train", "--resume", short)
    assert main(["train", "--resume", str(short), "--steps", "9"]) == 0
    assert main(arguments(place, long, "--steps", "9")) == 0
    assert model(short) == model(long)
    losses = [journal.read(run / "run.journal").losses for run in (short, long)]
    assert np.array_equal(*losses)
    assert len(losses[0]) == 9


def test_where_a_model_is_meant_a_run_will_do_and_the_other_way_it_is_said(place, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(arguments(place, run)) == 0
    ask = lambda model: evaluate(EvaluateConfig(model=str(model), data=str(place / "reviews.tsv")))
    assert ask(run).scores == ask(run / "model").scores
    line = refused(capsys, "train", "--resume", run / "model")
    assert f"holds no run; the run is {run}" in line


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[: len(text) // 2], "config.json is damaged: it is not JSON"),
        (lambda text: "{}", "config.json is damaged: it has no 'config'"),
        (lambda text: text.replace('"optimizer"', '"x"'), "has no 'optimizer'"),
        (lambda text: text.replace('"data_dir"', '"x"'), "has no 'data_dir'"),
        (lambda text: text.replace('"steps"', '"stops"'), "config.json"),
    ],
)
def test_an_edited_configuration_is_named(place, tmp_path, interrupted, capsys, edit, message):
    interrupted()
    assert main(arguments(place, tmp_path / "run")) == 130
    path = tmp_path / "run" / "config.json"
    path.write_text(edit(path.read_text()))
    assert message in refused(capsys, "train", "--resume", tmp_path / "run")


def test_json_is_strict_and_files_have_the_mode_of_the_mask(place, tmp_path):
    before = os.umask(0o027)
    try:
        assert main(arguments(place, tmp_path / "run", "--learning-rate", "1e30")) in (0, 2)
    finally:
        os.umask(before)
    for path in (tmp_path / "run").rglob("*"):
        if "checkpoints" not in path.parts:  # Orbax's own
            assert path.stat().st_mode & 0o777 in (0o640, 0o750), path
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)


@pytest.mark.slow
def test_two_threads_train_at_once(place, tmp_path):
    """In a fresh process, whose imports are part of the matter."""
    code = f"""
import sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
from tiny_task import train_arguments
from loren_jax.cli import main
from pathlib import Path
codes = []
def one(number):
    output = Path({str(tmp_path)!r}) / f"run{{number}}"
    place = Path({str(place)!r})
    codes.append(main(train_arguments(place / "encoder", place / "reviews.tsv", output)))
threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sys.exit(codes != [0, 0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert model(tmp_path / "run0") == model(tmp_path / "run1")


@pytest.mark.slow
def test_a_user_without_a_home_and_without_a_name(place, tmp_path):
    """As containers run: no HOME, no entry of the user; and docstrings stripped."""
    environment = {n: v for n, v in os.environ.items() if n not in ("HOME", "USER", "LOGNAME")}
    code = """
import pwd, sys

def unknown(number):
    raise KeyError(number)

pwd.getpwuid = unknown
from loren_jax.cli import main
sys.exit(main(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-OO", "-c", code, *arguments(place, tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_a_factory_of_ones_own_from_the_command_line(place, tmp_path, monkeypatch, capsys):
    (tmp_path / "own_method.py").write_text(
        '''
"""A method."""
import loren_jax


def halved(
    learning_rate: float,
    *,
    num_directions: int = 1,
    perturbation_scale: float = 1e-3,
    evaluation: object = None,
    key: object = 0,
):
    """MeZO at half of the rate.

    Args:
      learning_rate: twice the rate.
      num_directions: directions a step.
      perturbation_scale: their length.
      evaluation: how queries run.
      key: of the noise.
    """
    return loren_jax.mezo(
        learning_rate / 2,
        num_directions=num_directions,
        perturbation_scale=perturbation_scale,
        evaluation=evaluation,
        key=key,
    )
'''
    )
    monkeypatch.chdir(tmp_path)
    train_with = lambda output, *own: main(
        [
            *("train", "--model", str(place / "encoder"), "--data", str(place / "reviews.tsv")),
            *("--pooling", "mean", "--train-examples", "20", "--held-out-examples", "8"),
            *("--steps", "3", "--batch-size", "8", "--output", output, *own),
        ]
    )
    own = ("--optimizer", "own_method:halved")
    assert train_with("own", *own, "--learning-rate", "0.2") == 0
    assert train_with("mezo", "--optimizer", "mezo", "--learning-rate", "0.1") == 0
    assert model(tmp_path / "own") == model(tmp_path / "mezo")
    assert main(["verify", "own"]) == 0
    # A file alone makes nothing be imported: in another process the user says it again.
    monkeypatch.setattr(method, "_ALLOWED", set())
    for command in (["verify", "own"], ["export", "own", "--step", "1"]):
        assert "is not run unasked: if you trust it, say --optimizer own_me" in refused(
            capsys, *command
        )
    assert main(["verify", "own", *own]) == 0
    monkeypatch.setattr(method, "_ALLOWED", set())
    assert "is not run unasked" in refused(capsys, "train", "--resume", "own", "--steps", "5")
    assert main(["train", "--resume", "own", "--steps", "5", *own]) == 0
    assert read_metrics("own")[0]["config"]["optimizer"]["name"] == "own_method:halved"
    for wrong in ("own_method:none", "nowhere:halved"):
        line = refused(capsys, "train", "--optimizer", wrong, "--learning-rate", "1")
        assert f"optimizer '{wrong}' cannot be imported" in line
