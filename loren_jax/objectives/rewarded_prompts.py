"""Prompts as tokens, beside the rows of data that they are of."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

from loren_jax.objectives.judge import Judge, Verdicts
from loren_jax.objectives.saved_text import TextReader
from loren_jax.reports.answers import KEPT
from loren_jax.tasks.conversations import ASSISTANT, Texts, Turn
from loren_jax.tasks.rewards import WANTED


class Prompts:
    """What a model is asked, and by what its answers are judged.

    Args:
      texts: Dialogues; an answer at the end of one is what was wanted, and not shown.
      reader: The model's tokenizer.
      limit: Longest prompt in tokens; of longer ones the left is cut.

    Attributes:
      tokens: Of each prompt.
      cut: How many were cut.

    Raises:
      ValueError: If these are plain texts.
    """

    def __init__(self, texts: Texts, reader: TextReader, limit: int):
        if texts.documents:
            raise ValueError(
                f"{texts.places[0]}: a plain text is no prompt; name the column of the prompts "
                "with --text-columns, or call it prompt"
            )
        whole = reader.prompt_tokens(texts, sys.maxsize)
        self.cut = sum(len(tokens) > limit for tokens in whole)
        self.tokens = reader.prompt_tokens(texts, limit) if self.cut else whole
        asked = [turns[:-1] if turns[-1].role == ASSISTANT else turns for turns in texts.turns]
        self._asked = [turns[-1].content if turns else "" for turns in asked]
        pairs = zip(texts.examples, texts.turns, strict=True)
        self._examples = [_example(row, turns) for row, turns in pairs]

    def judge(self, judge: Judge, rows: Iterable[int], said: Sequence[str]) -> Verdicts:
        """What answers are worth, to the prompts of these numbers."""
        rows = [*rows]
        asked, examples = [self._asked[i] for i in rows], [self._examples[i] for i in rows]
        return judge(asked, said, examples)

    def flat(self) -> Int32[np.ndarray, " numbers"]:
        """All tokens and where each prompt ends, so that a resumed run can tell a change."""
        ends = np.cumsum([len(tokens) for tokens in self.tokens])
        return np.concatenate([ends, *map(np.asarray, self.tokens)]).astype(np.int32)

    def excerpt(self, said: Sequence[str], worth: Sequence[float]) -> dict[str, Any]:
        """The first questions, their answers and what these are worth, for people."""
        wanted = [
            next((str(row[name]) for name in WANTED if row.get(name) is not None), "")
            for row in self._examples[:KEPT]
        ]
        answered = {"said": list(said[:KEPT]), "worth": list(worth[:KEPT])}
        return {"asked": self._asked[:KEPT], "wanted": wanted, **answered}


def _example(row: Mapping[str, Any], turns: Sequence[Turn]) -> dict[str, Any]:
    """The row; of a dialogue also what its last answer was."""
    plain = lambda value: value.tolist() if isinstance(value, np.ndarray) else value
    own = {name: plain(value) for name, value in row.items()}
    if turns[-1].role == ASSISTANT and not set(WANTED) & set(own):
        own["answer"] = turns[-1].content
    return own
