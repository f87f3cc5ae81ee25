"""What a run is: plain frozen dataclasses, checked when they are made.

They know nothing of the command line, which is built from them: every attribute is an option of
the same name, and its description is the option's help.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from loren_jax.arguments import count, positive
from loren_jax.journal import earlier
from loren_jax.objectives.config import DATA, ClassificationConfig
from loren_jax.objectives.reward_config import RewardConfig
from loren_jax.objectives.shared_config import ObjectiveConfig, resolve_path, take_plain
from loren_jax.objectives.text_config import TextConfig
from loren_jax.reports.tables import require_kind
from loren_jax.reports.trackers import TRACKERS
from loren_jax.tasks import TASKS
from loren_jax.tasks.rewards import absolute
from loren_jax.train.methods import MethodOptions, along_inputs, method_name, options_named
from loren_jax.train.rates import require_automatic, settled

Options = TypeVar("Options", bound=MethodOptions)

STEPS = 100
_RENAMED = {"keyframe_every": "checkpoint_every", "max_dead_steps": "max_nonfinite_steps"}
"""What runs of 0.1 called some of the options."""


# A run has no field of an objective's; the configurations below have those of one.
_Asked = ObjectiveConfig if TYPE_CHECKING else object


@dataclass(frozen=True, kw_only=True)
class RunConfig(Generic[Options], _Asked):
    """How any objective is trained.

    Attributes:
      optimizer: The options that this optimiser has.
      output: Directory to write; by default runs/OPTIMIZER-MODEL-DATA-lrRATE-seedSEED.
      overwrite: Replace the run that the output directory holds.
      steps: Optimiser steps.
      epochs: Passes over the training data, in place of steps.
      schedule: Whether the learning rate is constant or falls to zero, `linear` or as a `cosine`;
        `automatic` needs none: 76 forward passes, or 81 beside a new head, find how long the steps
        may be. By default that where no learning rate is given, and else constant.
      warmup_steps: Steps in which the learning rate first rises.
      eval_every: Steps between evaluations; the first and the last step are always evaluated.
      patience: Evaluations without a better score after which to stop; keeps the best.
      max_nonfinite_steps: Give up after so many steps in a row without a single finite loss.
      checkpoint_every: Steps between checkpoints, from which a resumed run need not replay.
      fsync_every: Steps between journal writes that survive a crash of the machine, not only
        one of the process.
      report_to: Other programs that show the run as it goes: tensorboard (by tensorboardX,
        written to the run's directory), wandb.
      seeds: Several runs, one for each of these seeds, and their mean and standard deviation.
    """

    optimizer: Options
    output: Path | None = None
    overwrite: bool = False
    steps: int = STEPS
    epochs: float | None = None
    schedule: Literal["constant", "linear", "cosine", "automatic"] | None = None
    warmup_steps: int = 0
    eval_every: int = 50
    patience: int | None = None
    max_nonfinite_steps: int = 10
    checkpoint_every: int = 100
    fsync_every: int = 1
    report_to: tuple[Literal["tensorboard", "wandb"], ...] = ()
    seeds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        take_plain(self)
        counts = ("steps", "eval_every", "max_nonfinite_steps", "checkpoint_every", "fsync_every")
        for name in counts:
            count(name, getattr(self, name))
        if self.patience is not None:
            count("patience", self.patience)
        count("warmup_steps", self.warmup_steps, 0)
        if self.epochs is not None:
            positive("epochs", self.epochs)
            if self.steps != STEPS:
                raise ValueError(
                    f"steps is {self.steps} and epochs {self.epochs}: give one of the two."
                )
        if (
            self.patience is not None
            and self.keep == "last"
            and not getattr(self, "protocol", None)
        ):
            object.__setattr__(self, "keep", "best")
        for name in self.report_to:
            if name not in TRACKERS:
                raise ValueError(f"report_to is {name!r}: give {' or '.join(TRACKERS)}.")
        super().__post_init__()
        method_name(self.optimizer)
        self._check_seeds()
        self._check_warmup()
        if self.follows_inputs:
            object.__setattr__(self, "optimizer", along_inputs(self.optimizer))
        elif self.method == "input_subspace":
            raise ValueError(
                "input_subspace has no directions: give input_directions too, such as 10."
            )
        if self.schedule == "automatic":
            require_automatic(self)

    def _check_seeds(self) -> None:
        for seed in self.seeds or ():
            count("seeds", seed, 0)
        if self.seeds is not None and len(set(self.seeds)) < max(1, len(self.seeds)):
            raise ValueError(f"seeds is {self.seeds}: give one or more, each only once.")
        if self.seeds is not None and self.seed != 0:
            raise ValueError(f"seed is {self.seed} and seeds {self.seeds}: give one of the two.")

    def _check_warmup(self) -> None:
        if self.epochs is None and self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}, but there are only {self.steps} steps: give "
                "fewer, or more steps."
            )

    @property
    def method(self) -> str:
        """Name of the optimiser."""
        return method_name(self.optimizer)

    @property
    def directory(self) -> Path:
        """The output directory, also where none was given."""
        if self.output is not None:
            return self.output
        last = f"seed{self.seed}" if self.seeds is None else "seeds"
        rate = self.optimizer.learning_rate  # pyrefly: ignore[missing-attribute]
        rate = "lrauto" if rate is None else f"lr{rate:g}"
        names = (self.method, Path(self.model).name, Path(self.data).name, rate, last)
        return Path("runs") / "-".join(re.sub(r"[^\w.]+", "_", name) for name in names)

    def resolve(self, *, batches: int, trained_parameters: int) -> "RunConfig":
        """The configuration with what only model and data can say: rate and steps.

        `batches` are those of an epoch.
        """
        schedule, rate = settled(self, trained_parameters)
        options: Any = dataclasses.replace(self.optimizer, learning_rate=rate)  # pyrefly: ignore
        config = dataclasses.replace(self, optimizer=options, schedule=schedule)
        if self.epochs is not None:
            steps = max(1, round(self.epochs * batches))
            config = dataclasses.replace(config, steps=steps, epochs=None)
        # The run is where it was to be, whatever its rate is called now.
        return dataclasses.replace(config, output=self.directory)

    def as_json(self) -> dict[str, Any]:
        """The configuration as JSON values, with the optimiser's name among its options."""
        values = dataclasses.asdict(self)
        values["output"] = str(self.directory.absolute())
        for name in {"model", "data", "data_dir", "held_out_data"} & values.keys():
            given = values[name]
            values[name] = None if given is None else resolve_path(name, str(given))
        if "protocol" in values:
            values["protocol"] = None if self.rules is None else self.rules.name
        values["optimizer"] = {"name": self.method, **values["optimizer"]}
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "RunConfig":
        """The inverse of `as_json`, of values that were read from a file.

        Args:
          values: The configuration.

        Returns:
          One that describes the same run.

        Raises:
          ValueError: If it names something that this version does not know.
        """
        values = {_RENAMED.get(n, n): value for n, value in _with_tuples(values).items()}
        places = {"output", "data_dir"} & {field.name for field in dataclasses.fields(cls)}
        for needed in ("optimizer", *sorted(places)):
            if needed not in values:
                raise ValueError(f"the configuration has no {needed!r}; it is damaged")
        options = _with_tuples(values.pop("optimizer"))
        along = values.get("input_directions") is not None
        name, options = earlier.translate(options.pop("name"), options, factors=along)
        if name in earlier.METHODS:
            raise ValueError(
                f"a run of {name} can be replayed and exported, as its journal says all, but this "
                "version of loren_jax trains no more of them"
            )
        options_type = options_named(name)
        for name in places:
            values[name] = None if values[name] is None else Path(values[name])
        try:
            return cls(optimizer=options_type(**options), **values)
        except TypeError as error:
            raise ValueError(
                f"the configuration is of another version of loren_jax: {error}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class TrainConfig(RunConfig[Options], ClassificationConfig):
    """One training run of a classifier; its attributes are those of both parents."""


@dataclass(frozen=True, kw_only=True)
class TrainTextConfig(RunConfig[Options], TextConfig):
    """One training run of a language model; its attributes are those of both parents."""

    def as_json(self) -> dict[str, Any]:
        """See `RunConfig`; with the objective's name, which a classification leaves out."""
        return {"objective": self.OBJECTIVE, **super().as_json()}


@dataclass(frozen=True, kw_only=True)
class TrainRewardConfig(RunConfig[Options], RewardConfig):
    """One training run on a reward; its attributes are those of both parents."""

    def resolve(self, *, batches: int, trained_parameters: int) -> "TrainRewardConfig":
        """See `RunConfig`; where nobody says how many queries run at a time, all do.

        Each token of an answer reads all weights: what takes time is how often, whoever answers.
        """
        config: Any = super().resolve(batches=batches, trained_parameters=trained_parameters)
        options: Any = config.optimizer
        if getattr(options, "chunk_size", 0) is None:
            options = dataclasses.replace(options, chunk_size=options.passes())
            config = dataclasses.replace(config, optimizer=options)
        return config

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline is not None and self.report_to:
            raise ValueError(
                "baseline best-of takes no steps that could be shown: leave report_to away."
            )

    def as_json(self) -> dict[str, Any]:
        """See `RunConfig`; with the objective's name, which a classification leaves out."""
        values = {"objective": self.OBJECTIVE, **super().as_json()}
        return values | {"reward": absolute(self.reward)}


_KINDS = (TrainConfig, TrainTextConfig, TrainRewardConfig)
CONFIGS: Mapping[str, Any] = {kind.OBJECTIVE: kind for kind in _KINDS}
"""The configurations of a run by the name of its objective."""


def config_from_json(
    values: Mapping[str, Any],
) -> TrainConfig | TrainTextConfig | TrainRewardConfig:
    """The configuration that `as_json` of any of them gave.

    A ValueError says that it names something that this version does not know.
    """
    name = values.get("objective", TrainConfig.OBJECTIVE)
    return config_named(name).from_json({n: v for n, v in values.items() if n != "objective"})


def config_named(objective: str) -> Any:
    """The configuration of an objective's runs; a ValueError if there is none of the name.

    >>> config_named("text").__name__
    'TrainTextConfig'
    """
    if objective not in CONFIGS:
        raise ValueError(f"objective is {objective!r}: give one of {', '.join(CONFIGS)}.")
    return CONFIGS[objective]


@dataclass(frozen=True, kw_only=True)
class TextsConfig:
    """How a fine-tuned model reads texts.

    Attributes:
      columns: Column names of a TSV or CSV file without a header.
      text_columns: Column of the text, or the two of a pair; by default found by name.
      max_length: Longest text in tokens; the rest is cut. By default what the run of the model
        had; of a model without a run 128, and never more than it has positions.
      batch_size: Texts per forward pass.
    """

    columns: tuple[str, ...] | None = None
    text_columns: tuple[str, ...] | None = None
    max_length: int | None = None
    batch_size: int = 100

    def __post_init__(self) -> None:
        take_plain(self)
        if self.max_length is not None:
            count("max_length", self.max_length)
        count("batch_size", self.batch_size)


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(TextsConfig):
    """One evaluation of a fine-tuned model.

    Attributes:
      model: Directory of a run, or of a model.
      data: A file, a folder, a Hub data set or a task; see `train`.
      data_dir: Folder that holds a folder of the task's name with its files; by default the
        task comes from the Hub.
      split: Split of a Hub data set; `validation` by default.
      held_out: Evaluate only what `train` holds out of this data with the same train_examples,
        held_out_examples and seed, which a run says itself; otherwise all of the data.
      train_examples: See `train`; only with held_out, of a model that is no run's.
      held_out_examples: See `train`; only with held_out, of a model that is no run's.
      seed: See `train`; only with held_out, of a model that is no run's.
      label_column: Column of the label.
    """

    model: str
    data: str = DATA
    data_dir: Path | None = None
    split: str | None = None
    held_out: bool = False
    train_examples: int | None = 512
    held_out_examples: int | None = 500
    seed: int = 0
    label_column: str = "label"

    def __post_init__(self) -> None:
        super().__post_init__()
        count("seed", self.seed, 0)
        if self.held_out and self.split is not None:
            raise ValueError(
                f"split is {self.split!r}, but held_out takes the split that `train` takes: give "
                "one of the two."
            )
        if self.data in TASKS and (self.held_out or self.split is not None):
            raise ValueError(
                f"data is the task {self.data}, which is evaluated on its validation split: leave "
                "held_out and split out."
            )


@dataclass(frozen=True, kw_only=True)
class PredictConfig(TextsConfig):
    """One prediction with a fine-tuned model.

    Attributes:
      model: Directory of a run, or of a model.
      data: A file of texts (.csv, .tsv, .json, .jsonl, .parquet, .xlsx); a label column is not
        needed.
      output: The .csv or .jsonl file to write; by default CSV on standard output.
      max_new_tokens: Tokens of the answer of a language model at most; see `generate`.
    """

    model: str
    data: str
    output: Path | None = None
    max_new_tokens: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_new_tokens is not None:
            count("max_new_tokens", self.max_new_tokens)


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """One comparison of runs.

    Attributes:
      runs: Directories of runs, or of the runs of several seeds.
      output: The PNG, PDF or SVG file to draw; None for the table alone.
      table: The .csv, .md or .tex file to write the table to; None to print it alone.
    """

    runs: tuple[Path, ...]
    output: Path | None = Path("comparison.png")
    table: Path | None = None

    def __post_init__(self) -> None:
        take_plain(self)
        if self.table is not None:
            require_kind(self.table)
        if not self.runs:
            raise ValueError("runs is empty: name the directories of one or more runs.")


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values with tuples, as a configuration has them, in place of lists."""
    return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
