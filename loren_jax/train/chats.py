"""What a language model is asked, as tokens, and what it answers, as text."""

import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from loren_jax.checkpoints import checkpoint_config, checkpoint_tokenizer
from loren_jax.models import LanguageModel, load_language_model, locate
from loren_jax.objectives.saved_model import model_directory, read_prompt
from loren_jax.objectives.saved_text import read_text_settings
from loren_jax.tasks.chat import Chat, stop_tokens
from loren_jax.tasks.conversations import USER, turn_of

GGUF = ".gguf"

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a tokenizer makes of a character whose last bytes are yet to come."""


class Talker:
    """A causal language model with its tokenizer, as a user names it.

    Args:
      model: Directory of a model, a GGUF file, or a name on the Hub.
      raw: Ask without the model's chat template.
      dtype: Element type of the parameters.

    Attributes:
      model: The language model.
      stop_tokens: Behind which an answer ends.

    Raises:
      FileNotFoundError: If there is no such model.
      ValueError: If it is no causal language model, or nothing says where an answer ends.
      ImportError: If its chat template needs a package that is not installed.
    """

    def __init__(self, model: str, *, raw: bool = False, dtype: str = "float32"):
        path = locate(model_directory(model))
        if not speaks(model):
            raise ValueError(
                f"model: {model} is no causal language model; for a classifier there is "
                "loren-jax predict"
            )
        self._tokenizer = checkpoint_tokenizer(path)
        template = getattr(self._tokenizer, "chat_template", None)
        trained = (read_text_settings(path) or {}).get("template") if path.is_dir() else None
        # As it was trained, whatever template it came with.
        self._plain = Chat(self._tokenizer, "plain") if trained == "plain" and not raw else None
        self._templated = template is not None and trained in (None, "own") and not raw
        if self._templated and importlib.util.find_spec("jinja2") is None:
            raise ImportError(
                f"model: the chat template of {model} needs jinja2, which is not installed: pip "
                "install jinja2, or ask without it (--raw)"
            )
        self.stop_tokens = stop_tokens(path, self._tokenizer)
        if not self.stop_tokens:
            raise ValueError(
                f"model: the tokenizer of {model} has no end-of-text token, so that no answer "
                'would end; give it one: "eos_token" in its tokenizer_config.json'
            )
        self.model: LanguageModel = load_language_model(path, dtype=dtype)

    def tokens(self, asked: str | Sequence[Any], place: str) -> list[int]:
        """The tokens of a prompt, or of the turns of a dialogue, up to where the answer begins.

        The place is for an error: an empty prompt, and turns that the template does not know.
        """
        if not asked or (isinstance(asked, str) and not asked.strip()):
            raise ValueError(f"{place} is empty; say what the model is to go on from")
        if self._plain is not None:
            messages = [{"role": USER, "content": asked}] if isinstance(asked, str) else asked
            turns = [turn_of(place, number, one) for number, one in enumerate(messages, start=1)]
            return self._drop_ends(
                self._tokenizer(self._plain.render_prompt(turns, place))["input_ids"]
            )
        if not self._templated:
            if not isinstance(asked, str):
                raise ValueError(f"{place} has turns, but no chat template is used; give a text")
            return self._drop_ends(self._tokenizer(asked)["input_ids"])
        from jinja2 import TemplateError  # pyrefly: ignore[missing-import]

        turns = [{"role": "user", "content": asked}] if isinstance(asked, str) else [*asked]
        try:
            text = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError) as error:  # turns that are none, or not in its order
            raise ValueError(
                f"{place}: the chat template refuses it ({error}); change it, or ask without the "
                "template (--raw)"
            ) from error
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def _drop_ends(self, tokens: list[int]) -> list[int]:
        """Without the end token that some tokenizers put behind every text."""
        while tokens and tokens[-1] == self._tokenizer.eos_token_id:
            tokens = tokens[:-1]
        return tokens

    def text(self, tokens: Sequence[int]) -> str:
        """What tokens say, without the special ones."""
        return self._tokenizer.decode(tokens, skip_special_tokens=True)

    def pieces(self, tokens: Iterable[int], stops: Sequence[str]) -> Iterator[str]:
        """The text of an answer in pieces, as its tokens come, up to one of some texts."""
        known, said = [], 0
        for token in tokens:
            known.append(token)
            text, ended = cut(self.text(known), stops)
            sure = text if ended else settled_part(text, stops)
            if len(sure) > said:
                yield sure[said:]
                said = len(sure)
            if ended:
                return
        text, _ = cut(self.text(known), stops)
        if len(text) > said:
            yield text[said:]


def speaks(model: str) -> bool:
    """Whether a model's files say that it is a causal language model that was given no other task.

    A model that was trained to answer a prompt with one of some words is a classifier.
    """
    path = locate(model_directory(model))
    if path.is_dir() and read_prompt(path) is not None:
        return False
    raw = checkpoint_config(path)
    if "architectures" not in raw:
        return path.suffix == GGUF
    return any(str(name).endswith(("ForCausalLM", "LMHeadModel")) for name in raw["architectures"])


def cut(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    """The text up to the first of some texts, and whether there is one.

    >>> cut("one. two", ["two", "."])
    ('one', True)
    """
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return (text[: min(places)], True) if places else (text, False)


def settled_part(text: str, stops: Sequence[str]) -> str:
    """The part of an unfinished text that will not change, whatever comes.

    >>> settled_part("one #", ["##"]), settled_part("caf\N{REPLACEMENT CHARACTER}", [])
    ('one ', 'caf')
    """
    text = text.rstrip(UNFINISHED)
    begun = [
        length for stop in stops for length in range(1, len(stop)) if text.endswith(stop[:length])
    ]
    return text[: len(text) - max(begun, default=0)]
