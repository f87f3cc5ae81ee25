"""What a run is: plain frozen dataclasses, checked when they are made.

They know nothing of the command line, which is built from them: every attribute is an option of
the same name, and its description is the option's help.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from loren_jax.arguments import count, non_negative, positive
from loren_jax.journal import earlier
from loren_jax.tasks import PROTOCOLS, TASKS, Prompt, Protocol
from loren_jax.train.methods import MethodOptions, along_inputs, method_name, options_named

Options = TypeVar("Options", bound=MethodOptions)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Generic[Options]):
    """One training run.

    Attributes:
        optimizer: The options that this optimiser has.
        model: A Hugging Face directory, or the name of a model on the Hub.
        data: A task (mnli, qnli, sst2, cola, rte, boolq, wic, cb), a .tsv, .csv, .json or .jsonl
            file, or a Hub data set like `nyu-mll/glue:sst2`.
        data_dir: Folder that holds a folder of the task's name with its files; by default the
            task comes from the Hub.
        protocol: `paper` (first 512 and 256 rows, best validation accuracy) or `clean` (drawn
            rows, best of a dev split, the whole validation set scored once as test). A task has
            `clean` by default; other data is trained to the end and scored on held-out examples.
        output: Directory to write; by default runs/OPTIMIZER-MODEL-DATA-seedSEED.
        overwrite: Replace the run that the output directory holds.
        steps: Optimiser steps.
        batch_size: Examples per step; all forward passes of a step see the same ones.
        micro_batch_size: Examples that a forward pass computes at a time, so that a large batch
            fits a small device; by default the whole batch.
        max_length: Longest text in tokens; the rest is cut. By default 128 with a protocol, else
            64, and never more than the model has positions.
        train_examples: Examples to train on, drawn by the seed; None for all that are left.
        dev_examples: With a protocol, examples that the evaluations see, the best of which selects.
        held_out_examples: Examples to evaluate on, never trained on; None for all that are left.
            With a protocol only for data without a validation split of its own.
        held_out_data: Where held-out examples come from; by default a part of the same data.
        columns: Column names of a TSV or CSV file without a header.
        text_columns: Column of the text, or the two of a pair; by default found by name.
        label_column: Column of the label.
        prompt: Train a language model to answer the task's prompt, instead of a new head.
        template: With prompt, a template like '{sentence} It was {answer}.', instead of the task's.
        words: With prompt, the answer of every class, in the order of the labels.
        pooling: How token vectors become one: `cls` or `mean`; by default as the model says.
        dtype: Element type of the parameters. bfloat16 swallows small updates.
        trainable: Patterns of the parameters to train, such as 'classifier/*' 'layers/*/bias';
            the rest is frozen. By default all; with adapters the classification head alone.
        input_directions: For input_subspace, which takes loren's place by itself: perturb matrices
            along so many principal directions of their inputs, found on the training texts before
            the first step; try 10 for a head, 64 with an input_power of 1 for whole models.
        input_power: With input_directions, how a direction's variance follows that of the inputs:
            0 for all alike, 1 in proportion.
        lora_rank: Train low-rank adapters of this rank beside frozen matrices; merged at the end.
        lora_targets: With lora_rank, patterns of the matrices to adapt.
        lora_alpha: With lora_rank, adapters are scaled by lora_alpha / lora_rank; by default by 1.
        schedule: Whether the learning rate is constant or falls to zero, `linear` or as a `cosine`.
        warmup_steps: Steps in which the learning rate first rises.
        eval_every: Steps between evaluations; the first and the last step are always evaluated.
        patience: With a protocol, evaluations without a better score after which to stop.
        eval_batch_size: Examples per forward pass of an evaluation.
        max_dead_steps: Give up after so many steps in a row without a single finite loss.
        keyframe_every: Steps between keyframes, from which a resumed run need not replay.
        fsync_every: Steps between journal writes that survive a crash of the machine, not only
            one of the process.
        seed: Of the data's draw, the batches, a new head and the perturbations.
        seeds: Several runs, one for each of these seeds, and their mean and standard deviation.
    """

    optimizer: Options
    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    data: str = "sst2"
    data_dir: Path | None = None
    protocol: Literal["paper", "clean"] | None = None
    output: Path | None = None
    overwrite: bool = False
    steps: int = 100
    batch_size: int = 16
    micro_batch_size: int | None = None
    max_length: int | None = None
    train_examples: int | None = 512
    dev_examples: int = 256
    held_out_examples: int | None = 500
    held_out_data: str | None = None
    columns: tuple[str, ...] | None = None
    text_columns: tuple[str, ...] | None = None
    label_column: str = "label"
    prompt: bool = False
    template: str | None = None
    words: tuple[str, ...] | None = None
    pooling: Literal["cls", "mean"] | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    trainable: tuple[str, ...] | None = None
    input_directions: int | None = None
    input_power: float = 0.0
    lora_rank: int | None = None
    lora_targets: tuple[str, ...] = ("*/attention/*/kernel",)
    lora_alpha: float | None = None
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = 0
    eval_every: int = 50
    patience: int | None = None
    eval_batch_size: int = 100
    max_dead_steps: int = 10
    keyframe_every: int = 100
    fsync_every: int = 1
    seed: int = 0
    seeds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        _take_plain(self)
        for name in (
            "steps",
            "batch_size",
            "dev_examples",
            "eval_every",
            "eval_batch_size",
            "max_dead_steps",
            "keyframe_every",
            "fsync_every",
        ):
            count(name, getattr(self, name))
        optional = ("micro_batch_size", "train_examples", "held_out_examples", "max_length")
        for name in (*optional, "patience", "lora_rank", "input_directions"):
            if getattr(self, name) is not None:
                count(name, getattr(self, name))
        for name in ("seed", "warmup_steps"):
            count(name, getattr(self, name), 0)
        if self.train_examples is not None and self.batch_size > self.train_examples:
            raise ValueError(
                f"batch_size is {self.batch_size}, but there are only {self.train_examples} "
                "training examples: lower batch_size or raise train_examples."
            )
        if self.trainable is not None and not self.trainable:
            raise ValueError(
                "trainable is empty, so nothing would be trained: give patterns such as '*' (all) "
                "or 'classifier/*'."
            )
        method_name(self.optimizer)
        if self.lora_alpha is not None:
            positive("lora_alpha", self.lora_alpha)
            if self.lora_rank is None:
                raise ValueError("lora_alpha scales adapters: give lora_rank too.")
        self._check_seeds()
        self._check_selection()
        self._check_input_directions()
        _check_prompt(self)

    def _check_seeds(self) -> None:
        for seed in self.seeds or ():
            count("seeds", seed, 0)
        if self.seeds is not None and len(set(self.seeds)) < max(1, len(self.seeds)):
            raise ValueError(f"seeds is {self.seeds}: give one or more, each only once.")
        if self.seeds is not None and self.seed != 0:
            raise ValueError(f"seed is {self.seed} and seeds {self.seeds}: give one of the two.")

    def _check_selection(self) -> None:
        if self.patience is not None and self.rules is None:
            raise ValueError(
                "patience needs a split that may select: stopping by the score on held-out "
                "examples would flatter it. Give --protocol clean."
            )
        if self.warmup_steps >= self.steps:
            raise ValueError(
                f"warmup_steps is {self.warmup_steps}, but there are only {self.steps} steps."
            )

    def _check_input_directions(self) -> None:
        non_negative("input_power", self.input_power)
        if self.input_directions is None:
            if self.input_power:
                raise ValueError("input_power is of input directions: give input_directions too.")
            if self.method == "input_subspace":
                raise ValueError(
                    "input_subspace has no directions: give input_directions too, such as 10."
                )
            return
        if self.lora_rank is not None:
            raise ValueError(
                "input_directions are of the model's own matrices, which adapters do not train: "
                "give input_directions or lora_rank."
            )
        object.__setattr__(self, "optimizer", along_inputs(self.optimizer))

    @property
    def rules(self) -> Protocol | None:
        """The protocol that counts: the one asked for, else `clean` for a task."""
        name = self.protocol or ("clean" if self.data in TASKS else None)
        return None if name is None else PROTOCOLS[name]

    @property
    def prompting(self) -> Prompt | None:
        """The prompt that counts: the task's, with what the options replace of it."""
        return _prompt(self) if self.prompt else None

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
        names = (self.method, Path(self.model).name, Path(self.data).stem, last)
        return Path("runs") / "-".join(re.sub(r"[^\w.]+", "_", name) for name in names)

    def as_json(self) -> dict[str, Any]:
        """The configuration as JSON values, with the optimiser's name among its options."""
        values = dataclasses.asdict(self)
        values["output"] = str(self.directory)
        values["data_dir"] = None if self.data_dir is None else str(self.data_dir)
        values["protocol"] = None if self.rules is None else self.rules.name
        values["optimizer"] = {"name": self.method, **values["optimizer"]}
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The inverse of `as_json`, of values that were read from a file.

        Args:
            values: The configuration.

        Returns:
            One that describes the same run.

        Raises:
            ValueError: If it names something that this version does not know.
        """
        values = _with_tuples(values)
        options = _with_tuples(values.pop("optimizer"))
        along = values.get("input_directions") is not None
        name, options = earlier.translated(options.pop("name"), options, factors=along)
        if name in earlier.METHODS:
            raise ValueError(
                f"a run of {name} can be replayed and exported, as its journal says all, but this "
                "version of loren_jax trains no more of them"
            )
        options_type = options_named(name)
        for name in ("output", "data_dir"):
            values[name] = None if values[name] is None else Path(values[name])
        try:
            return cls(optimizer=options_type(**options), **values)
        except TypeError as error:
            raise ValueError(
                f"the configuration is of another version of loren_jax: {error}"
            ) from error


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """One evaluation of a fine-tuned model.

    Attributes:
        model: Directory of the model, such as the `model` folder of a run.
        data: A task, a .tsv, .csv, .json or .jsonl file, or a Hub data set.
        data_dir: Folder that holds a folder of the task's name with its files; by default the
            task comes from the Hub.
        split: Split of a Hub data set; `validation` by default.
        held_out: Evaluate only what `train` holds out of this data with the same train_examples,
            held_out_examples and seed; otherwise all of the data.
        train_examples: See `train`; only with held_out.
        held_out_examples: See `train`; only with held_out.
        seed: See `train`; only with held_out.
        columns: Column names of a TSV or CSV file without a header.
        text_columns: Column of the text, or the two of a pair; by default found by name.
        label_column: Column of the label.
        max_length: Longest text in tokens; the rest is cut. Give what the training was given; by
            default 128 for a task, else 64, and never more than the model has positions.
        batch_size: Examples per forward pass.
    """

    model: str
    data: str = "sst2"
    data_dir: Path | None = None
    split: str | None = None
    held_out: bool = False
    train_examples: int | None = 512
    held_out_examples: int | None = 500
    seed: int = 0
    columns: tuple[str, ...] | None = None
    text_columns: tuple[str, ...] | None = None
    label_column: str = "label"
    max_length: int | None = None
    batch_size: int = 100

    def __post_init__(self) -> None:
        _take_plain(self)
        if self.max_length is not None:
            count("max_length", self.max_length)
        count("batch_size", self.batch_size)
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
class CompareConfig:
    """One comparison of runs.

    Attributes:
        runs: Directories of runs, or of the runs of several seeds.
        output: The PNG file to draw; None for the table alone.
    """

    runs: tuple[Path, ...]
    output: Path | None = Path("comparison.png")

    def __post_init__(self) -> None:
        _take_plain(self)
        if not self.runs:
            raise ValueError("runs is empty: name the directories of one or more runs.")


def _take_plain(config: Any) -> None:
    """Takes text where a path is meant, and one word where several may be; refuses what is no text.

    As the command line does, which knows the types; whoever calls from Python writes what reads
    best.
    """
    for field in dataclasses.fields(config):
        value, kind = getattr(config, field.name), str(field.type)
        if "tuple" in kind and isinstance(value, str | Path | int):
            value = (value,)
        elif "tuple" in kind and isinstance(value, list):
            value = tuple(value)
        if "Path" in kind and "tuple" in kind:
            value = tuple(map(Path, value))
        elif "Path" in kind and isinstance(value, str):
            value = Path(value)
        elif field.name in ("data", "model", "held_out_data"):
            value = _as_text(field.name, value)
        object.__setattr__(config, field.name, value)


def _as_text(name: str, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if value is not None and not isinstance(value, str):
        remedy = "give a name or the path of a file or folder"
        if name != "model":
            remedy = f"write it to a .csv or .jsonl file and give {name} its path"
        raise TypeError(f"{name} must be text, got a {type(value).__name__}: {remedy}.")
    return value


def _with_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values with tuples, as a configuration has them, in place of lists."""
    return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}


def _check_prompt(config: TrainConfig) -> None:
    if not config.prompt:
        for name in ("template", "words"):
            if getattr(config, name) is not None:
                raise ValueError(f"{name} is part of a prompt: give --prompt too.")
        return
    if config.pooling is not None:
        raise ValueError("pooling is for a classifier's head: a prompted model has none.")
    if config.text_columns is not None:
        raise ValueError("text_columns is given, but a prompt's template names its columns itself.")
    _prompt(config)


def _prompt(config: TrainConfig) -> Prompt:
    own = TASKS[config.data].prompt if config.data in TASKS else None
    if own is None and (config.template is None or config.words is None):
        raise ValueError(
            f"prompt: {config.data} is no task with a prompt of its own; give --template and "
            "--words"
        )
    template = config.template or getattr(own, "template", "")
    words = config.words or getattr(own, "words", ())
    if own is not None and len(words) != len(own.words):
        raise ValueError(
            f"words: {config.data} has {len(own.words)} classes, but there are {len(words)} answers"
        )
    return Prompt(template, words)
