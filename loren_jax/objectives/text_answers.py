"""What a language model answers to held-out prompts, beside what it was to answer."""

from collections.abc import Callable, Sequence
from typing import Any

from loren_jax.models import LanguageModel, generate
from loren_jax.objectives.saved_text import TextReader
from loren_jax.objectives.text_config import TextConfig
from loren_jax.reports.answers import ANSWERS, KEPT
from loren_jax.tasks.conversations import ASSISTANT, Texts, Turn
from loren_jax.tasks.text_metrics import exact_match, token_f1
from loren_jax.types import PyTree


class Answerer:
    """Answers the first of some dialogues, always with the likeliest token.

    Args:
      config: How many, and how long.
      model: The model, of which the parameters are not looked at.
      reader: Its tokenizer.
      texts: Dialogues; of each the last answer is asked for.
      merge: `params -> parameters of the model`.

    Raises:
      ValueError: If these are plain texts, or answers so long leave no room for a prompt.
    """

    def __init__(
        self,
        config: TextConfig,
        model: LanguageModel,
        reader: TextReader,
        texts: Texts,
        merge: Callable[[PyTree], PyTree],
    ):
        if texts.documents:
            raise ValueError(
                "generate answers the prompts of dialogues, but these are plain texts: leave "
                "generate away"
            )
        limit = model.config.max_length
        room = limit - config.max_new_tokens
        if room < 1:
            raise ValueError(
                f"max_new_tokens is {config.max_new_tokens}, but the model has {limit} positions, "
                "which leaves no room for a prompt: lower max_new_tokens"
            )
        chosen = [turns[: _last_answer(turns) + 1] for turns in texts.turns[: config.generate]]
        asked = Texts(tuple(chosen), texts.places[: config.generate])
        self._asked = [turns[-2].content if len(turns) > 1 else "" for turns in chosen]
        self._wanted = [turns[-1].content for turns in chosen]
        self._prompts = reader.prompt_tokens(asked, room)
        self._reader, self._model, self._merge = reader, model, merge
        self._new_tokens, self._batch_size = config.max_new_tokens, config.eval_batch_size

    def __call__(self, params: PyTree) -> dict[str, Any]:
        """What parameters answer.

        Args:
          params: The parameters.

        Returns:
          `exact_match` and `token_f1`, means over the dialogues, and `answers` of the first
          hundred: what was `asked`, `wanted` and `said`.
        """
        found = generate(
            self._model._replace(params=self._merge(params)),
            self._prompts,
            max_new_tokens=self._new_tokens,
            stop_tokens=self._reader.stop_tokens,
            batch_size=self._batch_size,
        )
        said = [self._reader.decode(tokens) for tokens in found.tokens]
        pairs = list(zip(said, self._wanted, strict=True))
        return {
            "exact_match": sum(exact_match(*pair) for pair in pairs) / len(pairs),
            "token_f1": sum(token_f1(*pair) for pair in pairs) / len(pairs),
            ANSWERS: {
                "asked": self._asked[:KEPT],
                "wanted": self._wanted[:KEPT],
                "said": said[:KEPT],
            },
        }


def _last_answer(turns: Sequence[Turn]) -> int:
    """The number of the assistant's last turn."""
    return max(number for number, turn in enumerate(turns) if turn.role == ASSISTANT)
