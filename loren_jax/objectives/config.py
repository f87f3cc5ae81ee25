"""What a classification is asked with: model, data, prompt, and which parameters are trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from loren_jax.arguments import count, non_negative
from loren_jax.objectives.shared_config import ObjectiveConfig
from loren_jax.tasks import PROTOCOLS, TASKS, Prompt, Protocol

MODEL, DATA = "sentence-transformers/all-MiniLM-L6-v2", "sst2"


@dataclass(frozen=True, kw_only=True)
class ClassificationConfig(ObjectiveConfig):
    """What is asked of a classifier.

    Attributes:
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
      max_length: Longest text in tokens; the rest is cut. By default 128 with a protocol, else
        64, and never more than the model has positions.
      dev_examples: With a protocol, examples that the evaluations see, the best of which selects.
      text_columns: Column of the text, or the two of a pair; by default found by name.
      label_column: Column of the label.
      prompt: Train a language model to answer the task's prompt, instead of a new head.
      template: With prompt, a template like '{sentence} It was {answer}.', instead of the task's.
      words: With prompt, the answer of every class, in the order of the labels.
      pooling: How tokens become one vector: `cls`, `mean` or `last`; by default the model's own.
      trainable: Patterns of the parameters to train, such as `layers/*/bias`, or `head` for the
        classification head; the rest is frozen. By default all; with adapters, and in a command
        without a learning rate, the head alone.
      input_directions: For input_subspace, which takes loren's place by itself: perturb matrices
        along so many principal directions of their inputs, found on the training texts before
        the first step; try 10 for a head, 16 with a prompt, 64 with an input_power of 1 for
        whole models.
      input_power: With input_directions, how a direction's variance follows that of the inputs:
        0 for all alike, 1 in proportion.
    """

    OBJECTIVE: ClassVar[str] = "classification"

    model: str = MODEL
    data: str = DATA
    data_dir: Path | None = None
    protocol: Literal["paper", "clean"] | None = None
    label_column: str = "label"
    prompt: bool = False
    template: str | None = None
    words: tuple[str, ...] | None = None
    pooling: Literal["cls", "mean", "last"] | None = None
    input_directions: int | None = None
    input_power: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_directions is not None:
            count("input_directions", self.input_directions)
        non_negative("input_power", self.input_power)
        if self.input_directions is None and self.input_power:
            raise ValueError("input_power is of input directions: give input_directions too.")
        if self.input_directions is not None and self.lora_rank is not None:
            raise ValueError(
                "input_directions are of the model's own matrices, which adapters do not train: "
                "give input_directions or lora_rank."
            )
        _check_prompt(self)

    @property
    def follows_inputs(self) -> bool:
        """Whether the optimiser's directions lie along the inputs of the matrices."""
        return self.input_directions is not None

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
