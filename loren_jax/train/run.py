"""One run from its configuration to the files it leaves, and a run that goes on."""

import dataclasses
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from loren_jax import journal
from loren_jax.train import run_directory as files
from loren_jax.train.cluster import ALONE, Cluster, OneDevice
from loren_jax.train.config import TrainConfig
from loren_jax.train.environment import environment
from loren_jax.train.input_directions import factors_of
from loren_jax.train.metrics import METRICS, MetricsWriter, NoMetrics, read_metrics
from loren_jax.train.preparation import prepare
from loren_jax.train.result import RunResult, finished
from loren_jax.train.run_journal import Recorder, require_model, run_header, run_method
from loren_jax.train.trainee import trainee_of
from loren_jax.train.training import Training


def train(config: TrainConfig, cluster: Cluster = ALONE) -> RunResult:
    """Fine-tunes a classifier and writes model, metrics, journal, curve and summary.

    Ctrl-C or SIGTERM ends the run after the current step, and what was learned is kept; the
    summary then says `interrupted`, and `resume` goes on. With a protocol the parameters of the
    best evaluation are kept, which costs one copy of the trained parameters.

    Of several processes, each of which calls this, the first writes all files.

    Args:
        config: What to do; for `seeds`, see `train_seeds`.
        cluster: The processes and devices to do it with; see `loren_jax.train.cluster.joined`.

    Returns:
        The numbers, and where the files are.

    Raises:
        ValueError: If the data, the checkpoint or an argument is wrong.
        OSError: If a file is absent, the output directory is in use, or the disk is full.
        FloatingPointError: If there was no finite loss for `max_dead_steps` steps.
    """
    if config.seeds is not None:
        raise ValueError("seeds asks for several runs: call train_seeds, or give seed instead")
    cluster.require_batch(config.batch_size, config.micro_batch_size)
    directory, first = config.directory, cluster.peers.first
    if first:
        files.check_free(directory, overwrite=config.overwrite)
    devices = cluster.devices(adapters=config.lora_rank is not None)
    _require_one_device(config, devices)
    parts = prepare(config, devices)
    trainee = trainee_of(config, parts.model, devices)
    factors = factors_of(config, parts.train, trainee)
    method = run_method(config, trainee, factors)
    if first:
        files.claim(directory)
    with ExitStack() as opened:
        metrics = opened.enter_context(MetricsWriter(directory / METRICS) if first else NoMetrics())
        facts = {"config": config.as_json(), **environment(), **devices.facts()}
        if first:
            files.write_json(directory / files.CONFIG, facts)
        metrics.write("config", 0, 0, **facts)
        training = Training(config, parts, trainee, method, directory, devices, factors)
        header = run_header(config, parts, trainee, method, training.opt_state, devices)
        log, none = None, np.zeros((0, *header["losses"]), np.float32)
        if first:
            path = directory / files.JOURNAL
            if factors is not None:
                journal.factors.save(path, factors)
            log = opened.enter_context(journal.create(path, header, fsync_every=config.fsync_every))
        trained = training.run(metrics, Recorder(log, none))
        return finished(config, directory, parts, trainee, trained, metrics, devices)


