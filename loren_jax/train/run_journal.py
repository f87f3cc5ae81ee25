"""A run's own journal: what its header says of the run, and the optimiser that it describes."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import optax

from loren_jax import journal
from loren_jax.train.cluster import OneDevice
from loren_jax.train.config import TrainConfig
from loren_jax.train.preparation import Preparation
from loren_jax.train.schedules import schedule_description
from loren_jax.train.trainee import Trainee
from loren_jax.types import PyTree


def run_method(
    config: TrainConfig, trainee: Trainee, factors: Mapping[str, Any] | None = None
) -> journal.Method:
    """The optimiser of a run as a journal describes it; the run builds it from this.

    Args:
        config: The run.
        trainee: What it trains.
        factors: Fan-in vectors that its directions lie along, if they do.

    Returns:
        The description.
    """
    knobs = {
        field.name: getattr(config.optimizer, field.name)
        for field in dataclasses.fields(config.optimizer)
    }
    return journal.Method(
        name=config.method,
        knobs=knobs,
        schedule=schedule_description(
            config.schedule, knobs["learning_rate"], config.steps, config.warmup_steps
        ),
        trained=trainee.trained_paths,
        seed=config.seed,
        factors=None if factors is None else journal.factors.digest(factors),
    )


def run_header(
    config: TrainConfig,
    parts: Preparation,
    trainee: Trainee,
    method: journal.Method,
    opt_state: PyTree,
    devices: OneDevice,
) -> dict[str, Any]:
    """The header of a run's journal: enough to make the model again without the data.

    Args:
        config: The run.
        parts: What it was prepared to.
        trainee: What it trains.
        method: Its optimiser.
        opt_state: The optimiser's first state.
        devices: Where its arrays lie.

    Returns:
        JSON values; `frozen` in `run` is what adapters stand beside.
    """
    prompt = parts.prompt
    facts = {
        "config": config.as_json(),
        "label_names": list(parts.label_names),
        "max_length": parts.max_length,
        "prompt": None if prompt is None else [prompt.template, list(prompt.words)],
        "frozen": journal.described(trainee.frozen, devices.read),
    }
    shape = optax.tree.get(opt_state, "losses").shape
    return journal.header(
        trainee.params,
        shape,
        method=method,
        run=facts,
        mesh=devices.text,
        read=devices.read,
    )


def require_model(
    trainee: Trainee, recorded: journal.Journal | None, devices: OneDevice | None = None
) -> None:
    """Raises a JournalError unless a model is the one that a run began with, to the bit.

    Args:
        trainee: The model, as the run's configuration trains it.
        recorded: The run's journal; None on processes that do not have it.
        devices: Where the model's arrays lie.
    """
    read = (devices or OneDevice()).read
    frozen, params = (journal.described(t, read) for t in (trainee.frozen, trainee.params))
    if recorded is None:
        return
    what, header = "the base model", recorded.header
    journal.require_same(frozen, header["run"]["frozen"], what)
    journal.require_same(params, header["params"], what)


class Recorder:
    """Appends the steps of a run to its journal, and checks the ones that it has.

    A resumed run goes through the recorded steps again from its keyframe; they take their losses
    from the journal and are not appended twice.

    Args:
        log: The journal to append to; None on processes that write none.
        recorded: Losses of the steps that it has.
    """

    def __init__(self, log: journal.JournalWriter | None, recorded: np.ndarray):
        self._log, self._recorded = log, recorded

    def losses(self, step: int) -> np.ndarray | None:
        """The losses of a step, or None if it is yet to be taken."""
        return self._recorded[step] if step < len(self._recorded) else None

    def record(self, step: int, losses: np.ndarray) -> None:
        """Appends a step, unless it is one of the recorded."""
        if self._log is not None and step >= len(self._recorded):
            self._log.append(step, losses)
