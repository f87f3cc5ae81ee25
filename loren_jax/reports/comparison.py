"""Runs side by side, as a table; mean and standard deviation of their scores."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loren_jax.reports import files
from loren_jax.reports.files import METRICS, SEEDS
from loren_jax.reports.metrics import read_metrics
from loren_jax.reports.summary import COUNTS
from loren_jax.reports.tables import Row, Spread, text_table

# What may differ between two runs of one group: where they were written, and the seed.
_OWN = ("seed", "seeds", "output", "overwrite", "report_to")
_COLUMNS = (
    *("run", "optimizer", "model", "data", "varied", "seeds", "steps", "forward passes"),
    *("kept", "test", "seconds"),
)
_CLASSIFICATION = ("protocol", "majority_accuracy")
"""Further columns of runs that do not say what their objective has."""
_SHOWN = (*_OWN, "optimizer.name", "model", "data", "protocol", "prompt", "steps")
"""Options with a column of their own, or that are no difference."""


@dataclass(frozen=True)
class Run:
    """A run as its directory tells it.

    Attributes:
      directory: Where it is.
      config: Its configuration, as JSON values.
      events: Its metrics.
      summary: Its summary; None where the run is not complete.
    """

    directory: Path
    config: dict[str, Any]
    events: list[dict[str, Any]]
    summary: dict[str, Any] | None

    @property
    def steps(self) -> int:
        """Steps taken."""
        return self.events[-1]["step"] if self.events else 0

    @property
    def forward_passes(self) -> int:
        """Forward passes of these steps."""
        return self.events[-1]["forward_passes"] if self.events else 0

    @property
    def evaluations(self) -> list[dict[str, Any]]:
        """The evaluations, in order."""
        return [event for event in self.events if event["event"] == "evaluation"]


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """Reads runs, also unfinished ones.

    Args:
      paths: Directories of runs, or of the runs of several seeds.

    Returns:
      The runs, each once.

    Raises:
      FileNotFoundError: If a directory does not exist or holds no run.
      ValueError: If its files are damaged.
    """
    found: dict[Path, Run] = {}
    for path in paths:
        for directory in _run_directories(path):
            found.setdefault(directory.resolve(), _read(directory))
    return list(found.values())


def group_runs(runs: Sequence[Run]) -> list[list[Run]]:
    """Puts runs together that differ by their seed alone.

    Args:
      runs: The runs.

    Returns:
      The groups, in the order of their first runs.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        same = {name: value for name, value in run.config.items() if name not in _OWN}
        groups.setdefault(json.dumps(same, sort_keys=True), []).append(run)
    return list(groups.values())


def comparison_rows(groups: Sequence[Sequence[Run]]) -> list[Row]:
    """The groups as a table, a row each, with mean and standard deviation over finished runs.

    Args:
      groups: What `group_runs` returns.

    Returns:
      Titles and cells, for `write_table`.
    """
    finished = [run.summary for group in groups for run in group if run.summary]
    told = [summary.get("columns", _CLASSIFICATION) for summary in finished] or [_CLASSIFICATION]
    own = dict.fromkeys(name for names in told for name in names)
    titles = [name.removesuffix("_accuracy") for name in own]
    pairs = zip(groups, _own_options(groups), strict=True)
    return [(*_COLUMNS, *titles), *(_row(*pair, tuple(own)) for pair in pairs)]


def comparison_table(groups: Sequence[Sequence[Run]], width: int | None = None) -> str:
    """The groups as text, with a line for each run that is not finished.

    Args:
      groups: What `group_runs` returns.
      width: Letters of a line; see `loren_jax.reports.tables.text_table`.

    Returns:
      Lines without a newline at the end.
    """
    unfinished = [run for group in groups for run in group if run.summary is None]
    notes = [
        f"{run.directory} is not finished: step {run.steps} of {run.config['steps']}"
        for run in unfinished
    ]
    return "\n".join([text_table(comparison_rows(groups), width), *notes])