def resume(directory: Path, cluster: Cluster = ALONE) -> RunResult:
    """Goes on with a run where it stopped, however it stopped.

    The run begins with its newest keyframe, takes the steps behind it from the journal, and goes on
    with its own. It ends with the bits of a run that was never stopped, if it has the devices that
    it began with; with others it goes on up to rounding.

    Args:
        directory: The run's directory; of several processes, the first needs to see it.
        cluster: The processes and devices to go on with.

    Returns:
        The numbers, and where the files are.

    Raises:
        FileNotFoundError: If it is no run.
        ValueError: If the run is complete, its model or data have changed, or another process goes
            on with it; and see `train`.
    """
    peers, path = cluster.peers, directory / files.JOURNAL
    stored = json.loads(
        peers.share(lambda: json.dumps([_stored_config(directory).as_json(), path.is_file()]))
    )
    config = dataclasses.replace(TrainConfig.from_json(stored[0]), output=directory)
    if not stored[1]:  # stopped before its first step
        return train(dataclasses.replace(config, overwrite=True), cluster)
    cluster.require_batch(config.batch_size, config.micro_batch_size)
    devices = cluster.devices(adapters=config.lora_rank is not None)
    _require_one_device(config, devices)
    with ExitStack() as opened:
        log = recorded = None
        if peers.first:
            log = opened.enter_context(journal.continued(path, fsync_every=config.fsync_every))
            recorded = journal.read(path)
        losses = devices.told(None if recorded is None else recorded.losses)
        parts = prepare(config, devices)
        trainee = trainee_of(config, parts.model, devices)
        factors = _stored_factors(config, path, recorded)
        method = run_method(config, trainee, factors)
        require_model(trainee, recorded, devices)
        training = Training(config, parts, trainee, method, directory, devices, factors)
        keyframe = training.newest_keyframe(len(losses))
        start = 0 if keyframe is None else keyframe.step
        metrics: MetricsWriter | NoMetrics = NoMetrics()
        if recorded is not None:
            _require_same_method(recorded, method, devices.text)
            print(f"resuming behind step {len(losses)}, by keyframe {start}", file=sys.stderr)
            kept = _kept(directory, start, config.eval_every)
            metrics = MetricsWriter(directory / METRICS, kept)
        opened.enter_context(metrics)
        trained = training.run(metrics, Recorder(log, losses), keyframe)
        return finished(config, directory, parts, trainee, trained, metrics, devices)


def _require_one_device(config: TrainConfig, devices: OneDevice) -> None:
    if config.input_directions is not None and devices.text:
        raise ValueError(
            "input_directions are found on one device so far, not on a mesh: leave --mesh away, or "
            "input_directions"
        )


def _stored_factors(
    config: TrainConfig, path: Path, recorded: journal.Journal | None
) -> dict[str, np.ndarray] | None:
    """The fan-in vectors that a run began with, which lie beside its journal."""
    if config.input_directions is None or recorded is None:
        return None
    return journal.factors.load(path, recorded.header["method"].get("factors", ""))


def _stored_config(directory: Path) -> TrainConfig:
    """The configuration of a run that may be resumed."""
    if not (directory / files.CONFIG).is_file():
        raise FileNotFoundError(
            f"resume: {directory} holds no {files.CONFIG}; name the directory of a run"
        )
    summary = directory / files.SUMMARY
    if summary.is_file() and not files.read_json(summary).get("interrupted"):
        raise ValueError(
            f"resume: the run in {directory} is complete; there is nothing to go on with"
        )
    config = TrainConfig.from_json(files.read_json(directory / files.CONFIG)["config"])
    return dataclasses.replace(config, output=directory)


def _require_same_method(recorded: journal.Journal, method: journal.Method, mesh: str) -> None:
    """Raises unless the journal is of this very method; warns of other versions and devices."""
    here = json.loads(json.dumps(method.as_json()))
    if journal.Method.from_json(recorded.header["method"]) != journal.Method.from_json(here):
        raise journal.JournalError(
            f"{recorded.path} is of another optimiser than {files.CONFIG} says; one of them was "
            "changed"
        )
    if different := journal.differences(recorded.header, mesh):
        print(
            f"the run began elsewhere ({'; '.join(different)}): what follows is equal up to "
            "rounding, not to the bit",
            file=sys.stderr,
        )


def _kept(directory: Path, step: int, eval_every: int) -> list[dict[str, Any]]:
    """The events of a run up to a keyframe; without one the configuration alone."""
    if not (directory / METRICS).is_file():
        return []

    def stays(event: dict[str, Any]) -> bool:
        if event["event"] == "evaluation":  # one that a signal caused would not have been
            return 0 < step >= event["step"] and event["step"] % eval_every == 0
        return event["event"] == "config" or (event["event"] == "step" and event["step"] <= step)

    return [event for event in read_metrics(directory) if stays(event)]
