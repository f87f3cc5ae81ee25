"""Runs of several real processes: the numbers of one, and an end on all when one ends."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from quickstart import minilm

from loren_jax import journal
from loren_jax.checkpoints import open_checkpoint
from loren_jax.reports import read_metrics

PROCESSES = Path(__file__).with_name("several_processes.py")
SST2 = Path(__file__).parents[3] / "shared" / "data"
SOON = 30.0
"""Seconds within which all processes have ended, on a machine with other work to do; the limits of
the runs below are shorter."""

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("processes")]


def tiny(place, output, *more, steps=12, learning_rate=0.05):
    """A run of a tiny encoder, of which some layers are trained."""
    options = {
        "model": place / "encoder",
        "data": "sst2",
        "data-dir": place / "tasks",
        "pooling": "mean",
        "output": place / output,
        "steps": steps,
        "batch-size": 8,
        "max-length": 16,
        "train-examples": 40,
        "dev-examples": 16,
        "eval-every": steps // 2,
        "checkpoint-every": 4,
        "eval-batch-size": 8,
        "num-directions": 4,
        "rank": 1,
        "learning-rate": learning_rate,
    }
    trained = ["--trainable", "classifier/*", "layers/up/kernel"]
    return ["train", *(str(x) for n, v in options.items() for x in (f"--{n}", v)), *trained, *more]


def group(mesh, *more):
    """What makes a process one of several."""
    own = ("--coordinator", "127.0.0.1:{port}", "--process-id", "{process}")
    limits = ("--heartbeat-timeout", "10")
    return ["--mesh", mesh, *own, "--num-processes", "{count}", *limits, *more]


def play(place, *scenarios):
    """What became of the processes of each scenario: `(count, arguments, then, environment)`."""
    described, names = [], ("count", "arguments", "then", "environment")
    for number, scenario in enumerate(scenarios):
        logs = place / f"logs{len(list(place.glob('logs*')))}-{number}"
        logs.mkdir()
        own = {"logs": str(logs), "timeout": 600}
        described.append(dict(zip(names, scenario, strict=True)) | own)
    file = place / "scenarios.json"
    file.write_text(json.dumps(described))
    cache = {
        "JAX_COMPILATION_CACHE_DIR": str(place / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    result = subprocess.run(
        [sys.executable, PROCESSES, file],
        capture_output=True,
        text=True,
        timeout=2400,
        env={**os.environ, **cache},
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def fine(processes):
    for process in processes:
        assert process["code"] == 0, process["log"][-4000:]


def losses(directory):
    return journal.read(directory / "run.journal").losses


def model(directory):
    tensors = open_checkpoint(directory / "model")
    return {name: np.asarray(tensors.read(name)) for name in tensors.names()}


def assert_same_run(found, expected):
    """Losses, scores and the model of two runs, up to rounding."""
    np.testing.assert_allclose(losses(found), losses(expected), rtol=0, atol=2e-5)
    one, other = model(found), model(expected)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        np.testing.assert_allclose(tensor, other[name], rtol=0, atol=1e-4, err_msg=name)
    scores = [
        [(e["step"], e["accuracy"]) for e in read_metrics(d) if e["event"] == "evaluation"]
        for d in (found, expected)
    ]
    assert scores[0] == scores[1]


SLURM = {
    "SLURM_JOB_ID": "{port}",
    "SLURM_STEP_NODELIST": "localhost",
    "SLURM_NTASKS": "{count}",
    "SLURM_PROCID": "{process}",
    "SLURM_LOCALID": "{process}",
}


@pytest.fixture(scope="module")
def played(place):
    """All scenarios by name, of one parent, which imports what they need once."""
    metrics = lambda output: str(place / output / "metrics.jsonl")
    two = lambda output, *more: tiny(place, output, *group("population=2"), *more)
    # Slow enough that rounding is not blown up on the way.
    slow = {"steps": 160, "learning_rate": 0.003}
    again = ["train", "--resume", str(place / "stopped")]
    long = lambda output: tiny(place, output, *group("population=2"), steps=3000)
    scenarios = {
        "whole": (1, tiny(place, "whole"), None, {}),
        # A run beside this one, whose directory is in use; process 0 alone looks at it.
        "in use": (2, two("whole"), None, {}),
        "three devices": (2, tiny(place, "three", *group("population=3")), None, {}),
        "model": (2, tiny(place, "model", "--mesh", "model=2", "--distributed"), None, SLURM),
        "expected": (1, tiny(place, "expected", **slow), None, {}),
        "stopped": (
            2,
            tiny(place, "stopped", *group("data=2"), **slow),
            ["terminate", 1, metrics("stopped"), 20],
            {},
        ),
        "pressed": (2, long("pressed"), ["interrupt", 0, metrics("pressed"), 8], {}),
        "resumed": (1, again, None, {}),
        "first": (2, long("first"), ["kill", 0, metrics("first"), 8], {}),
        "hangs": (2, long("hangs"), ["stop", 1, metrics("hangs"), 8], {}),
    }
    return dict(zip(scenarios, play(place, *scenarios.values()), strict=True))


def test_the_mesh_changes_no_number(place, played):
    """Weights shared by two processes, of which Slurm says who is who."""
    fine(played["whole"])
    fine(played["model"])
    first, second = [process["log"] for process in played["model"]]
    assert "written" in first
    assert "written" not in second
    assert "dev loss" not in second
    assert_same_run(place / "model", place / "whole")
    facts = json.loads((place / "model" / "config.json").read_text())
    assert {n: size for n, size in facts["mesh"].items() if size > 1} == {"model": 2}


def ended(processes, text, but=()):
    """All have ended, in time, and say why."""
    for index, process in enumerate(processes):
        if index in but:
            continue
        assert process["code"] not in (0, "timeout"), process["log"][-4000:]
        assert text in process["log"], process["log"][-4000:]
        if process["seconds"] is not None:
            assert process["seconds"] < SOON


def test_one_that_wants_to_stop_stops_all_and_one_process_goes_on(place, played):
    """What a scheduler sends to the second is heard by both, behind the same step."""
    fine(played["expected"])
    log = played["stopped"][0]["log"]
    assert {process["code"] for process in played["stopped"]} == {130}, log
    fine(played["resumed"])
    log = played["resumed"][0]["log"]
    assert "resuming behind step" in log
    assert "mesh population=1,data=2,model=1 then" in log
    assert_same_run(place / "stopped", place / "expected")


def test_the_key_that_interrupts_stops_all(place, played):
    log = played["pressed"][0]["log"]
    assert {process["code"] for process in played["pressed"]} == {130}, log
    assert json.loads((place / "pressed" / "summary.json").read_text())["interrupted"]


def test_the_first_that_is_killed(played):
    """JAX's own words: the coordinator has gone."""
    ended(played["first"], "coordination service", but=(0,))


