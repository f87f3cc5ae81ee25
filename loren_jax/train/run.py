"""One run from its configuration to the files it leaves, and a run that goes on."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax import journal
from loren_jax.train import run_directory as files
from loren_jax.train.config import TrainConfig
from loren_jax.train.environment import environment, peak_device_bytes, peak_resident_bytes
from loren_jax.train.metrics import METRICS, MetricsWriter, read_metrics
from loren_jax.train.plot import plot_curve
from loren_jax.train.preparation import Preparation, prepare
from loren_jax.train.run_journal import Recorder, require_model, run_header, run_method
from loren_jax.train.saving import save_model
from loren_jax.train.scoring import Score
from loren_jax.train.summary import Summary, TestScore
from loren_jax.train.trainee import Trainee, trainee_of
from loren_jax.train.training import Trained, Training


class RunResult(NamedTuple):
    """What a run leaves.

    Attributes:
        summary: Its numbers.
        directory: Where its files are.
        files: Their names.
    """

    summary: Summary
    directory: Path
    files: list[str]


def train(config: TrainConfig) -> RunResult:
    """Fine-tunes a classifier and writes model, metrics, journal, curve and summary.

    Ctrl-C or SIGTERM ends the run after the current step, and what was learned is kept; the
    summary then says `interrupted`, and `resume` goes on. With a protocol the parameters of the
    best evaluation are kept, which costs one copy of the trained parameters.

    Args:
        config: What to do; for `seeds`, see `train_seeds`.

    Returns:
        The numbers, and where the files are.

    Raises:
        ValueError: If the data, the checkpoint or an argument is wrong.
        OSError: If a file is absent, the output directory is in use, or the disk is full.
        FloatingPointError: If there was no finite loss for `max_dead_steps` steps.
    """
    if config.seeds is not None:
        raise ValueError("seeds asks for several runs: call train_seeds, or give seed instead")
    directory = config.directory
    files.check_free(directory, overwrite=config.overwrite)
    parts = prepare(config)
    trainee = trainee_of(config, parts.model)
    method = run_method(config, trainee)
    files.claim(directory)
    with MetricsWriter(directory / METRICS) as metrics:
        facts = {"config": config.as_json(), **environment()}
        files.write_json(directory / files.CONFIG, facts)
        metrics.write("config", 0, 0, **facts)
        training = Training(config, parts, trainee, method, directory)
        header = run_header(config, parts, trainee, method, training.opt_state)
        path = directory / files.JOURNAL
        with journal.create(path, header, fsync_every=config.fsync_every) as log:
            recorder = Recorder(log, journal.read(path).losses)
            trained = training.run(metrics, recorder)
        return _finished(config, directory, parts, trainee, trained, metrics)


def resume(directory: Path) -> RunResult:
    """Goes on with a run where it stopped, however it stopped.

    The run begins with its newest keyframe, takes the steps behind it from the journal, and goes on
    with its own. It ends with the bits of a run that was never stopped.

    Args:
        directory: The run's directory.

    Returns:
        The numbers, and where the files are.

    Raises:
        FileNotFoundError: If it is no run.
        ValueError: If the run is complete, its model or data have changed, or another process goes
            on with it; and see `train`.
    """
    config = _stored_config(directory)
    path = directory / files.JOURNAL
    if not path.is_file():  # stopped before its first step
        return train(dataclasses.replace(config, overwrite=True))
    with journal.continued(path, fsync_every=config.fsync_every) as log:
        recorded = journal.read(path)
        parts = prepare(config)
        trainee = trainee_of(config, parts.model)
        method = run_method(config, trainee)
        _require_same_run(recorded, trainee, method)
        training = Training(config, parts, trainee, method, directory)
        keyframe = training.newest_keyframe(recorded.steps)
        start = 0 if keyframe is None else keyframe.step
        print(f"resuming behind step {recorded.steps}, by keyframe {start}", file=sys.stderr)
        with MetricsWriter(
            directory / METRICS, _kept(directory, start, config.eval_every)
        ) as metrics:
            trained = training.run(metrics, Recorder(log, recorded.losses), keyframe)
            return _finished(config, directory, parts, trainee, trained, metrics)


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


def _require_same_run(recorded: journal.Journal, trainee: Trainee, method: journal.Method) -> None:
    """Raises unless the journal is of this very model and method; warns of other versions."""
    require_model(trainee, recorded)
    if recorded.header["method"] != json.loads(json.dumps(method.as_json())):
        raise journal.JournalError(
            f"{recorded.path} is of another optimiser than {files.CONFIG} says; one of them was "
            "changed"
        )
    if different := journal.differences(recorded.header):
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


def _finished(
    config: TrainConfig,
    directory: Path,
    parts: Preparation,
    trainee: Trainee,
    trained: Trained,
    metrics: MetricsWriter,
) -> RunResult:
    """Writes what a run leaves."""
    # Saved before anything else can fail; the summary comes last and says that all is there.
    save_model(directory / files.MODEL, parts.origin, trained.params, overwrite=True)
    summary = _summary(config, parts, trainee, trained)
    metrics.write("summary", summary.steps, summary.forward_passes, **_beside(summary))
    plot_curve(
        read_metrics(directory),
        directory / files.CURVE,
        majority_accuracy=summary.majority_accuracy,
        title=_title(config, parts),
        held_out=summary.held_out_name,
        selected_step=summary.selected_step,
    )
    files.write_json(directory / files.SUMMARY, summary.as_json())
    names = [f"{files.MODEL}/", METRICS, files.JOURNAL, files.CURVE, files.SUMMARY, files.CONFIG]
    return RunResult(summary, directory, names)


def _summary(
    config: TrainConfig, parts: Preparation, trainee: Trainee, trained: Trained
) -> Summary:
    outcome, compilation = trained.outcome, trained.compilation
    best = trained.selection.best if trained.selection else None
    before, after = outcome.before, best.score if best else outcome.after
    seconds = outcome.training_seconds
    return Summary(
        optimizer=config.method,
        model=config.model,
        data=config.data,
        seed=config.seed,
        protocol=parts.protocol,
        prompt=config.prompt,
        metric=parts.metrics[0],
        steps=outcome.steps,
        planned_steps=config.steps,
        interrupted=outcome.interrupted,
        stopped=outcome.stopped,
        selected_step=best.step if best else None,
        selected_score=best.score.metric(parts.metrics[0]) if best else None,
        accuracy_before=before.accuracy if before else None,
        accuracy_after=after.accuracy if after else None,
        loss_before=before.loss if before else None,
        loss_after=after.loss if after else None,
        majority_accuracy=parts.majority_accuracy,
        train_examples=len(parts.train.labels),
        held_out_examples=len(parts.held_out.labels),
        test=_test_score(parts, trained.test),
        trained_parameters=trainee.trained_parameters,
        parameters=trainee.parameters,
        forward_passes=outcome.forward_passes,
        evaluation_forward_passes=outcome.evaluation_forward_passes,
        nonfinite=outcome.nonfinite,
        training_seconds=round(seconds, 3),
        evaluation_seconds=round(outcome.evaluation_seconds, 3),
        compile_seconds=round(compilation.seconds, 3),
        forward_passes_per_second=outcome.forward_passes / seconds if seconds else None,
        temporary_bytes=compilation.temporary_bytes,
        peak_resident_bytes=peak_resident_bytes(),
        peak_device_bytes=peak_device_bytes(),
    )


def _test_score(parts: Preparation, score: Score | None) -> TestScore | None:
    if score is None or parts.test_majority_accuracy is None:
        return None
    return TestScore(
        examples=score.examples,
        accuracy=score.accuracy,
        loss=score.loss,
        metrics={name: score.metric(name) for name in parts.metrics},
        majority_accuracy=parts.test_majority_accuracy,
    )


def _title(config: TrainConfig, parts: Preparation) -> str:
    title = f"{config.method} on {config.model}, {config.data}, seed {config.seed}"
    return title if parts.protocol is None else f"{title}\nprotocol {parts.protocol}"


def _beside(summary: Summary) -> dict[str, Any]:
    """The summary without the names that every line of the metrics has anyway."""
    own = ("steps", "forward_passes")
    return {name: value for name, value in summary.as_json().items() if name not in own}
