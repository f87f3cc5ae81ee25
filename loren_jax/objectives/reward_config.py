"""What a language model is asked with whose answers are rewarded."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from loren_jax.arguments import count, fraction, positive
from loren_jax.models.sampling import Sampling
from loren_jax.objectives.shared_config import HELD_OUT, MODEL, ObjectiveConfig
from loren_jax.tasks import TASKS

VOTERS = 5


@dataclass(frozen=True, kw_only=True)
class RewardConfig(ObjectiveConfig):
    """What is asked of a causal language model whose answers are worth something.

    Attributes:
      reward: What an answer is worth: `exact`, `f1`, `numeric` (its last number), `countdown`,
        regex:PATTERN, length:WORDS, or FILE.py:FUNCTION, a function (prompt, answer, example)
        of your own that returns a number, the higher the better.
      data: Prompts: a file (.jsonl, .json, .csv, .tsv, .parquet, .xlsx), a folder or a Hub data
        set, with the columns `messages`, or `prompt`, `instruction` or `question`. The reward
        is given the whole row.
      keep: Which parameters are kept, the `last`, or the `best` on a dev split that is drawn from
        the training prompts; the held-out ones are then answered once, as test.
      max_length: Longest prompt in tokens; longer ones are cut from the left, and counted. By
        default 512, and never more than leaves room for an answer.
      batch_size: Prompts per step; each forward pass of a step answers all of them.
      train_examples: Prompts to train on, drawn by the seed; by default all that are left.
      held_out_examples: Prompts to evaluate on, never trained on; by default 100, or a fifth of
        all if that is less. None for all that are left.
      dev_examples: With keep best, prompts that the evaluations see; at most a fifth of all.
      text_columns: Column of the messages or of the prompt, and that of a completion if there is
        one; by default found by name.
      template: How a dialogue is written: the model's `own` chat template, `plain` (User: ... and
        Assistant: ..., line by line) or `none`. By default its own, or plain without one.
      max_new_tokens: Longest answer in tokens.
      temperature: Of the answers in training; 0 takes the likeliest token. All forward passes of
        a step see the same noise. Held-out prompts are always answered by the likeliest.
      compared: How rewards become losses, prompt by prompt: less their mean and over one `std` of
        all, as `rank`, or less their mean alone (`plain`).
      anchored_weight_decay: Share of the way back to where they began that the parameters go
        after each step, such as 0.01, against forgetting; keeps a copy of them. Evaluations
        then tell the `distance` from the start, as a share, and the `kl` to the model at the
        start, in nats a token of held-out answers. With 0 they tell it and nothing goes back.
      baseline: In place of training `best-of`, a search with as many answers: of many perturbed
        models the best is kept, and the best few vote. It cannot be gone on with.
      voters: Of the baseline, so many vote.
      reward_seconds: A reward may take so long; one that takes longer has none, and is counted.
      trainable: Patterns of the parameters to train, such as `layers/*/bias`; the rest is frozen.
        By default all.
    """

    OBJECTIVE: ClassVar[str] = "reward"

    model: str = MODEL
    reward: str
    batch_size: int = 8
    eval_batch_size: int = 16
    train_examples: int | None = None
    held_out_examples: int | None = HELD_OUT
    template: Literal["own", "plain", "none"] | None = None
    max_new_tokens: int = 64
    temperature: float = 0.0
    compared: Literal["std", "rank", "plain"] = "std"
    anchored_weight_decay: float | None = None
    baseline: Literal["best-of"] | None = None
    voters: int = VOTERS
    reward_seconds: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        count("max_new_tokens", self.max_new_tokens)
        count("voters", self.voters)
        positive("reward_seconds", self.reward_seconds)
        if self.anchored_weight_decay is not None:
            fraction("anchored_weight_decay", self.anchored_weight_decay)
        Sampling(temperature=self.temperature)
        if self.data in TASKS:
            raise ValueError(
                f"data is the task {self.data}, of texts with a label: leave --objective away, or "
                "give a file of prompts."
            )
        if self.micro_batch_size is not None:
            raise ValueError("micro_batch_size has no effect on a reward: lower batch_size.")
        if self.baseline is None and self.voters != VOTERS:
            raise ValueError("voters vote where nothing is trained: give baseline best-of too.")
        if self.baseline is not None and (self.keep == "best" or self.anchored_weight_decay):
            raise ValueError(
                "baseline best-of trains nothing: leave keep, patience and anchored_weight_decay "
                "away."
            )
