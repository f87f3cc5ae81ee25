"""What every objective is asked with: model, data, batches, and which parameters are trained."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from loren_jax.arguments import count, positive
from loren_jax.tasks import TASKS, Protocol, Rows

TARGETS = ("*/attention/*/kernel",)
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Of language models, the one that is trained where none is named."""

HELD_OUT = 100
"""Held-out texts where nobody says how many, or a fifth of all if that is less."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """What is asked of any model.

    Attributes:
      model: A model's directory or file, the directory of a run, or a name on the Hub.
      batch_size: Examples per step; all forward passes of a step see the same ones.
      micro_batch_size: Examples that a forward pass computes at a time, so that a large batch
        fits a small device; by default the whole batch.
      train_examples: Examples to train on, drawn by the seed; None for all that are left.
      held_out_examples: Examples to evaluate on, never trained on; None for all that are left.
        With a protocol only for data without a validation split of its own.
      held_out_data: Where held-out examples come from; by default a part of the same data.
      columns: Column names of a TSV or CSV file without a header.
      dtype: Element type of the parameters. bfloat16 swallows small updates.
      quantise: Keep what is not trained in few bits, which become floats where they are used:
        matrices as the `file` has them, or packed when they are read: `int8` or `int4` in
        blocks of 32, `bfloat16` or `float16`. What is trained stays float32: adapters, or what
        `trainable` names, or without both the scales of the blocks (`*/scales`) and a head.
      lora_rank: Train low-rank adapters of this rank beside frozen matrices; merged at the end.
      lora_targets: With lora_rank, the matrices to adapt: names of modules, such as `query value`
        or `q_proj v_proj`, or patterns of paths.
      lora_alpha: With lora_rank, adapters are scaled by lora_alpha / lora_rank; by default by 1.
      eval_batch_size: Examples per forward pass of an evaluation.
      seed: Of the data's draw, the batches, a new head and the perturbations.
    """

    OBJECTIVE: ClassVar[str]
    """What `--objective` calls it."""

    model: str
    data: str
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
    dtype: Literal["float32", "bfloat16"] = "float32"
    trainable: tuple[str, ...] | None = None
    quantise: Literal["file", "int8", "int4", "bfloat16", "float16"] | None = None
    lora_rank: int | None = None
    lora_targets: tuple[str, ...] = TARGETS
    lora_alpha: float | None = None
    eval_batch_size: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("batch_size", "dev_examples", "eval_batch_size"):
            count(name, getattr(self, name))
        optional = ("micro_batch_size", "train_examples", "held_out_examples", "max_length")
        for name in (*optional, "lora_rank"):
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
        if self.lora_rank is None and self.lora_targets != TARGETS:
            raise ValueError("lora_targets chooses what to adapt: give lora_rank too.")
        named = self.lora_rank is not None or self.trainable is not None
        if self.quantise in ("bfloat16", "float16") and not named:
            raise ValueError(
                f"quantise {self.quantise} has no scales to train: give lora_rank or trainable."
            )
        if self.lora_alpha is not None:
            positive("lora_alpha", self.lora_alpha)
            if self.lora_rank is None:
                raise ValueError("lora_alpha scales adapters: give lora_rank too.")

    @property
    def rules(self) -> Protocol | None:
        """The protocol that counts; None where there is none."""
        return None

    @property
    def follows_inputs(self) -> bool:
        """Whether the optimiser's directions lie along the inputs of the matrices."""
        return False


def resolve_path(name: str, text: str) -> str:
    """What an option says, a local path as it was meant, also for who goes on from elsewhere.

    >>> resolve_path("data", "sst2")
    'sst2'
    """
    task = name == "data" and text in TASKS
    return os.path.abspath(text) if os.path.exists(text) and not task else text


def take_plain(config: Any) -> None:
    """Takes text where a path is meant, and one word where several may be; refuses what is no text.

    As the command line does, which knows the types; a caller in Python writes what reads
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


def length_limit(asked: int | None, default: int, positions: int | None) -> int:
    """The longest input in tokens, which a model's position table bounds, if it has one.

    >>> length_limit(None, 128, 512), length_limit(None, 128, 16), length_limit(20, 128, None)
    (128, 16, 20)
    """
    if asked is None:
        return default if positions is None else min(default, positions)
    if positions is not None and asked > positions:
        raise ValueError(
            f"max_length is {asked}, but the model has {positions} positions; give at most "
            f"{positions}, or another model"
        )
    return asked
