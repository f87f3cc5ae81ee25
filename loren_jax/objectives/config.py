"""What a classification is asked with: model, data, prompt, and which parameters are trained."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from loren_jax.arguments import count, non_negative, positive
from loren_jax.tasks import PROTOCOLS, TASKS, Prompt, Protocol, Rows

_TARGETS = ("*/attention/*/kernel",)
MODEL, DATA = "sentence-transformers/all-MiniLM-L6-v2", "sst2"


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig:
    """What is asked of a classifier.

    Attributes:
        model: A model's directory or file, the directory of a run, or a name on the Hub.
        data: A file (.csv, .tsv, .json, .jsonl, .parquet, .xlsx), a folder with train.csv and
            test.csv, a Hub data set like `nyu-mll/glue:sst2`, or a task (mnli, qnli, sst2, cola,
            rte, boolq, wic, cb).
        data_dir: Folder that holds a folder of the task's name with its files; by default the
            task comes from the Hub.
        protocol: `paper` (first 512 and 256 rows, best validation accuracy) or `clean` (drawn
            rows, best of a dev split, the whole validation set scored once as test). A task has
            `clean` by default; other data is trained to the end and scored on held-out examples.
        keep: Which parameters are kept, the `last`, or the `best` on a dev split that is drawn from
            the training examples, as `clean` has it.
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
        pooling: How tokens become one vector: `cls`, `mean` or `last`; by default the model's own.
        dtype: Element type of the parameters. bfloat16 swallows small updates.
        trainable: Patterns of the parameters to train, such as 'layers/*/bias', or `head` for the
            classification head; the rest is frozen. By default all; with adapters the head alone.
        input_directions: For input_subspace, which takes loren's place by itself: perturb matrices
            along so many principal directions of their inputs, found on the training texts before
            the first step; try 10 for a head, 64 with an input_power of 1 for whole models.
        input_power: With input_directions, how a direction's variance follows that of the inputs:
            0 for all alike, 1 in proportion.
        lora_rank: Train low-rank adapters of this rank beside frozen matrices; merged at the end.
        lora_targets: With lora_rank, the matrices to adapt: names of modules, such as `query value`
            or `q_proj v_proj`, or patterns of paths.
        lora_alpha: With lora_rank, adapters are scaled by lora_alpha / lora_rank; by default by 1.
        eval_batch_size: Examples per forward pass of an evaluation.
        seed: Of the data's draw, the batches, a new head and the perturbations.
    """

    model: str = MODEL
    data: str = DATA
    data_dir: Path | None = None
    protocol: Literal["paper", "clean"] | None = None
    keep: Literal["last", "best"] = "last"
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
    pooling: Literal["cls", "mean", "last"] | None = None
    dtype: Literal["float32", "bfloat16"] = "float32"
    trainable: tuple[str, ...] | None = None
    input_directions: int | None = None
    input_power: float = 0.0
    lora_rank: int | None = None
    lora_targets: tuple[str, ...] = _TARGETS
    lora_alpha: float | None = None
    eval_batch_size: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "dev_examples", "eval_batch_size"):
            count(name, getattr(self, name))
        optional = ("micro_batch_size", "train_examples", "held_out_examples", "max_length")
        for name in (*optional, "lora_rank", "input_directions"):
            if getattr(self, name) is not None:
                count(name, getattr(self, name))
        count("seed", self.seed, 0)
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
        self._check_adapters()
        _check_prompt(self)

    def _check_adapters(self) -> None:
        if self.lora_rank is None and self.lora_targets != _TARGETS:
            raise ValueError("lora_targets chooses what to adapt: give lora_rank too.")
        if self.lora_alpha is not None:
            positive("lora_alpha", self.lora_alpha)
            if self.lora_rank is None:
                raise ValueError("lora_alpha scales adapters: give lora_rank too.")
        non_negative("input_power", self.input_power)
        if self.input_directions is None and self.input_power:
            raise ValueError("input_power is of input directions: give input_directions too.")
        if self.input_directions is not None and self.lora_rank is not None:
            raise ValueError(
                "input_directions are of the model's own matrices, which adapters do not train: "
                "give input_directions or lora_rank."
            )

    @property
    def rules(self) -> Protocol | None:
        """The protocol that counts: the one asked for, else `clean` for a task or the best."""
        clean = self.data in TASKS or self.keep == "best"
        name = self.protocol or ("clean" if clean else None)
        return None if name is None else PROTOCOLS[name]

    @property
    def prompting(self) -> Prompt | None:
        """The prompt that counts: the task's, with what the options replace of it."""
        return _prompt(self) if self.prompt else None


def meant(name: str, text: str) -> str:
    """What an option says, a local path as it was meant, also for who goes on from elsewhere.

    Example:
        >>> meant("data", "sst2")
        'sst2'
    """
    task = name == "data" and text in TASKS
    return os.path.abspath(text) if os.path.exists(text) and not task else text


def take_plain(config: Any) -> None:
    """Takes text where a path is meant, and one word where several may be; refuses what is no text.

    As the command line does, which knows the types; whoever calls from Python writes what reads
    best. The configuration, which is being made, is changed.
    """
    for name, field in type(config).__dataclass_fields__.items():
        value, kind = getattr(config, name), str(field.type)
        if "tuple" in kind and isinstance(value, str | Path | int):
            value = (value,)
        elif "tuple" in kind and isinstance(value, list):
            value = tuple(value)
        if "Path" in kind and "tuple" in kind:
            value = tuple(map(Path, value))
        elif "Path" in kind and isinstance(value, str):
            value = Path(value)
        elif name in ("data", "model", "held_out_data"):
            value = _as_text(name, value)
        object.__setattr__(config, name, value)


def _as_text(name: str, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str):
        return value
    if name != "model" and Rows.has(value):
        return Rows.of(value)
    also = "" if name == "model" else ", a data frame or a datasets.Dataset"
    raise TypeError(
        f"{name} must be text, got a {type(value).__name__}: give a name, the path of a file or "
        f"folder{also}."
    )


def _check_prompt(config: ClassificationConfig) -> None:
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


def _prompt(config: ClassificationConfig) -> Prompt:
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
