"""What a language model is asked with: texts, how they are written, and what of them is learned."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from loren_jax.arguments import count
from loren_jax.objectives.shared_config import HELD_OUT, MODEL, ObjectiveConfig
from loren_jax.tasks import TASKS


@dataclass(frozen=True, kw_only=True)
class TextConfig(ObjectiveConfig):
    """What is asked of a causal language model.

    Attributes:
      data: A file (.jsonl, .json, .csv, .tsv, .parquet, .xlsx), a folder with train.jsonl and
        test.jsonl, or a Hub data set, with the columns `messages` (or conversations), `prompt`
        and `completion` (or response, answer), `instruction`, `input` and `output`, or `text`.
      keep: Which parameters are kept, the `last`, or the `best` on a dev split that is drawn from
        the training texts; the held-out ones are then scored once, as test.
      max_length: Longest row in tokens; by default 512, and never more than the model has
        positions.
      train_examples: Texts to train on, drawn by the seed; by default all that are left.
      held_out_examples: Texts to evaluate on, never trained on; by default 100, or a fifth of all
        if that is less. None for all that are left.
      dev_examples: With keep best, texts that the evaluations see; at most a fifth of all.
      text_columns: Column of the messages or of the text, or the two of a prompt and its
        completion; by default found by name.
      template: How a dialogue is written: the model's `own` chat template, `plain` (User: ... and
        Assistant: ..., line by line) or `none` (what the turns say, one behind the other). By
        default its own, or plain for a model without one.
      loss_on: Whether the loss is of what the assistant says, the `completion`, or of `all`.
      long: Whether a dialogue that is too long is `cut`, from the left of its prompt, or left out
        (`drop`); how many are is said.
      packed: Lay plain texts end to end, in rows of max_length; by default each has its own.
      buckets: Rows are padded to so many different lengths, with one compiled program for each.
      generate: So many held-out prompts are answered at each evaluation, and compared with their
        completions.
      max_new_tokens: With generate, longest answer in tokens.
      trainable: Patterns of the parameters to train, such as `layers/*/bias`; the rest is frozen.
        By default all.
    """

    OBJECTIVE: ClassVar[str] = "text"

    model: str = MODEL
    train_examples: int | None = None
    held_out_examples: int | None = HELD_OUT
    batch_size: int = 8
    eval_batch_size: int = 16
    template: Literal["own", "plain", "none"] | None = None
    loss_on: Literal["completion", "all"] = "completion"
    long: Literal["cut", "drop"] = "cut"
    packed: bool = False
    buckets: int = 4
    generate: int = 0
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        count("buckets", self.buckets)
        count("max_new_tokens", self.max_new_tokens)
        count("generate", self.generate, 0)
        if self.data in TASKS:
            raise ValueError(
                f"data is the task {self.data}, of texts with a label: leave --objective away, or "
                "give a file of texts."
            )
