"""A training run: a model, its objective and an optimiser, made durable by a run."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax import journal
from loren_jax.lengths import RATES
from loren_jax.objectives import Classification, Reward, Text
from loren_jax.optimizers import METHODS
from loren_jax.reports import files
from loren_jax.reports.summary import Summary
from loren_jax.reports.trackers import TRACKERS
from loren_jax.runs import Callback, Run, processes
from loren_jax.runs.directory import holds_run, require_free
from loren_jax.runs.forecast import Forecast
from loren_jax.runs.record import status
from loren_jax.runs.walk import SEARCHING, planned_steps
from loren_jax.tasks import Rows
from loren_jax.train.best_of import best_of
from loren_jax.train.cards import write_run_card
from loren_jax.train.config import RunConfig, config_from_json
from loren_jax.train.devices import Devices
from loren_jax.train.methods import passes_of_step
from loren_jax.train.rates import schedule_description
from loren_jax.train.walk import passes_before, plan_of
from loren_jax.types import PyTree
from loren_jax.walk import search_passes

OBJECTIVES: Mapping[str, Any] = {
    "classification": Classification,
    "text": Text,
    "reward": Reward,
}
"""What makes an objective of a configuration, by its name."""


class RunResult(NamedTuple):
    """What a run leaves.

    Attributes:
      summary: Its numbers.
      directory: Where its files are.
    """

    summary: Summary
    directory: Path


def train(
    config: RunConfig,
    sizes: Mapping[str, int] | None = None,
    *,
    label: str = "",
    callbacks: Sequence[Callback] = (),
) -> RunResult:
    """Fine-tunes a model and writes model, metrics, journal, curve and summary.

    Ctrl-C or SIGTERM ends the run after the current step, and what was learned is kept; the
    summary then says `interrupted`, and `resume` goes on. Where the best is kept, as with a
    protocol, this costs one copy of the trained parameters.

    Of several processes, each of which calls this, the first writes all files.

    Args:
      config: What to do; for `seeds`, see `train_seeds`.
      sizes: Devices along each axis of the mesh; see `loren_jax.train.devices.join_processes`. One
        by default.
      label: What the run is called in front of what it shows, where there are several.
      callbacks: Called with each event of the run as it happens, beside those of `report_to`.

    Returns:
      The numbers, and where the files are.

    Raises:
      ValueError: If the data, the checkpoint or an argument is wrong.
      OSError: If a file is absent, the output directory is in use, or the disk is full.
      FloatingPointError: If there was no finite loss for `max_nonfinite_steps` steps.
    """
    if config.seeds is not None:
        raise ValueError("seeds asks for several runs: call train_seeds, or give seed instead")
    # Before anything expensive is done; the run itself looks again, with the directory locked.
    processes.broadcast(lambda: require_free(config.directory, overwrite=config.overwrite))
    return _train(config, sizes, label, callbacks, goes_on=False)


def resume(
    directory: Path,
    sizes: Mapping[str, int] | None = None,
    *,
    steps: int | None = None,
    data: object = None,
    label: str = "",
    callbacks: Sequence[Callback] = (),
) -> RunResult:
    """Goes on with a run where it stopped, however it stopped.

    The run begins with its newest checkpoint, takes the steps behind it from the journal, and goes
    on with its own. It ends with the bits of a run that was never stopped, if it has the devices
    that it began with; with others it goes on up to rounding.

    Args:
      directory: The run's directory; of several processes, the first needs to see it.
      sizes: Devices along each axis of the mesh to go on with.
      steps: Steps to take in all; by default as many as were planned.
      data: The data frame or `datasets.Dataset` that the run began with, if it was one.
      label: See `train`.
      callbacks: See `train`; they hear of what is new.

    Returns:
      The numbers, and where the files are.

    Raises:
      FileNotFoundError: If it is no run.
      ValueError: If the run is complete, its model, its data or anything else that it began with
        has changed, or another process goes on with it; and see `train`.
    """
    directory = Path(directory).absolute()
    config = stored_config(directory, steps)
    if data is not None:
        config = dataclasses.replace(config, data=Rows.of(data))
    elif Rows.is_name(config.data):
        raise ValueError(
            f"resume: the run in {directory} began with a {config.data} in memory: give it again, "
            "as resume(directory, data=...)"
        )
    return _train(config, sizes, label, callbacks, goes_on=True)


def advance(
    config: RunConfig,
    sizes: Mapping[str, int] | None = None,
    *,
    share: float = 1.0,
    label: str = "",
) -> RunResult:
    """Begins a run or goes on with it, up to a share of its steps, where it pauses.

    A run that pauses ends in the same bits as one that does not. Its summary says `interrupted`, it
    has no model yet, and has seen nothing of a test set.

    Args:
      config: What to do; a run in its directory must be of the same.
      sizes: Devices along each axis of the mesh; see `train`.
      share: Which share of its steps to take in all.
      label: See `train`.

    Returns:
      The numbers, and where the files are.

    Raises:
      ValueError: The run in the directory is of something else; and see `train`.
    """
    goes_on = processes.broadcast(lambda: holds_run(config.directory))
    return _train(config, sizes, label, (), goes_on=goes_on, share=share)


def stored_config(directory: Path, steps: int | None = None) -> RunConfig:
    """The configuration of a run that may be resumed, which the first process reads.

    `steps` are those to take in all; None for as many as were planned.
    """

    def read() -> dict[str, Any]:
        path, parent = directory / files.CONFIG, directory.parent
        if not (directory / files.METRICS).is_file():
            of = f"; the run is {parent}" if (parent / files.METRICS).is_file() else ""
            raise FileNotFoundError(
                f"resume: {directory} holds no run{of or '; name the directory of one'}"
            )
        values = files.read_json(path).get("config")
        if not isinstance(values, dict):
            raise ValueError(f"{path} is damaged: it has no 'config'")
        schedule = values.get("schedule", "constant")
        if steps is not None and steps != values["steps"] and schedule != "constant":
            raise ValueError(
                f"steps is {steps}, but the learning rate of this run falls to zero at step "
                f"{values['steps']} (schedule {schedule}): begin a new run with --model "
                f"{directory}, or leave --steps away"
            )
        summary = directory / files.SUMMARY
        found = files.read_json(summary) if summary.is_file() else {"interrupted": True}
        if not found.get("interrupted") and (steps is None or steps <= values["steps"]):
            raise ValueError(
                f"resume: the run in {directory} is complete; there is nothing to go on with"
                + (", but --steps with a larger number trains on" if schedule == "constant" else "")
            )
        return values

    values = processes.broadcast(read)
    if steps is not None:
        values["steps"] = steps
    try:
        return dataclasses.replace(config_from_json(values), output=directory)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{directory / files.CONFIG}: {error}") from error


def method_of(
    config: RunConfig,
    trained_paths: list[str] | None,
    factors: Mapping[str, Any] | None = None,
    plan: Mapping[str, Any] | None = None,
) -> journal.Method:
    """The optimiser of a run as a journal describes it; the run builds it from this.

    `trained_paths` is None where all leaves are trained; `factors` are the fan-in vectors that the
    directions lie along, if they do; `plan` is that of the schedule `automatic`.
    """
    options = config.optimizer
    knobs = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    if config.schedule == "automatic":
        knobs = {name: value for name, value in knobs.items() if name not in RATES}
        schedule: Any = {"automatic": plan}
    else:
        rate = knobs["learning_rate"]
        kind = config.schedule or "constant"
        schedule = schedule_description(kind, rate, config.steps, config.warmup_steps)
    return journal.Method(
        name=config.method,
        knobs=knobs,
        schedule=schedule,
        trained=trained_paths,
        seed=config.seed,
        anchored_weight_decay=getattr(config, "anchored_weight_decay", None),
        factors=None if factors is None else journal.factors.digest(factors),
    )


def forecast(config: RunConfig, sizes: Mapping[str, int] | None = None) -> Forecast:
    """What a run will take: time and memory, of one evaluation and one step; writes nothing.

    Args:
      config: What would be done.
      sizes: Devices along each axis of the mesh; see `train`.

    Returns:
      The numbers, and a line of `text`.

    Raises:
      ValueError: If the data, the checkpoint or an argument is wrong.
      OSError: If a file is absent.
    """
    return _prepare(config, sizes, "", goes_on=False, looks=False)[0].forecast()


def _train(
    config: RunConfig,
    sizes: Mapping[str, int] | None,
    label: str,
    callbacks: Sequence[Callback],
    *,
    goes_on: bool,
    share: float = 1.0,
) -> RunResult:
    # Before anything expensive is done: a package may be absent.
    make = lambda: [TRACKERS[name](config.directory) for name in config.report_to]
    trackers: list[Callback] = []
    processes.broadcast(lambda: trackers.extend(make()))
    run, objective = _prepare(config, sizes, label, goes_on=goes_on)
    if getattr(config, "baseline", None) is not None:
        return RunResult(best_of(run, objective), run.directory)
    run.callbacks = [*callbacks, *trackers]
    run.pause_at = None if share >= 1 else share_of(run.steps, share)
    fitted = run.go()
    if processes.first() and (fitted.directory / files.MODEL).is_dir():  # none of one that pauses
        write_run_card(fitted.directory)
    return RunResult(fitted.summary, fitted.directory)


def _prepare(
    config: RunConfig,
    sizes: Mapping[str, int] | None,
    label: str,
    *,
    goes_on: bool,
    looks: bool = True,
) -> tuple[Run, Any]:
    """The run of a configuration, and its objective; without `looks` any walk does."""
    devices = Devices(sizes or {}, adapters=config.lora_rank is not None)
    devices.require_batch(config.batch_size, config.micro_batch_size)
    if devices.evaluation.mesh.size > 1 and config.follows_inputs:
        raise ValueError(
            "input_directions are found on one device so far, not on a mesh: leave --mesh away, or "
            "input_directions"
        )
    with status(f"reading {config.data} and {config.model}"):
        objective = OBJECTIVES[config.OBJECTIVE](
            config,
            evaluation=devices.evaluation,
            sharding=devices.sharding,
            shown=processes.first(),
        )
    config = config.resolve(
        batches=objective.batches,
        trained_parameters=objective.trainable.trained_parameters,
    )
    # A run that goes on has what it began with, which may have been to replace another.
    overwrite = config.overwrite and not goes_on
    factors = _stored_factors(config) if goes_on else None
    factors = objective.factors if factors is None else factors
    plan = planned_steps(config.steps, 1.0)
    # A baseline takes no steps, so that none have a length.
    if looks and config.schedule == "automatic" and getattr(config, "baseline", None) is None:
        with status(SEARCHING):
            plan = plan_of(config, objective, devices.evaluation, factors, overwrite=overwrite)
    run = _run(config, objective, devices, factors, plan)
    run.label, run.resume, run.overwrite = label, goes_on, overwrite
    return run, objective


def share_of(steps: int, share: float) -> int:
    """A share of the steps of a run, at least one.

    >>> share_of(100, 1 / 3), share_of(2, 1 / 9)
    (33, 1)
    """
    return max(1, round(steps * share))


def _run(
    config: RunConfig,
    objective: Classification | Text | Reward,
    devices: Devices,
    factors: Mapping[str, Any] | None,
    plan: Mapping[str, Any],
) -> Run:
    def finish(kept: PyTree) -> dict[str, Any]:
        merged = processes.on_host(objective.merge(kept))
        trained = processes.on_host(kept) if config.lora_rank is not None else None
        if processes.first():
            objective.save(config.directory / files.MODEL, merged)
            objective.save_adapter(config.directory / files.ADAPTER, trained, merged)
            objective.save_packed(config.directory / files.PACKED, merged)
        return {}

    searched, answers = 0, getattr(objective, "answers", 0)
    # Where each pass gives answers, those over prompts alone are none of them.
    if config.schedule == "automatic" and not answers:
        searched = search_passes(config.optimizer.build(learning_rate=1.0).scheme)
        searched += passes_before(objective)

    def passes(step: int) -> int:
        before = objective.passes_before + searched if step == 0 else 0
        return before + passes_of_step(config.optimizer, step, objective.batches)

    entry = METHODS.get(config.method)
    own = (
        *("steps", "eval_every", "patience", "checkpoint_every", "fsync_every"),
        "max_nonfinite_steps",
    )
    asked = (
        *("params", "frozen", "loss", "batch", "evaluate", "test", "evaluation_passes", "select"),
        *("inputs", "held_out", "shown"),
    )
    return Run(
        **{name: getattr(config, name) for name in own},
        **{name: getattr(objective, name) for name in asked},
        judge=getattr(objective, "judge", None),
        answers=answers,
        optimizer=method_of(config, objective.trained_paths, factors, plan),
        directory=config.directory,
        finish=finish,
        passes=passes,
        full_batch=objective.full_batch if entry is not None and entry.full_every else None,
        evaluation=devices.evaluation,
        factors=factors,
        in_place=True,
        facts={"config": config.as_json(), **objective.facts},
        config=config.as_json(),
        told={"optimizer": config.method, **objective.told},
        title=f"{config.method} on {objective.title}",
    )


def _stored_factors(config: RunConfig) -> Mapping[str, Any] | None:
    """The fan-in vectors that a run began with, which lie beside its journal."""
    path = config.directory / files.JOURNAL
    if not config.follows_inputs or not path.is_file():
        return None
    recorded = journal.read(path)
    return journal.factors.load(path, recorded.header["method"].get("factors", ""))
