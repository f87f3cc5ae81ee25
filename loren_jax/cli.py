"""The commands: `loren-jax train`, `evaluate`, `predict`, `compare`, and the others.

The options are the attributes of the configurations in `loren_jax.train.config`; nothing is
declared twice. The optimiser's own options depend on `--optimizer`, which is therefore read first.
"""

import contextlib
import importlib.util
import io
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loren_jax.runs import CallbackError
from loren_jax.version import installed_version

_EXTRA = ("flax", "matplotlib", "safetensors", "tqdm", "transformers", "tyro")
_EXPECTED = (ValueError, OSError, ImportError, TypeError, ArithmeticError, CallbackError)
_FAILED, _INTERRUPTED = 2, 130
_PARSING = threading.Lock()
"""The options' help is read from sources, which Python 3.11 can take apart in one thread alone."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
      argv: The arguments; those of the process by default.

    Returns:
      The exit code: 0; 2 after an error, of which one line on standard error tells; 130 if a
      signal ended the run early. With LOREN_JAX_TRACEBACK=1 an error shows its traceback too.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns about a missing torch
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    if arguments == ["--version"]:
        print(f"loren-jax {installed_version('loren-jax')}, jax {installed_version('jax')}")
        return 0
    try:
        _require_extra()
        with _PARSING:
            config = _parse(arguments)
        return _run(config)
    except KeyboardInterrupt:
        print("loren-jax: interrupted before there was anything to keep", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of the output closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _EXPECTED as error:
        if os.environ.get("LOREN_JAX_TRACEBACK") == "1":
            traceback.print_exc()
        print(f"loren-jax: error: {_as_typed(_one_line(error))}", file=sys.stderr)
        return _FAILED


@dataclass(frozen=True)
class ListOptimizers:
    """Print the optimisers: forward passes a step, state, where they come from."""


def _require_extra() -> None:
    missing = [name for name in _EXTRA if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{', '.join(missing)} not installed: the commands need pip install 'loren-jax[train]'"
        )


def _parse(arguments: list[str]) -> Any:
    """The configuration that the arguments describe; help and bad options end the process."""
    import tyro

    from loren_jax.train.config import EvaluateConfig
    from loren_jax.train.generate_command import Generate
    from loren_jax.train.run_commands import run_commands
    from loren_jax.train.sweep_command import SweepOptions, sweep_command

    if arguments[:1] == ["sweep"] and not {"-h", "--help"} & set(arguments):
        return sweep_command(arguments[1:], _parse)
    errors, train = io.StringIO(), _train_command(arguments)
    try:
        with contextlib.redirect_stderr(errors):
            parsed = tyro.extras.subcommand_cli_from_dict(
                {
                    "train": train,
                    "evaluate": EvaluateConfig,
                    "predict": _predict_command(),
                    "generate": Generate,
                    "sweep": SweepOptions,
                    "compare": _compare_command(),
                    "optimizers": ListOptimizers,
                    **run_commands(),
                },
                prog="loren-jax",
                description="Fine-tune classifiers and language models with forward passes only.",
                args=["--help" if word == "--help-all" else word for word in arguments],
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
            )
    except SystemExit as end:
        if (error := _own_error(end)) is not None:
            raise error from None
        print(errors.getvalue(), end="", file=sys.stderr)
        raise
    return parsed


def _train_command(arguments: list[str]) -> Any:
    """The type that the options of `train` are read from."""
    from loren_jax.train.command_line import require_own_options, train_command
    from loren_jax.train.run_commands import Resume

    if arguments[:1] != ["train"]:
        return train_command(["train", "--help"])
    if any(argument.split("=")[0] == "--resume" for argument in arguments):
        require_own_options(arguments[1:], Resume)
        return Resume
    return train_command(arguments)


def _compare_command() -> Any:
    """The type that the arguments of `compare` are read from: the runs have no option's name."""
    import tyro

    from loren_jax.train.config import CompareConfig

    def compare(
        runs: tyro.conf.Positional[tuple[Path, ...]],
        output: Path = Path("comparison.png"),
        table: Path | None = None,
    ) -> CompareConfig:
        """Print runs side by side and draw them in one picture.

        Runs that differ by their seed alone are put together: mean ± standard deviation.

        Args:
          runs: Directories of runs, or of the runs of several seeds.
          output: The .png, .pdf or .svg file to draw.
          table: The .csv, .md or .tex file to write the table to.
        """
        return CompareConfig(runs=runs, output=output, table=table)

    return compare