def test_one_that_hangs(played):
    """Its heartbeat is missed."""
    ended(played["hangs"], "heartbeat", but=(1,))


def test_an_error_of_one_ends_the_run_on_all(played):
    ended(played["in use"], "already holds a run")
    assert "process 0 failed" in played["in use"][1]["log"]
    ended(played["three devices"], "takes 3 devices, but the processes of this run have 2")


@pytest.mark.skipif(not SST2.is_dir(), reason="needs the task data beside the project")
def test_minilm_on_sst2_two_processes_of_which_one_is_killed_then_four(tmp_path):
    """The real model and the real task: the steps of two and of four are those of one."""
    steps = 24
    common = [
        *("train", "--model", str(minilm()), "--data", "sst2", "--data-dir", str(SST2)),
        *("--protocol", "paper", "--train-examples", "32", "--dev-examples", "8"),
        *("--steps", str(steps), "--batch-size", "8", "--max-length", "16"),
        *("--eval-every", str(steps), "--checkpoint-every", "4", "--num-directions", "4"),
        *("--rank", "1", "--learning-rate", "1e-3", "--micro-batch-size", "4"),
        *("--trainable", "classifier/*", "layers/down/bias"),
    ]
    output = lambda name: ["--output", str(tmp_path / name)]
    again = ["train", "--resume", str(tmp_path / "many")]
    metrics = str(tmp_path / "many" / "metrics.jsonl")
    two = [*common, *output("many"), *group("population=2")]
    one, killed, resumed = play(
        tmp_path,
        (1, [*common, *output("one")], None, {}),
        (2, two, ["kill", 1, metrics, 5], {}),
        (4, [*again, *group("population=2,data=2")], None, {}),
    )
    fine(one)
    ended(killed, "", but=(1,))
    assert killed[1]["code"] == -9
    fine(resumed)
    log = resumed[0]["log"]
    assert "mesh population=2,data=1,model=1 then, population=2,data=2,model=1 now" in log
    found = re.search(r"resuming behind step (\d+)", log)
    assert 5 <= int(found[1]) <= steps - 4
    assert_same_run(tmp_path / "many", tmp_path / "one")
