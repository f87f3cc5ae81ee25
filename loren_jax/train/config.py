"""What a run is: plain frozen dataclasses, checked when they are made.

They know nothing of the command line, which is built from them: every attribute is an option of
the same name, and its description is the option's help.
"""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from loren_jax.arguments import count
from loren_jax.train.methods import MethodOptions, method_name

Options = TypeVar("Options", bound=MethodOptions)


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Generic[Options]):
    """One training run.

    Attributes:
        optimizer: The options that this optimiser has.
        model: A Hugging Face directory, `minilm`, or the name of a model on the Hub.
        data: A .tsv, .csv, .json or .jsonl file, `reviews`, or a Hub data set like
            `nyu-mll/glue:sst2`.
        output: Directory to write; by default runs/OPTIMIZER-MODEL-DATA-seedSEED.
        overwrite: Replace the run that the output directory holds.
        steps: Optimiser steps.
        batch_size: Examples per step; all forward passes of a step see the same ones.
        micro_batch_size: Examples that a forward pass computes at a time, so that a large batch
            fits a small device; by default the whole batch.
        max_length: Longest text in tokens; the rest is cut.
        train_examples: Examples to train on, drawn by the seed; None for all that are left.
        held_out_examples: Examples to evaluate on, never trained on; None for all that are left.
        held_out_data: Where held-out examples come from; by default a part of the same data.
        columns: Column names of a TSV or CSV file without a header.
        text_columns: Column of the text, or the two of a pair; by default found by name.
        label_column: Column of the label.
        pooling: How token vectors become one: `cls` or `mean`; by default as the model says.
        dtype: Element type of the parameters. bfloat16 swallows small updates.
        trainable: Patterns of the parameters to train, such as 'classifier/*' 'layers/*/bias';
            the rest is frozen.
        schedule: Whether the learning rate is constant or falls linearly to zero.
        eval_every: Steps between evaluations; the first and the last step are always evaluated.
        eval_batch_size: Examples per forward pass of an evaluation.
        max_dead_steps: Give up after so many steps in a row without a single finite loss.
        seed: Of the data's draw, the batches, a new head and the perturbations.
    """

    optimizer: Options
    model: str = "minilm"
    data: str = "reviews"
    output: Path | None = None
    overwrite: bool = False
    steps: int = 100
    batch_size: int = 16
    micro_batch_size: int | None = None
    max_length: int = 64
    train_examples: int | None = 512
    held_out_examples: int | None = 500
    held_out_data: str | None = None
    columns: tuple[str, ...] | None = None
    text_columns: tuple[str, ...] | None = None
    label_column: str = "label"
    pooling: Literal["cls", "mean"] | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    trainable: tuple[str, ...] = ("*",)
    schedule: Literal["constant", "linear"] = "constant"
    eval_every: int = 50
    eval_batch_size: int = 100
    max_dead_steps: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "batch_size",
            "max_length",
            "eval_every",
            "eval_batch_size",
            "max_dead_steps",
        ):
            count(name, getattr(self, name))
        for name in ("micro_batch_size", "train_examples", "held_out_examples"):
            if getattr(self, name) is not None:
                count(name, getattr(self, name))
        count("seed", self.seed, 0)
        if self.train_examples is not None and self.batch_size > self.train_examples:
            raise ValueError(
                f"batch_size is {self.batch_size}, but there are only {self.train_examples} "
                "training examples: lower batch_size or raise train_examples."
            )
        if not self.trainable:
            raise ValueError(
                "trainable is empty, so nothing would be trained: give patterns such as '*' (all) "
                "or 'classifier/*'."
            )
        method_name(self.optimizer)

    @property
    def method(self) -> str:
        """Name of the optimiser."""
        return method_name(self.optimizer)

    @property
    def directory(self) -> Path:
        """The output directory, also where none was given."""
        if self.output is not None:
            return self.output
        names = (self.method, Path(self.model).name, Path(self.data).stem, f"seed{self.seed}")
        return Path("runs") / "-".join(re.sub(r"[^\w.]+", "_", name) for name in names)

    def as_json(self) -> dict[str, Any]:
        """The configuration as JSON values, with the optimiser's name among its options."""
        values = dataclasses.asdict(self)
        values["output"] = str(self.directory)
        values["optimizer"] = {"name": self.method, **values["optimizer"]}
        return values


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """One evaluation of a fine-tuned model.

    Attributes:
        model: Directory of the model, such as the `model` folder of a run.
        data: A .tsv, .csv, .json or .jsonl file, `reviews`, or a Hub data set.
        split: Split of a Hub data set; `validation` by default.
        held_out: Evaluate only what `train` holds out of this data with the same train_examples,
            held_out_examples and seed; otherwise all of the data.
        train_examples: See `train`; only with held_out.
        held_out_examples: See `train`; only with held_out.
        seed: See `train`; only with held_out.
        columns: Column names of a TSV or CSV file without a header.
        text_columns: Column of the text, or the two of a pair; by default found by name.
        label_column: Column of the label.
        max_length: Longest text in tokens; the rest is cut. Give what the training was given.
        batch_size: Examples per forward pass.
    """

    model: str
    data: str = "reviews"
    split: str | None = None
    held_out: bool = False
    train_examples: int | None = 512
    held_out_examples: int | None = 500
    seed: int = 0
    columns: tuple[str, ...] | None = None
    text_columns: tuple[str, ...] | None = None
    label_column: str = "label"
    max_length: int = 64
    batch_size: int = 100

    def __post_init__(self) -> None:
        count("max_length", self.max_length)
        count("batch_size", self.batch_size)
        count("seed", self.seed, 0)
        if self.held_out and self.split is not None:
            raise ValueError(
                f"split is {self.split!r}, but held_out takes the split that `train` takes: give "
                "one of the two."
            )