def _predict_command() -> Any:
    """The type that the arguments of `predict` are read from: the model has no option's name."""
    import tyro

    from loren_jax.train.config import PredictConfig

    @dataclass(frozen=True, kw_only=True)
    class PredictCommand(PredictConfig):
        model: tyro.conf.Positional[str]

    PredictCommand.__doc__ = PredictConfig.__doc__
    return PredictCommand


def _own_error(end: SystemExit) -> Exception | None:
    """The error of ours that made tyro give up, if it was one: a configuration refused itself."""
    error, package = end.__context__, str(Path(__file__).parent)
    while error is not None:
        trace = traceback.extract_tb(error.__traceback__)
        # One that tyro raised, as of a word where a number is meant, it tells better itself.
        if type(error) in (ValueError, TypeError) and trace[-1].filename.startswith(package):
            return error  # pyrefly: ignore[bad-return]
        error = error.__context__
    return None


def _run(config: Any) -> int:
    from loren_jax.train.commands import RunCommand
    from loren_jax.train.config import CompareConfig, EvaluateConfig, PredictConfig

    if isinstance(config, RunCommand):
        return config.run()
    if isinstance(config, ListOptimizers):
        return _list_optimizers()
    if isinstance(config, CompareConfig):
        return _compare(config)
    if isinstance(config, EvaluateConfig):
        return _evaluate(config)
    if isinstance(config, PredictConfig):
        return _predict(config)
    return _train(config)


def _train(command: Any) -> int:
    from loren_jax.runs.processes import first
    from loren_jax.train.devices import join_processes
    from loren_jax.train.run_commands import report
    from loren_jax.train.seeds import train_seeds
    from loren_jax.train.training import forecast, train

    config = command.configuration
    with join_processes(command.devices) as sizes:
        if command.guidance and first():
            print(command.guidance, file=sys.stderr)
        if command.dry_run:
            print(forecast(config, sizes).text)
            return 0
        return report((train if config.seeds is None else train_seeds)(config, sizes))


def _compare(config: Any) -> int:
    from loren_jax.reports import (
        comparison_rows,
        comparison_table,
        group_runs,
        plot_comparison,
        read_runs,
        write_table,
    )

    groups = group_runs(read_runs(config.runs))
    print(comparison_table(groups, _columns()))
    if config.table is not None:
        write_table(comparison_rows(groups), config.table)
        print(f"written: {config.table}")
    if config.output is not None:
        plot_comparison(groups, config.output)
        print(f"drawn: {config.output}")
    return 0


def _columns() -> int | None:
    """Letters of a line of the terminal; None where there is none, as in a pipe."""
    return shutil.get_terminal_size((0, 0)).columns or None


def _list_optimizers() -> int:
    from loren_jax.train.methods import methods_table

    print(methods_table(_columns()))
    print("\nK directions; N trained parameters, m x n those of a matrix, of which")
    print("`train --optimizer NAME --help` tells the rank r and every other option.")
    return 0


def _evaluate(config: Any) -> int:
    from loren_jax.reports.class_scores import BY_CLASS, class_table
    from loren_jax.train.evaluation import evaluate

    found = evaluate(config)
    scores = dict(found.scores)
    by_class = scores.pop(BY_CLASS, None)
    print(f"examples           {scores.pop('examples')}")
    loss = scores.pop("loss")
    for name, value in scores.items():
        print(f"{name:<19}{_shown(value) if isinstance(value, float) else value}")
    print(f"mean loss          {_shown(loss)}")
    if by_class is None:
        return 0
    print(f"majority baseline  {found.majority_accuracy:.4f}")
    low, high = by_class["accuracy_interval"]
    print(f"accuracy, 95 %     {low:.4f} to {high:.4f}")
    print("\n".join(class_table(by_class)))
    return 0


def _shown(value: float) -> str:
    """Four places, or four digits of what is very large, as perplexities of a lost model are."""
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"


def _predict(config: Any) -> int:
    from loren_jax.train.prediction import predict, write_rows

    rows = predict(config).rows()
    write_rows(rows, config.output)
    if config.output is not None:
        print(f"{config.output}: {len(rows)} answers")
    return 0


def _as_typed(message: str) -> str:
    from loren_jax.train.command_line import as_typed

    return as_typed(message)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
