"""The commands that work on a run that there is: resume, export, replay, info, verify, push.

Each is a dataclass whose attributes are its options, and knows how to run.
"""

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from loren_jax.train.commands import INTERRUPTED, RunCommand
from loren_jax.train.devices import DevicesConfig

DIFFERENT = 1


@dataclass(frozen=True, kw_only=True)
class MethodCommand(RunCommand):
    """A command on a run that builds its optimiser.

    Attributes:
      optimizer: MODULE:FUNCTION, where the run is of a factory of your own: what a file names
        alone is not imported.
    """

    optimizer: str | None = None

    def __post_init__(self) -> None:
        from loren_jax import journal

        if self.optimizer is not None:
            journal.allow(self.optimizer)


@dataclass(frozen=True, kw_only=True)
class Resume(MethodCommand):
    """Go on with a run where it stopped, however it stopped, to the bits of one that never did.

    Attributes:
      resume: Directory of the run; its options are those that it began with.
      steps: Steps to take in all, for longer than was planned.
      devices: With what processes and devices; they may be others than before.
    """

    resume: Path
    steps: int | None = None
    devices: DevicesConfig = field(default_factory=DevicesConfig)

    def run(self) -> int:
        """Resumes."""
        from loren_jax.reports.files import SEEDS
        from loren_jax.train.devices import join_processes
        from loren_jax.train.seeds import resume_seeds
        from loren_jax.train.training import resume

        with join_processes(self.devices) as sizes:
            if (self.resume / SEEDS).is_file():
                return report(resume_seeds(self.resume, sizes))
            return report(resume(self.resume, sizes, steps=self.steps))


@dataclass(frozen=True, kw_only=True)
class Export(MethodCommand):
    """Write the model of any step of a run as a Hugging Face directory.

    Attributes:
      directory: Directory of the run.
      step: Steps that the model has had; all of them by default.
      output: The directory to write; by default RUN/step-STEP.
    """

    directory: tyro.conf.Positional[Path]
    step: int | None = None
    output: Path | None = None

    def run(self) -> int:
        """Exports."""
        from loren_jax import journal
        from loren_jax.train.reconstruction import export_step, journal_file

        step = self.step
        if step is None:
            step = journal.read(journal_file(self.directory)).steps
        output = self.output or self.directory / f"step-{step}"
        return _tell(export_step(self.directory, output, step=step), output)


@dataclass(frozen=True, kw_only=True)
class Replay(MethodCommand):
    """Make the model of a run from its journal and the base model, on any machine, without data.

    Attributes:
      journal: The journal's file.
      base: The model that the run began with: a directory, or a name on the Hub.
      output: The directory to write.
      step: Steps that the model has had; all of them by default.
    """

    journal: tyro.conf.Positional[Path]
    base: str
    output: Path
    step: int | None = None

    def run(self) -> int:
        """Replays."""
        from loren_jax.train.reconstruction import export_step

        return _tell(
            export_step(self.journal, self.output, step=self.step, base=self.base), self.output
        )


@dataclass(frozen=True)
class Info(RunCommand):
    """Tell what a journal holds.

    Attributes:
      directory: Directory of a run, or a journal's file.
    """

    directory: tyro.conf.Positional[Path]

    def run(self) -> int:
        """Tells."""
        from loren_jax.train.reconstruction import info_text

        print(info_text(self.directory))
        return 0


@dataclass(frozen=True, kw_only=True)
class Verify(MethodCommand):
    """Check a journal against the base model and, if it is there, the run's own model.

    Attributes:
      directory: Directory of a run, or a journal's file.
      base: Where the base model is, if not where the run had it.
    """

    directory: tyro.conf.Positional[Path]
    base: str | None = None

    def run(self) -> int:
        """Verifies."""
        from loren_jax.train.reconstruction import verify

        found = verify(self.directory, self.base)
        print(f"journal      {found.steps} whole steps, {found.leftover} bytes left over")
        print("base model   that of the run, to the bit")
        if found.compared is None:
            print("final model  none to compare with")
        elif found.same:
            print(f"final model  that of step {found.compared}, to the bit")
        else:
            print(
                f"final model  differs from step {found.compared} by up to {found.difference:.2g}"
            )
        if found.versions:
            print(f"rounding may differ: {'; '.join(found.versions)}")
        return 0 if found.same else DIFFERENT


@dataclass(frozen=True, kw_only=True)
class Push(RunCommand):
    """Upload the model of a run to the Hugging Face Hub, with its card.

    Attributes:
      directory: Directory of a run, or of a model.
      name: The repository, OWNER/NAME or a name of your own; made if it is not there.
      private: Let nobody else see it.
    """

    directory: tyro.conf.Positional[Path]
    name: tyro.conf.Positional[str]
    private: bool = False

    def run(self) -> int:
        """Uploads."""
        from loren_jax.train.publishing import push

        print(push(self.directory, self.name, private=self.private))
        return 0


def report(result: Any) -> int:
    """Says how a `RunResult` or a `SeedsResult` ended; returns the exit code."""
    from loren_jax.reports.summary import summary_text
    from loren_jax.runs.processes import first
    from loren_jax.train.seeds import SeedsResult, seeds_text

    group = isinstance(result, SeedsResult)
    runs = result.results if group else [result]
    texts = [summary_text(*run) for run in runs]
    if group:
        seeds = [f"seed {run.summary.facts['seed']}: " for run in runs]
        texts = [seed + text for seed, text in zip(seeds, texts, strict=True)]
        texts.append(seeds_text(result))
    elif result.summary.interrupted:
        texts.append(f"go on with: {shlex.join(_resume_command(result))}")
    if first():
        print("\n\n".join(texts))
    return INTERRUPTED if runs[-1].summary.interrupted else 0


def _resume_command(result: Any) -> list[str]:
    """The command that goes on with a run."""
    method = result.summary.facts["optimizer"]
    own = ["--optimizer", method] if ":" in method else []
    return ["loren-jax", "train", "--resume", str(result.directory), *own]


def run_commands() -> dict[str, Any]:
    """The commands by name."""
    return {"export": Export, "replay": Replay, "info": Info, "verify": Verify, "push": Push}


def _tell(again: Any, output: Path) -> int:
    """Says what was replayed and where it is."""
    print(f"{output}: the model after {again.steps} steps")
    if again.differences:
        print(
            f"rounding may differ from the run's own: {'; '.join(again.differences)}",
            file=sys.stderr,
        )
    return 0