def varied_options(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Of each group the options in which the groups differ, as `learning_rate=0.1`."""
    said = [[f"{name}={value}" for name, value in own.items()] for own in _own_options(groups)]
    return [", ".join(words) for words in said]


def _own_options(groups: Sequence[Sequence[Run]]) -> list[dict[str, Any]]:
    flat = [_flat(group[0].config) for group in groups]
    names = dict.fromkeys(name for options in flat for name in options)
    own = [n for n in names if n not in _SHOWN and len({str(o.get(n)) for o in flat}) > 1]
    said = lambda options: [n for n in own if options.get(n) is not None]
    return [{n.rpartition(".")[2]: options[n] for n in said(options)} for options in flat]


def run_name(group: Sequence[Run]) -> str:
    """What a group is called: its folder, or that of the runs of several seeds."""
    directory = group[0].directory
    several = len(group) > 1 and len({run.directory.parent for run in group}) == 1
    named = directory.parent if several and (directory.parent / SEEDS).is_file() else directory
    more = "" if named != directory or len(group) == 1 else f" +{len(group) - 1}"
    return named.absolute().name + more


def _flat(options: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.items():
        inside = isinstance(value, dict)
        found |= _flat(value, f"{before}{name}.") if inside else {f"{before}{name}": value}
    return found


def _row(group: Sequence[Run], varied: Mapping[str, Any], own: tuple[str, ...]) -> Row:
    config = group[0].config
    finished = [run.summary for run in group if run.summary is not None]
    # Older summaries lack what came later; a run without any is marked by dashes.
    mark = "" if len(finished) == len(group) else " (unfinished)"
    seeds = ",".join(str(run.config.get("seed", "-")) for run in group)
    metric = _metric(finished)
    unit = "" if metric == "accuracy" else metric
    return (
        run_name(group),
        config.get("optimizer", {}).get("name", "-"),
        Path(config.get("model", "-")).name,
        Path(config.get("data", "-")).name + (", prompt" if config.get("prompt") else ""),
        varied,
        seeds + mark,
        _range([run.steps for run in group]),
        _range([run.forward_passes for run in group]),
        _spread([_kept_score(summary, metric) for summary in finished], unit),
        _spread([_test(summary, metric) for summary in finished], unit),
        _spread([summary["training_seconds"] for summary in finished], digits=1),
        *(_fact([_fact_of(s, name) for s in finished] or [config.get(name)]) for name in own),
    )


def _fact_of(summary: Mapping[str, Any], name: str) -> Any:
    """A fact of a run, of its test where that has one of its own."""
    return (summary.get("test") or {}).get(name, summary.get(name))


def _fact(values: Sequence[Any]) -> str | Spread:
    """Words of the first run, or the mean of numbers."""
    if any(isinstance(value, str) for value in values):
        return str(values[0])
    return _spread(values)


def _metric(finished: Sequence[dict[str, Any]]) -> str:
    found = finished[0] if finished else {}
    names = [n.removesuffix("_after") for n in found if n.endswith("_after")]
    other = "accuracy" if "accuracy" in names or not names else names[0]
    return (found.get("metric") or other).removeprefix("-")


def _kept_score(summary: dict[str, Any], metric: str) -> float | None:
    best = summary.get("selected_score")
    return summary.get(f"{metric}_after") if best is None else best


def _test(summary: dict[str, Any], metric: str) -> float | None:
    test = summary.get("test")
    return None if test is None else test.get("metrics", test).get(metric)


def _spread(values: Sequence[float | None], unit: str = "", digits: int = 3) -> Spread:
    known = [value for value in values if value is not None]
    found = mean_and_std(known) if known else {"mean": None, "std": None}
    return Spread(found["mean"], found["std"], unit, digits)


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}-{high}"


def _run_directories(path: Path) -> list[Path]:
    if not path.is_dir():
        raise FileNotFoundError(f"runs: there is no directory {path}")
    if (path / METRICS).is_file():
        return [path]
    inside = sorted(entry.parent for entry in path.glob(f"*/{METRICS}"))
    if (path / SEEDS).is_file() or inside:
        return inside
    raise FileNotFoundError(
        f"runs: {path} holds no run: there is neither {METRICS} nor a directory with one"
    )


def _read(directory: Path) -> Run:
    try:
        config = files.read_json(directory / files.CONFIG)["config"]
        summary = directory / files.SUMMARY
        finished = files.read_json(summary) if summary.is_file() else None
        if finished is not None and finished.get("interrupted"):
            finished = None  # a stopped run has no place in a mean
        run = Run(directory, config, read_metrics(directory), finished)
        _ = run.config["steps"]
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise ValueError(
            f"runs: {directory} is damaged or was written by another version: {error!r}"
        ) from error
    return run


def reported_scores(summary: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a summary, of this version or an earlier one, that are worth a mean.

    >>> reported_scores({"held_out": "dev", "accuracy_after": 0.75, "training_seconds": 2.0})
    {'dev accuracy': 0.75, 'training seconds': 2.0}
    """
    named = summary.get("held_out", "held-out" if summary.get("selected_step") is None else "dev")
    scores = {
        f"{named} {name.removesuffix('_after')}": value
        for name, value in summary.items()
        # Of a classifier the accuracy tells more; a language model has no other score than these.
        if name.endswith("_after") and (name != "loss_after" or "accuracy_after" not in summary)
    }
    test = summary.get("test")
    if test is not None:
        flat = {**test, **test.get("metrics", {})}
        apart = (*COUNTS, "metrics", "majority_accuracy")
        scores |= {f"test {name}": value for name, value in flat.items() if name not in apart}
    majority = (test or summary).get("majority_accuracy")
    scores["majority class" if test is None else "test majority class"] = majority
    scores["training seconds"] = summary["training_seconds"]
    return {name: value for name, value in scores.items() if value is not None}


def mean_and_std(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation.

    >>> mean_and_std([1.0, 2.0, 3.0]), mean_and_std([1.0])
    ({'mean': 2.0, 'std': 1.0}, {'mean': 1.0, 'std': None})
    """
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": std}
