"""Several runs that differ by their seed alone, and what they have in common."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from loren_jax.reports import files
from loren_jax.reports.comparison import mean_and_std, reported_scores
from loren_jax.reports.summary import Summary
from loren_jax.reports.tables import Spread
from loren_jax.runs import processes
from loren_jax.runs.directory import holds_run, require_free
from loren_jax.train.config import RunConfig, config_from_json
from loren_jax.train.training import RunResult, resume, train


class SeedsResult(NamedTuple):
    """What several runs leave.

    Attributes:
      results: One result for every seed that was run.
      statistics: By name of a score, its `mean` and `std` (of a sample; None for one run), over
        the runs that are complete.
      directory: Where the runs are, with `seeds.json`.
      planned: The seeds that were asked for.
    """

    results: list[RunResult]
    statistics: dict[str, dict[str, float | None]]
    directory: Path
    planned: tuple[int, ...]

    @property
    def interrupted(self) -> bool:
        """Whether a signal ended one of the runs, so that `resume_seeds` has something to do."""
        return self.results[-1].summary.interrupted


def train_seeds(config: RunConfig, sizes: Mapping[str, int] | None = None) -> SeedsResult:
    """Runs a configuration with each of its seeds, each in a directory of its own.

    A signal ends the current run and starts no other; `resume_seeds` goes on.

    Args:
      config: What to do, with `seeds`.
      sizes: Devices along each axis of the mesh; see `train`.

    Returns:
      The results, and mean and standard deviation of their scores.

    Raises:
      ValueError: If there are no seeds; and see `train`.
      OSError: If one of the directories is in use; none is touched then.
    """
    if not config.seeds:
        raise ValueError("seeds is empty: give one or more, or call train")
    runs = _runs(config)

    def begin() -> None:
        for run in runs:
            require_free(run.directory, overwrite=config.overwrite)
        config.directory.mkdir(parents=True, exist_ok=True)
        # Before the first run, so that the group can be gone on with, however it stops.
        values = {"config": config.as_json(), "planned_seeds": list(config.seeds or ())}
        files.write_json(config.directory / files.SEEDS, values)

    processes.broadcast(begin)
    return _run(config, [partial(train, run, sizes) for run in runs])


def resume_seeds(directory: Path, sizes: Mapping[str, int] | None = None) -> SeedsResult:
    """Goes on with a group of runs: complete ones stay, a stopped one goes on, the rest begins.

    Args:
      directory: The group's directory.
      sizes: Devices along each axis of the mesh; see `train`.

    Returns:
      The results of all seeds.

    Raises:
      ValueError: If the group cannot be gone on with; and see `resume`.
    """
    directory = Path(directory).absolute()
    values = processes.broadcast(lambda: files.read_json(directory / files.SEEDS))
    if "config" not in values:
        raise ValueError(
            f"resume: {directory} was written by an older version, which did not say how to go on: "
            "resume its runs one by one"
        )
    config = dataclasses.replace(config_from_json(values["config"]), output=directory)

    def go_on(run: RunConfig, label: str) -> RunResult:
        summary = run.directory / files.SUMMARY
        found = processes.broadcast(lambda: files.read_json(summary) if summary.is_file() else None)
        if found is not None and not found["interrupted"]:
            return RunResult(Summary.from_json(found), run.directory)
        if processes.broadcast(lambda: holds_run(run.directory)):
            return resume(run.directory, sizes, label=label)
        return train(run, sizes, label=label)

    return _run(config, [partial(go_on, run) for run in _runs(config)])


def _runs(config: RunConfig) -> list[RunConfig]:
    place = lambda seed: config.directory / f"seed{seed}"
    return [
        dataclasses.replace(config, seed=seed, seeds=None, output=place(seed))
        for seed in config.seeds or ()
    ]


def _run(config: RunConfig, starts: Sequence[Callable[..., RunResult]]) -> SeedsResult:
    results, seeds = [], config.seeds or ()
    for number, (seed, start) in enumerate(zip(seeds, starts, strict=True), start=1):
        results.append(start(label=f"seed {seed} ({number}/{len(seeds)})"))
        if results[-1].summary.interrupted:
            break
    complete = [run.summary for run in results if not run.summary.interrupted]
    rows = [reported_scores(summary.as_json()) for summary in complete]
    names = [name for name in rows[0] if all(name in row for row in rows)] if rows else []
    common = {name: mean_and_std([row[name] for row in rows]) for name in names}
    result = SeedsResult(results, common, config.directory, seeds)
    if processes.first():
        values = {
            "config": config.as_json(),
            "seeds": [summary.facts["seed"] for summary in complete],
            "planned_seeds": list(result.planned),
            "runs": [run.directory.name for run in results],
            "protocol": results[0].summary.facts.get("protocol"),
            "statistics": common,
            "scores": rows,
        }
        files.write_json(config.directory / files.SEEDS, values)
    return result


def seeds_text(result: SeedsResult) -> str:
    """The statistics for people."""
    complete = [run.summary for run in result.results if not run.summary.interrupted]
    seeds = ", ".join(str(summary.facts["seed"]) for summary in complete) or "none"
    first = result.results[0].summary.facts
    protocol = first.get("protocol")
    protocol = "" if protocol is None else f", protocol {protocol}"
    lines = [f"{first['optimizer']} on {first['model']}, {first['data']}{protocol}: seeds {seeds}"]
    if len(complete) < len(result.planned):
        lines[0] += (
            f" complete of {len(result.planned)}; go on with loren-jax train --resume "
            f"{result.directory}"
        )
    width = max(map(len, result.statistics), default=7)
    for name, values in result.statistics.items():
        lines.append(f"  {name:<{width}}  {Spread(values['mean'], values['std'])}")
    names = f"{files.SEEDS} and a run for each seed"
    lines.append(f"  {'written':<{width}}  {result.directory}/ ({names})")
    return "\n".join(lines)
