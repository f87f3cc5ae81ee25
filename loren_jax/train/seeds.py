"""Several runs that differ by their seed alone, and what they have in common."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.train import run_directory as files
from loren_jax.train.cluster import ALONE, Cluster
from loren_jax.train.config import TrainConfig
from loren_jax.train.result import RunResult
from loren_jax.train.run import train
from loren_jax.train.summary import Summary

SEEDS = "seeds.json"


class SeedsResult(NamedTuple):
    """What several runs leave.

    Attributes:
        results: One result for every seed that was run.
        statistics: By name of a score, its `mean` and `std` (of a sample; None for one run).
        directory: Where the runs are, with `seeds.json`.
    """

    results: list[RunResult]
    statistics: dict[str, dict[str, float | None]]
    directory: Path


def train_seeds(config: TrainConfig, cluster: Cluster = ALONE) -> SeedsResult:
    """Runs a configuration with each of its seeds, each in a directory of its own.

    A signal ends the current run and starts no other.

    Args:
        config: What to do, with `seeds`.
        cluster: The processes and devices to do it with; the first process writes the files.

    Returns:
        The results, and mean and standard deviation of their scores.

    Raises:
        ValueError: If there are no seeds; and see `train`.
        OSError: If one of the directories is in use; none is touched then.
    """
    if not config.seeds:
        raise ValueError("seeds is empty: give one or more, or call train")
    directory = config.directory
    runs = [
        dataclasses.replace(config, seed=seed, seeds=None, output=directory / f"seed{seed}")
        for seed in config.seeds
    ]
    first = cluster.peers.first
    if first:
        for run in runs:
            files.check_free(run.directory, overwrite=config.overwrite)
        (directory / SEEDS).unlink(missing_ok=True)
    results = []
    for run in runs:
        results.append(train(run, cluster))
        if results[-1].summary.interrupted:
            break
    common = score_statistics([result.summary for result in results])
    if first:
        files.write_json(directory / SEEDS, _json(config, results, common))
    return SeedsResult(results, common, directory)


def reported_scores(summary: Summary) -> dict[str, float]:
    """The scores of a run that are worth a mean, by name."""
    scores: dict[str, float | None] = {f"{summary.held_out_name} accuracy": summary.accuracy_after}
    if summary.metric != "accuracy":
        scores[f"{summary.held_out_name} {summary.metric}"] = summary.selected_score
    if summary.test is not None:
        scores["test accuracy"] = summary.test.accuracy
        scores |= {f"test {name}": value for name, value in summary.test.metrics.items()}
        scores["test loss"] = summary.test.loss
        scores["test majority class"] = summary.test.majority_accuracy
    else:
        scores["majority class"] = summary.majority_accuracy
    scores["training seconds"] = summary.training_seconds
    return {name: value for name, value in scores.items() if value is not None}


def score_statistics(summaries: Sequence[Summary]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation of the scores that all runs have.

    Args:
        summaries: Of the runs, at least one.

    Returns:
        By name of a score, its `mean` and its `std`, that of a sample; None for a single run.
    """
    rows = [reported_scores(summary) for summary in summaries]
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: mean_and_std([row[name] for row in rows]) for name in names}


def mean_and_std(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation.

    Example:
        >>> mean_and_std([1.0, 2.0, 3.0]), mean_and_std([1.0])
        ({'mean': 2.0, 'std': 1.0}, {'mean': 1.0, 'std': None})
    """
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": std}


def seeds_text(result: SeedsResult) -> str:
    """The statistics for people.

    Args:
        result: What `train_seeds` returned.

    Returns:
        Lines without a newline at the end.
    """
    seeds = ", ".join(str(run.summary.seed) for run in result.results)
    first = result.results[0].summary
    protocol = "" if first.protocol is None else f", protocol {first.protocol}"
    lines = [f"{first.optimizer} on {first.model}, {first.data}{protocol}: seeds {seeds}"]
    width = max(map(len, result.statistics))
    for name, values in result.statistics.items():
        lines.append(f"  {name:<{width}}  {spread_text(values)}")
    lines.append(f"  {'written':<{width}}  {result.directory}/ ({SEEDS} and a run for each seed)")
    return "\n".join(lines)


def spread_text(values: Mapping[str, float | None], digits: int = 3) -> str:
    """Mean and standard deviation for people.

    Example:
        >>> spread_text({"mean": 0.75, "std": 0.0125}), spread_text({"mean": 2.0, "std": None})
        ('0.750 ± 0.013', '2.000')
    """
    mean, std = values["mean"], values["std"]
    if mean is None:
        return "-"
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def _json(
    config: TrainConfig,
    results: Sequence[RunResult],
    common: Mapping[str, Mapping[str, float | None]],
) -> dict[str, Any]:
    return {
        "seeds": [result.summary.seed for result in results],
        "planned_seeds": list(config.seeds or ()),
        "runs": [result.directory.name for result in results],
        "protocol": results[0].summary.protocol,
        "statistics": {name: dict(values) for name, values in common.items()},
        "scores": [reported_scores(result.summary) for result in results],
    }
