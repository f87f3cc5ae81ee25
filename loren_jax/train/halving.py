"""Many configurations, of which the worse are stopped early: successive halving over whole runs.

All runs go to a share of their steps and pause; the better of them go on, by the same run and the
same schedule, and so forth until the last have all their steps. What a pause leaves is resumable,
so a sweep that is called again on its directory goes on wherever it stopped.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.arguments import count
from loren_jax.reports import files
from loren_jax.reports.summary import Summary
from loren_jax.reports.tables import Spread, text_table
from loren_jax.runs import processes
from loren_jax.runs.directory import LOCK, claim, hold
from loren_jax.train.config import RunConfig
from loren_jax.train.training import advance, share_of
from loren_jax.train.trials import Trial, grid, sweep_directory

_OWN = ("output", "overwrite", "report_to")
"""Options in which runs of one sweep may differ from call to call."""


class SweepResult(NamedTuple):
    """What a sweep leaves.

    Attributes:
      trials: All runs, the best first.
      directory: Where they are, with `sweep.json`.
      interrupted: Whether a signal ended it; called again it goes on.
    """

    trials: list[Trial]
    directory: Path
    interrupted: bool

    @property
    def best(self) -> Trial | None:
        """The run that won; None where a signal ended the sweep."""
        return None if self.interrupted else self.trials[0]


def sweep(
    config: RunConfig,
    vary: Mapping[str, Sequence[Any]],
    *,
    eta: int = 2,
    sizes: Mapping[str, int] | None = None,
) -> SweepResult:
    """Trains with all combinations of some options, and stops the worse ones early.

    The score that decides is the metric of the protocol, on the split that may select; without a
    protocol it is the loss on the held-out examples, which flatters the run that is chosen.

    Args:
      config: What all runs have in common; its `output` is the directory of the sweep.
      vary: By option, of the configuration or of its optimiser, the values that are tried.
      eta: One of so many runs goes on at each stage, which has so many times the steps of the one
        before; 1 lets all run to the end.
      sizes: Devices along each axis of the mesh; see `train`.

    Returns:
      All runs, the best first.

    Raises:
      ValueError: An option is unknown or has no values, or the directory holds another sweep.
      FloatingPointError: No run had a finite loss.
      OSError: See `train`.
    """
    trials = grid(config, vary)
    return run_trials(trials, sweep_directory(trials), eta=eta, sizes=sizes)


def run_trials(
    trials: Sequence[Trial],
    directory: Path,
    *,
    eta: int = 2,
    sizes: Mapping[str, int] | None = None,
) -> SweepResult:
    """Runs trials, whatever it is in which they differ; see `sweep`.

    Args:
      trials: The runs, each with a name of its own.
      directory: Where they are written, each in a directory of its name.
      eta: See `sweep`.
      sizes: See `sweep`.

    Returns:
      All runs, the best first.
    """
    count("eta", eta)
    if any(trial.config.seeds is not None for trial in trials):
        raise ValueError("seeds asks for several runs: sweep with one, then train the best with it")
    overwrite = any(trial.config.overwrite for trial in trials)
    place = lambda trial: dataclasses.replace(
        trial.config, output=directory / trial.name, overwrite=False
    )
    trials = [trial._replace(config=place(trial)) for trial in trials]
    with ExitStack() as opened:

        def begin() -> list[dict[str, Any]]:
            opened.enter_context(hold(directory))
            return _begin(trials, directory, eta, overwrite=overwrite)

        rungs = processes.broadcast(begin)
        return _Halving(trials, directory, eta, sizes, rungs).run()


class _Halving:
    """The stages of a sweep; `rungs` has by name the scores of each stage so far."""

    def __init__(
        self,
        trials: Sequence[Trial],
        directory: Path,
        eta: int,
        sizes: Mapping[str, int] | None,
        rungs: list[dict[str, Any]],
    ):
        self._trials = {trial.name: trial for trial in trials}
        self._directory, self._eta, self._sizes, self._rungs = directory, eta, sizes, rungs

    def run(self) -> SweepResult:
        """All stages."""
        members, last = list(self._trials), halvings(len(self._trials), self._eta)
        for stage in range(last + 1):
            if stage == len(self._rungs):
                self._rungs.append({})
            scores = self._rungs[stage]
            for number, name in enumerate(members, start=1):
                label = f"{name} ({number}/{len(members)})"
                if not self._advance(name, float(self._eta) ** (stage - last), scores, label):
                    return self._result(interrupted=True)
            members = [name for name in members if scores[name] is not None]
            if not members:
                raise FloatingPointError(
                    "no run of the sweep had a finite loss: lower learning_rate or "
                    "perturbation_scale"
                )
            members.sort(key=lambda name: scores[name], reverse=True)
            if stage < last:
                members = members[: max(1, len(self._trials) // self._eta ** (stage + 1))]
        return self._result(interrupted=False)

    def _advance(self, name: str, share: float, scores: dict[str, Any], label: str) -> bool:
        """Takes a run to a share of its steps and notes its score; False where a signal ended it.

        A run that has come so far before is left as it is.
        """
        trial = self._trials[name]
        summary = processes.broadcast(lambda: _stored_summary(trial, share))
        if summary is None and name not in scores:
            try:
                found = advance(trial.config, self._sizes, share=share, label=label).summary
            except FloatingPointError as error:
                if processes.first():
                    print(f"{label}: {error}", file=sys.stderr)
                scores[name] = None
            else:
                if found.interrupted and not found.facts.get("paused"):
                    return False
                summary = found.as_json()
        if summary is not None:
            found = Summary.from_json(summary)
            self._trials[name] = trial._replace(summary=found)
            scores.setdefault(name, _rank(found))
        if processes.first():
            _write(list(self._trials.values()), self._directory, self._eta, self._rungs)
        return True

    def _result(self, *, interrupted: bool) -> SweepResult:
        """The runs in their order: who came furthest, and among these who was better."""

        def order(trial: Trial) -> tuple[int, list[float]]:
            ranks = [rung[trial.name] for rung in self._rungs if trial.name in rung]
            known = [rank for rank in ranks if rank is not None]
            return (len(known), known[-1]) if known else (0, [])

        def state(number: int, trial: Trial) -> str:
            if any(rung.get(trial.name, ()) is None for rung in self._rungs):
                return "no finite loss"
            if trial.summary is None or interrupted:
                return "waiting" if trial.summary is None else "under way"
            return "stopped" if trial.summary.interrupted else "complete" if number else "best"

        trials = sorted(self._trials.values(), key=order, reverse=True)
        told = [trial._replace(state=state(n, trial)) for n, trial in enumerate(trials)]
        return SweepResult(told, self._directory, interrupted)


def halvings(number: int, eta: int) -> int:
    """How often only one of `eta` goes on, until one is left.

    >>> halvings(6, 2), halvings(9, 3), halvings(2, 3), halvings(5, 1)
    (2, 2, 0, 0)
    """
    times = 0
    while eta > 1 and number // eta ** (times + 1):
        times += 1
    return times


def score_of(summary: Summary) -> tuple[str, float]:
    """Name and value of the score that decides.

    `train` gives one to every run: the metric of a protocol, or else the loss.
    """
    name = (summary.metric or "-loss").removeprefix("-")
    return name, (summary.after or {}).get(name, math.nan)


def _rank(summary: Summary) -> list[float] | None:
    """The higher the better; None for what is not finite."""
    _, score = score_of(summary)
    loss = (summary.after or {}).get("loss", math.nan)
    lower = (summary.metric or "-loss").startswith("-")
    rank = [-score if lower else score, -loss]
    return rank if all(map(math.isfinite, rank)) else None


def _stored_summary(trial: Trial, share: float) -> dict[str, Any] | None:
    """The summary of a run that has come to a share of its steps, or is complete."""
    path = trial.config.directory / files.SUMMARY
    if not path.is_file():
        return None
    found = files.read_json(path)
    far = found["steps"] >= share_of(found["planned_steps"], share)
    return found if far or not found["interrupted"] else None


def _begin(
    trials: Sequence[Trial], directory: Path, eta: int, *, overwrite: bool
) -> list[dict[str, Any]]:
    """The scores of the stages so far, of a directory that holds this sweep or nothing."""
    path = directory / files.SWEEP
    inside = {entry.name for entry in directory.iterdir()} - {LOCK}
    if inside and not path.is_file():
        raise FileExistsError(
            f"output: {directory} exists and holds something that is no sweep; name another "
            "directory"
        )
    found = files.read_json(path) if path.is_file() else None
    if overwrite and found is not None:
        for name in found["runs"]:
            with hold(directory / name):
                claim(directory / name, overwrite=True)
        found = None
    if found is None:
        _write(trials, directory, eta, [])
        return []
    _require_same(found, _plan(trials, eta), directory)
    return found["rungs"]


def _require_same(found: Mapping[str, Any], plan: Mapping[str, Any], directory: Path) -> None:
    """Raises a ValueError that names the first thing in which two sweeps differ."""
    hint = "name another directory, or replace it with --overwrite"
    for name in ("eta", "runs"):
        then, now = found[name], json.loads(json.dumps(files.strict(plan[name])))
        if name == "runs" and list(then) == list(now):
            both = [(run, then[run]["config"], now[run]["config"]) for run in now]
            different = [
                f"{run} had {n} {old.get(n)} and would have {new.get(n)}"
                for run, old, new in both
                for n in {**old, **new}
                if n not in _OWN and old.get(n) != new.get(n)
            ]
        else:
            told = lambda value: ", ".join(value) if isinstance(value, dict) else value
            different = [f"{name} was {told(then)} and would be {told(now)}"] * (then != now)
        if different:
            raise ValueError(f"output: {directory} holds another sweep: {different[0]}; {hint}")


def _plan(trials: Sequence[Trial], eta: int) -> dict[str, Any]:
    runs = {t.name: {"options": dict(t.options), "config": t.config.as_json()} for t in trials}
    return {"eta": eta, "runs": runs}


def _write(
    trials: Sequence[Trial], directory: Path, eta: int, rungs: Sequence[Mapping[str, Any]]
) -> None:
    files.write_json(directory / files.SWEEP, {**_plan(trials, eta), "rungs": list(rungs)})


def sweep_text(result: SweepResult, width: int | None = None) -> str:
    """A sweep for people: its runs, the best first, and where the best is."""
    titles = ("run", "steps", "forward passes", "score", "state")
    rows: list[Any] = [titles]
    for trial in result.trials:
        cells: tuple[Any, ...] = ("-", "-", "-")
        if (summary := trial.summary) is not None:
            name, score = score_of(summary)
            unit = f"{summary.facts.get('held_out', '')} {name}".lstrip()
            cells = summary.steps, summary.forward_passes, Spread(score, unit=unit)
        rows.append((trial.name, *cells, trial.state))
    lines = [text_table(rows, width), ""]
    if result.best is None:
        return "\n".join([*lines, "interrupted: the same command goes on with it"])
    lines.append(f"best: {result.directory / result.best.name}")
    if result.best.config.rules is None and result.best.config.keep == "last":
        lines.append("(chosen by the held-out examples, which flatters it: score it on others)")
    return "\n".join(lines)
