"""What a run leaves: the model, its curve, and the numbers that sum it up."""

from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.train import run_directory as files
from loren_jax.train.cluster import OneDevice
from loren_jax.train.config import TrainConfig
from loren_jax.train.environment import peak_device_bytes, peak_resident_bytes
from loren_jax.train.metrics import METRICS, MetricsWriter, NoMetrics, read_metrics
from loren_jax.train.plot import plot_curve
from loren_jax.train.preparation import Preparation
from loren_jax.train.saving import save_model
from loren_jax.train.scoring import Score
from loren_jax.train.summary import Summary, TestScore
from loren_jax.train.trainee import Trainee
from loren_jax.train.training import Trained


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


def finished(
    config: TrainConfig,
    directory: Path,
    parts: Preparation,
    trainee: Trainee,
    trained: Trained,
    metrics: MetricsWriter | NoMetrics,
    devices: OneDevice,
) -> RunResult:
    """Writes what a run leaves; of several processes the first does.

    Args:
        config: The run.
        directory: Where its files are.
        parts: What it was prepared to.
        trainee: What was trained.
        trained: What the training left.
        metrics: Its record.
        devices: Where its arrays lie.

    Returns:
        The numbers, and where the files are.
    """
    params = devices.on_host(trained.params)
    summary = _summary(config, parts, trainee, trained)
    names = [f"{files.MODEL}/", METRICS, files.JOURNAL]
    names += [files.FACTORS] * (config.input_directions is not None)
    names += [files.CURVE, files.SUMMARY, files.CONFIG]
    result = RunResult(summary, directory, names)
    if not devices.peers.first:
        return result
    # Saved before anything else can fail; the summary comes last and says that all is there.
    save_model(directory / files.MODEL, parts.origin, params, overwrite=True)
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
    return result


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
