"""The command `loren-jax generate`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from loren_jax.arguments import count
from loren_jax.train.answers import Answered, AnswerOptions, answer_all, read_prompts, say
from loren_jax.train.chats import Talker
from loren_jax.train.commands import RunCommand
from loren_jax.train.prediction import require_output, write_rows


@dataclass(frozen=True, kw_only=True)
class Generate(AnswerOptions, RunCommand):
    """Let a causal language model answer one prompt as one reads, or all prompts of a file.

    Attributes:
      model: Directory of a run or of a model, a GGUF file, or a name on the Hub.
      prompt: A text to answer.
      prompts: A file of them: .txt with one a line, or .jsonl, .json, .csv, .tsv, .parquet with a
        column prompt or messages.
      output: The .jsonl or .csv file to write; by default JSON lines on standard output.
      batch_size: Prompts of a file that are answered at a time.
    """

    model: tyro.conf.Positional[str]
    prompt: str | None = None
    prompts: Path | None = None
    output: Path | None = None
    batch_size: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        count("batch_size", self.batch_size)
        if (self.prompt is None) == (self.prompts is None):
            given = "neither" if self.prompt is None else "both"
            raise ValueError(
                f"{given} of --prompt TEXT and --prompts FILE are given: give one of them"
            )
        if self.output is not None and self.prompts is None:
            raise ValueError("output is for the answers to --prompts FILE: one is only shown")
        require_output(self.output, None if self.prompts is None else str(self.prompts))

    def run(self) -> int:
        """Answers."""
        if self.prompts is None:
            say(self._talker(), str(self.prompt), self)
            return 0
        asked = read_prompts(str(self.prompts))
        found: Answered = answer_all(self._talker(), asked, self, self.batch_size)
        write_rows(found.rows(), self.output, ".jsonl")
        if self.output is not None:
            print(f"{self.output}: {len(found.answers)} answers")
        return 0

    def _talker(self) -> Talker:
        return Talker(self.model, raw=self.raw, dtype=self.dtype)
