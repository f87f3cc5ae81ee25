"""Runs that stop and go on: at any moment, to the bits of one that never stopped."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys

import pytest
from stopped_runs import KILLED, facts, kills, stopped
from tiny_task import write_model

from loren_jax import journal
from loren_jax.train import OPTIONS, resume, train


@pytest.fixture(scope="module")
def config(tiny):
    own = {"steps": 60, "eval_every": 6, "checkpoint_every": 4}
    return dataclasses.replace(tiny, schedule="cosine", warmup_steps=3, **own)


@pytest.fixture(scope="module")
def whole(config):
    """The run that never stops."""
    return train(config).directory


@pytest.mark.slow
@pytest.mark.parametrize("after", [0, 2, 7])
def test_an_interrupted_run_goes_on_to_the_same_bits(config, whole, tmp_path, after):
    """Before the first step, before the first checkpoint, and behind one."""
    directory = stopped(config, tmp_path / "run", after)
    resume(directory)
    assert facts(directory) == facts(whole)


@pytest.mark.slow
def test_killed_nine_times_it_ends_in_the_same_bits(config, whole, tmp_path):
    """One run, killed and resumed again and again: an error in any one would show in the end."""
    directory = stopped(config, tmp_path / "run", 0)
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    result = subprocess.run(
        [sys.executable, KILLED, directory, *kills(), "never:0"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) == 9
    assert facts(directory) == facts(whole)


def test_what_cannot_go_on(config, whole, tmp_path):
    directory = shutil.copytree(whole, tmp_path / "run")
    (directory / "summary.json").unlink()
    other = write_model(tmp_path / "encoder")
    weights = bytearray((other / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    values = json.loads((directory / "config.json").read_text())
    values["config"]["model"] = str(other)
    (directory / "config.json").write_text(json.dumps(values))
    with pytest.raises(journal.JournalError, match=r"the base model.*the numbers are not"):
        resume(directory)


def test_a_rate_that_has_fallen_to_zero_is_no_rate_to_go_on_with(whole):
    with pytest.raises(ValueError, match=r"falls to zero at step \d+ \(schedule cosine\)"):
        resume(whole, steps=99)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": OPTIONS["mezo_svrg"](learning_rate=0.01, every=3)},
        {"lora_rank": 2, "trainable": None, "micro_batch_size": 3, "dtype": "bfloat16"},
        {"input_directions": 2, "input_power": 1.0},
    ],
    ids=["svrg", "lora and micro-batches", "input directions"],
)
def test_other_runs_go_on_too(config, place, tmp_path, changes):
    short = dataclasses.replace(config, steps=6, warmup_steps=0, eval_every=3, **changes)
    expected = train(dataclasses.replace(short, output=tmp_path / "whole")).directory
    directory = stopped(dataclasses.replace(short, checkpoint_every=2), tmp_path / "run", 3)
    resume(directory)
    found, wanted = facts(directory), facts(expected)
    assert found[:3] == wanted[:3]


def test_a_complete_run_that_stops_on_a_longer_way_goes_on(tiny, tmp_path):
    """By what it prints then: `--resume RUN`, which would call it complete."""
    config = dataclasses.replace(tiny, steps=4, eval_every=2, output=tmp_path / "run")
    directory = train(config).directory

    def stop(event):
        if event["event"] == "step" and event["step"] == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resume(directory, steps=9, callbacks=[stop])
    assert json.loads((directory / "config.json").read_text())["config"]["steps"] == 9
    assert resume(directory).summary.steps == 9
    with pytest.raises(ValueError, match="is complete"):
        resume(directory)
    straight = train(dataclasses.replace(config, steps=9, output=tmp_path / "straight")).directory
    assert facts(directory)[0] == facts(straight)[0]
