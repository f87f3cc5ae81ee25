"""Runs that are stopped or killed, and what must be the same when they have gone on."""

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest

from loren_jax import journal
from loren_jax.checkpoints import open_checkpoint
from loren_jax.reports import read_metrics
from loren_jax.runs.interruption import Interruption
from loren_jax.train import train

KILLED = Path(__file__).parent / "train" / "killed.py"


def facts(directory):
    """What must be the same: bits of the model, journal, scores and counts."""
    tensors = open_checkpoint(directory / "model")
    bits = {name: np.asarray(tensors.read(name)).tobytes() for name in tensors.names()}
    timed = ("seconds", "bytes", "per_second")
    plain = lambda line: {n: v for n, v in line.items() if not n.endswith(timed)}
    events = [plain(e) for e in read_metrics(directory) if e["event"] in ("step", "evaluation")]
    summary = plain(json.loads((directory / "summary.json").read_text()))
    recorded = journal.read(directory / "run.journal")
    return bits, recorded.losses.tobytes(), events, summary


def stopped(config, output, after):
    """A run that a signal stops after some steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Interruption, "requested", lambda self, step: step >= after)
        result = train(dataclasses.replace(config, output=output))
    assert (result.summary.interrupted, result.summary.steps) == (True, after)
    return output


def kills(seed=0):
    """Nine moments, a third of each kind."""
    draw = random.Random(seed)
    kinds = ["append", "checkpoint", "between"] * 3
    ranges = {"append": (0, 3), "checkpoint": (0, 60), "between": (0, 100)}
    return [f"{kind}:{draw.randint(*ranges[kind])}" for kind in kinds]
