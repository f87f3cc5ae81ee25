"""The answers of a causal language model to the prompts of a file."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tqdm import tqdm

from loren_jax.arguments import count
from loren_jax.models.generation import batches, stream
from loren_jax.models.sampling import Sampling
from loren_jax.objectives.shared_config import take_plain
from loren_jax.tasks.columns import choose_text_columns
from loren_jax.tasks.sources import read_source
from loren_jax.tasks.tables import Table
from loren_jax.train.chats import Talker, cut

NEW_TOKENS = 256
"""Tokens of an answer at most, unless it is said."""

PROMPT, MESSAGES, ASSISTANT = "prompt", "messages", "assistant"


@dataclass(frozen=True, kw_only=True)
class AnswerOptions:
    """How a language model answers.

    Attributes:
      max_new_tokens: Tokens of an answer at most; by default 256, or what the model has room for.
      temperature: What the logits are divided by before a token is drawn; at 0 the likeliest is
        taken.
      top_k: Draw among the so many likeliest tokens.
      top_p: Draw among the fewest tokens that have this much of the probability together.
      seed: Of the draws.
      stop: Texts before which an answer ends.
      raw: Ask without the model's chat template.
      dtype: Element type of the parameters.
    """

    max_new_tokens: int | None = None
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    stop: tuple[str, ...] = ()
    raw: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        take_plain(self)
        if self.max_new_tokens is not None:
            count("max_new_tokens", self.max_new_tokens)
        count("seed", self.seed, 0)
        if not all(self.stop):
            raise ValueError("stop is an empty text, which every answer begins with: leave it out.")
        _ = self.sampling

    @property
    def sampling(self) -> Sampling:
        """How a token is chosen."""
        return Sampling(temperature=self.temperature, top_k=self.top_k, top_p=self.top_p)


class Asked(NamedTuple):
    """Prompts, and the rows that they come from.

    Attributes:
      table: The rows.
      prompts: Of each row a text, or the turns of a dialogue.
      places: Where each stands, for messages.
    """

    table: Table
    prompts: list[Any]
    places: list[str]


class Answered(NamedTuple):
    """What a language model answers.

    Attributes:
      table: The rows of the data.
      answers: A text for each.
      ended: Whether each came to its end; else it was cut off.
    """

    table: Table
    answers: list[str]
    ended: list[bool]

    def rows(self) -> list[dict[str, Any]]:
        """The data's own columns, `answer` and `ended`."""
        rows = zip(self.table.rows.values(), self.answers, self.ended, strict=True)
        return [
            {**{n: row.get(n) for n in self.table.columns}, "answer": answer, "ended": ended}
            for row, answer, ended in rows
        ]


def read_prompts(
    path: str, columns: Sequence[str] | None = None, text_columns: Sequence[str] | None = None
) -> Asked:
    """Prompts of a file: one a line in a `.txt` file, else the rows of a table.

    A row's prompt is its `messages` up to the last turn of the assistant's, else its `prompt`, else
    the usual columns of texts, a pair's with an empty line between them.
    """
    if Path(path).suffix == ".txt":
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        if not any(map(str.strip, lines)):
            raise ValueError(f"{path} is empty; write one prompt a line")
        rows = {i: {PROMPT: line} for i, line in enumerate(lines, 1) if line.strip()}
        table = Table(path, "line", (PROMPT,), rows)
    else:
        if not Path(path).exists():
            raise FileNotFoundError(f"there is no file {path} of prompts")
        table = read_source(path, "train", columns)
    places = [table.place(number) for number in table.rows]
    if text_columns is None and MESSAGES in table.columns:
        pairs = zip(table.rows.values(), places, strict=True)
        return Asked(table, [_turns(row.get(MESSAGES), place) for row, place in pairs], places)
    own = (PROMPT,) if PROMPT in table.columns else choose_text_columns(table, text_columns)
    names = own if text_columns is None else choose_text_columns(table, text_columns)
    texts = [
        "\n\n".join(str(row[name]) for name in names if row.get(name))
        for row in table.rows.values()
    ]
    return Asked(table, texts, places)


def answer_all(talker: Talker, asked: Asked, options: AnswerOptions, batch_size: int) -> Answered:
    """Answers all prompts; the answer to one does not depend on the others.

    A ValueError names the prompt that is empty, or longer than the model reads.
    """
    pairs = zip(asked.prompts, asked.places, strict=True)
    tokens = [talker.tokens(prompt, place) for prompt, place in pairs]
    room = _room(talker, tokens, asked.places, options)
    found: dict[int, tuple[str, bool]] = {}
    silent = sys.stderr is None or not sys.stderr.isatty()
    written = batches(
        talker.model, tokens, room, talker.stop_tokens, options.sampling, options.seed, batch_size
    )
    with tqdm(total=len(tokens), desc="answering", leave=False, disable=silent) as bar:
        for row, new, ended in written:
            text, stopped = cut(talker.text(new), options.stop)
            found[row] = text, ended or stopped
            bar.update()
    ordered = [found[row] for row in range(len(tokens))]
    return Answered(asked.table, [text for text, _ in ordered], [ended for _, ended in ordered])


def say(talker: Talker, prompt: str, options: AnswerOptions) -> None:
    """Writes the answer to one prompt on standard output, as it comes."""
    tokens = talker.tokens(prompt, "prompt")
    room = _room(talker, [tokens], ["prompt"], options)
    new = stream(
        talker.model,
        tokens,
        max_new_tokens=room,
        stop_tokens=talker.stop_tokens,
        sampling=options.sampling,
        key=options.seed,
    )
    for piece in talker.pieces(new, options.stop):
        print(piece, end="", flush=True)
    print()


def _room(
    talker: Talker, tokens: Sequence[Sequence[int]], places: Sequence[str], options: AnswerOptions
) -> int:
    """Tokens of an answer at most; a ValueError where the model has no room for a prompt's."""
    limit, asked = talker.model.config.max_length, options.max_new_tokens
    for row, place in zip(tokens, places, strict=True):
        if len(row) + (asked or 1) > limit:
            new = "an answer" if asked is None else f"an answer of max_new_tokens {asked}"
            raise ValueError(
                f"{place} has {len(row)} tokens, which leaves no room for {new}: the model reads "
                f"{limit}; shorten it"
            )
    longest = max(map(len, tokens))
    return asked or min(NEW_TOKENS, limit - longest)


def _turns(value: Any, place: str) -> list[Any]:
    """The turns of a dialogue up to where the assistant's last one begins."""
    turns = json.loads(value) if isinstance(value, str) and value.startswith("[") else value
    if not isinstance(turns, list | tuple) or not all(isinstance(turn, dict) for turn in turns):
        raise ValueError(
            f"{place}: messages must be a list of turns such as "
            '{"role": "user", "content": "..."}'
        )
    while turns and turns[-1].get("role") == ASSISTANT:
        turns = turns[:-1]
    return [*turns]
