"""`loren-jax sweep`: its own options, and those of `train`, of which some are varied."""

import itertools
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from loren_jax.train.commands import INTERRUPTED, RunCommand
from loren_jax.train.halving import run_trials, sweep_text
from loren_jax.train.trials import Trial, require_known, sweep_directory, trials_of

_EXAMPLE = "--vary learning-rate=0.03,0.1,0.3"


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Train with all combinations of some options, and stop the worse runs early.

    It takes every option of `train`, which all runs have, beside those below. All runs go to a
    share of their steps; the better half goes on, again and again, until the best has them all.
    Without a protocol the held-out loss decides, else the metric on the split that may select.
    The same command on the same directory goes on, however it was stopped.

    Attributes:
      vary: An option of `train` and its values, like learning-rate=0.03,0.1,0.3; once for each
        option. Several words of one value in quotes: "trainable=head,head layers/*".
      eta: One of so many runs goes on at each stage; 1 lets all run to the end.
      output: Directory of the sweep, with one for each run.
    """

    vary: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    eta: int = 2
    output: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Sweep(RunCommand):
    """A sweep as a command line asks for it; `best` makes the command of one trial."""

    trials: Sequence[Trial]
    directory: Path
    eta: int
    devices: Any
    guidance: str
    best: Callable[[Trial], list[str]]

    def run(self) -> int:
        """Sweeps."""
        from loren_jax.runs.processes import first
        from loren_jax.train.devices import join_processes

        with join_processes(self.devices) as sizes:
            if self.guidance and first():
                print(self.guidance, file=sys.stderr)
            found = run_trials(self.trials, self.directory, eta=self.eta, sizes=sizes)
            if first():
                print(sweep_text(found, shutil.get_terminal_size((0, 0)).columns or None))
                if found.best is not None:
                    print(f"the same again: {shlex.join(self.best(found.best))}")
        return INTERRUPTED if found.interrupted else 0


def sweep_command(arguments: Sequence[str], parsed: Callable[[list[str]], Any]) -> Sweep:
    """The sweep that arguments describe, those behind the command's name.

    `parsed` reads the arguments of `train`, from its name on.
    """
    vary, eta, given = _split_arguments(arguments)
    _require_apart(vary, given)
    methods = vary.get("optimizer") or [_last(given, "--optimizer") or "loren"]
    require_known(vary, methods)
    options = [dict(zip(vary, x, strict=True)) for x in itertools.product(*vary.values())]
    commands = [["train", *given, *_as_words(own)] for own in options]
    found = [parsed(command) for command in commands]
    trials = trials_of(
        [(own, command.configuration) for own, command in zip(options, found, strict=True)]
    )
    by_name = dict(zip((trial.name for trial in trials), commands, strict=True))
    return Sweep(
        trials=trials,
        directory=sweep_directory(trials),
        eta=eta,
        devices=found[0].devices,
        guidance="\n".join(dict.fromkeys(c.guidance for c in found if c.guidance)),
        best=lambda trial: ["loren-jax", *_without_output(by_name[trial.name])],
    )


def _split_arguments(arguments: Sequence[str]) -> tuple[dict[str, list[str]], int, list[str]]:
    """What is varied, `eta`, and the arguments that are of `train`."""
    vary: dict[str, list[str]] = {}
    eta, rest, words = 2, [], list(arguments)
    while words:
        word = words.pop(0)
        option, has, value = word.partition("=")
        if option not in ("--vary", "--eta"):
            rest.append(word)
            continue
        if not has:
            value = words.pop(0) if words else ""
        if option == "--eta":
            eta = _whole(value)
            continue
        name, _, values = value.partition("=")
        name = name.lstrip("-").replace("-", "_")
        if not name or not all(values.split(",")):
            raise ValueError(f"vary: {value!r} is no option with values: write it as {_EXAMPLE}")
        if name in vary:
            raise ValueError(f"vary: {name} is given twice: give all its values at once")
        vary[name] = values.split(",")
    if not vary:
        raise ValueError(f"sweep varies nothing: give {_EXAMPLE}")
    return vary, eta, rest


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(f"eta is {text!r}: give a whole number, such as 2")
    return int(text)


def _require_apart(vary: Mapping[str, Any], given: Sequence[str]) -> None:
    plain = [word.partition("=")[0].lstrip("-").replace("-", "_") for word in given]
    if "resume" in plain:
        raise ValueError("--resume is of train: the same sweep command again goes on")
    if "dry_run" in plain:
        raise ValueError("--dry-run is of train: ask it of one of the runs")
    for name in vary:
        if name in plain:
            raise ValueError(f"vary: {name} is given beside it too: leave one of the two away")


def _as_words(options: Mapping[str, str]) -> list[str]:
    """Options as one would type them; a flag is there or not."""
    words = []
    for name, value in options.items():
        if value == "False":
            continue
        own = [] if value == "True" else shlex.split(value)
        words += [f"--{name.replace('_', '-')}", *own]
    return words


def _last(arguments: Sequence[str], option: str) -> str | None:
    """What follows an option where it is given last."""
    found = None
    for word, following in itertools.pairwise([*arguments, ""]):
        name, has, value = word.partition("=")
        if name == option:
            found = value if has else following
    return found


def _without_output(command: Sequence[str]) -> list[str]:
    """A command that writes to the place it has by default."""
    kept, before = [], ""
    for word in command:
        own = word.partition("=")[0] in ("--output", "--overwrite")
        if not own and before != "--output":
            kept.append(word)
        before = word
    return kept
