"""Dialogues as the text that a model reads, and where in it each answer stands.

A model's own chat template says how; one without has the plain template below.
"""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from loren_jax.tasks.conversations import ASSISTANT, USER, Turn

GENERATION = "generation_config.json"
"""File beside a model that names the tokens behind which it ends."""

Template = Literal["own", "plain", "none"]
"""The model's own; `User: ...` and `Assistant: ...` line by line; or what the turns say, joined."""


class Written(NamedTuple):
    """A dialogue as one text.

    Attributes:
      text: all of it, with the special tokens as they are spelled.
      answers: where each turn of the assistant begins and ends, in characters, with the token
        that ends it.
    """

    text: str
    answers: tuple[tuple[int, int], ...]


class Chat:
    """Writes dialogues as one model reads them.

    Args:
      tokenizer: the model's Hugging Face tokenizer.
      template: which template; by default the model's own if it has one, else `plain`.

    Attributes:
      template: the one that counts.

    Raises:
      ValueError: if the model has no template of its own, or no end-of-text token for another.
      ImportError: if its own needs a package that is not installed.
    """

    def __init__(self, tokenizer: Any, template: Template | None = None):
        own = getattr(tokenizer, "chat_template", None) is not None
        self.template: Template = template or ("own" if own else "plain")
        self._tokenizer = tokenizer
        if self.template == "own" and not own:
            raise ValueError("template is own, but the model has no chat template: give plain")
        if self.template == "own" and importlib.util.find_spec("jinja2") is None:
            raise ImportError(
                "template: the model's chat template needs jinja2, which is not installed: pip "
                "install jinja2, or give --template plain"
            )
        if self.template != "own":
            end_token(tokenizer)

    def render(self, turns: Sequence[Turn], place: str) -> Written:
        """The text of a dialogue; a ValueError names the place where the template refuses it."""
        answers, end = [], 0
        text = self._render(turns, place)
        for number, turn in enumerate(turns):
            if turn.role != ASSISTANT:
                continue
            first = not number and self.template == "own"  # few templates bear no turn at all
            before = "" if first else self._render(turns[:number], place, asking=True)
            until = self._render(turns[: number + 1], place)
            if text.startswith(until) and until.startswith(before):
                start, stop = len(before), len(until.rstrip())
            else:  # a template that writes an earlier turn in another way than the last
                start, stop = _find(text, until.rstrip(), turn.content.strip(), end)
                if start < 0:
                    raise ValueError(
                        f"{place}: the chat template does not write turn {number + 1} as it is; "
                        "give --template plain"
                    )
            answers.append((start, stop))
            end = stop
        return Written(text, tuple(answers))

    def render_prompt(self, turns: Sequence[Turn], place: str) -> str:
        """The text of a dialogue up to where the assistant's next turn begins."""
        return self._render(turns, place, asking=True)

    @property
    def ending(self) -> str:
        """What the template writes behind an answer."""
        text, answers = self.render((Turn(USER, "a"), Turn(ASSISTANT, "b")), "the chat template")
        return text[slice(*answers[-1])].partition("b")[2]

    def _render(self, turns: Sequence[Turn], place: str, *, asking: bool = False) -> str:
        if self.template != "own":
            end = end_token(self._tokenizer)[0]
            return _plain(turns, end, asking, labelled=self.template == "plain")
        from jinja2 import TemplateError

        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=asking
            )
        except TemplateError as error:
            roles = ", ".join(turn.role for turn in turns)
            raise ValueError(
                f"{place}: the model's chat template refuses the roles {roles} ({error}); change "
                "the row, or give --template plain"
            ) from error


def _find(text: str, until: str, content: str, after: int) -> tuple[int, int]:
    """Where a content stands in a text, with what follows it at the end of `until`; -1 if not."""
    start = text.find(content, after)
    stop = start + len(content)
    ending = until.rpartition(content)[2]
    return start, stop + (len(ending) if text.startswith(ending, stop) else 0)


def _plain(turns: Sequence[Turn], end: str, asking: bool, *, labelled: bool) -> str:
    r"""A dialogue without a model's template.

    >>> turns = [Turn("user", "2 + 2?"), Turn("assistant", "4")]
    >>> _plain(turns, "</s>", False, labelled=True)
    'User: 2 + 2?\nAssistant: 4</s>\n'
    >>> _plain(turns[:1], "</s>", True, labelled=True)
    'User: 2 + 2?\nAssistant:'
    >>> _plain(turns, "</s>", False, labelled=False)
    '2 + 2?4</s>'
    """
    text = ""
    for turn in turns:
        ending = end if turn.role == ASSISTANT else ""
        label, line = (f"{turn.role.capitalize()}: ", "\n") if labelled else ("", "")
        text += f"{label}{turn.content.strip() if labelled else turn.content}{ending}{line}"
    return text + (f"{ASSISTANT.capitalize()}:" if asking and labelled else "")


def stop_tokens(path: Path, tokenizer: Any) -> tuple[int, ...]:
    """The tokenizer's end token, and those that a file beside the model names."""
    found = set() if tokenizer.eos_token_id is None else {int(tokenizer.eos_token_id)}
    file = (path if path.is_dir() else path.parent) / GENERATION
    if file.is_file():
        try:
            said = json.loads(file.read_text(encoding="utf-8")).get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{file} is not valid ({error}); mend or remove it") from error
        named = said if isinstance(said, list) else [said]
        found |= {int(token) for token in named if token is not None}
    return tuple(sorted(found))


def end_token(tokenizer: Any) -> tuple[str, int]:
    """The token that ends a text, and its number; a ValueError where there is none."""
    if tokenizer.eos_token is None:
        raise ValueError(
            "model: its tokenizer has no end-of-text token, so that no answer would ever end; give "
            'it one: "eos_token" in its tokenizer_config.json'
        )
    return tokenizer.eos_token, tokenizer.eos_token_id
