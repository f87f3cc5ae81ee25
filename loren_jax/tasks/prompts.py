"""Prompts: a classification task as one word that a language model has to say.

A template surrounds the fields of an example with words and leaves one place for the answer; every
class has an answer of its own, which must be a single token, so that the logits of these few tokens
at that place are class logits.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

ANSWER = "answer"

# Short words that are one token for most vocabularies, to suggest where another is not.
_PLAIN_WORDS = ("yes", "no", "maybe", "good", "bad", "great", "right", "wrong", "true", "false")
_SUGGESTIONS = 5


@dataclass(frozen=True)
class Prompt:
    """A template and the answer of every class.

    Attributes:
      template: text with every field once in braces and one `{answer}`, such as
        `{sentence} It was {answer}.`. A decoder reads what stands before the answer; an
        encoder reads all of it, with its mask token as the answer.
      words: the answers, in the order of the labels.

    >>> Prompt("{sentence} It was {answer}.", ("bad", "good")).fields
    ('sentence',)
    """

    template: str
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        names = [name for _, name in self._parts if name is not None]
        if names.count(ANSWER) != 1:
            raise ValueError(
                f"template: {self.template!r} needs exactly one {{answer}}, it has "
                f"{names.count(ANSWER)}"
            )
        if not self.fields or len(set(names)) < len(names):
            raise ValueError(
                f"template: {self.template!r} needs at least one field, and each only once"
            )
        if not all(name.isidentifier() for name in names):
            raise ValueError(
                f"template: {self.template!r} has a field without a plain name; a literal brace is "
                "written twice"
            )
        if len(set(self.words)) < len(self.words) or not all(map(str.strip, self.words)):
            raise ValueError(f"words: {list(self.words)} must be different words")

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The columns that the template needs, in its order."""
        return tuple(name for _, name in self._parts if name not in (None, ANSWER))

    @property
    def lead(self) -> str:
        """The template's own words right before the answer, without the gap."""
        index = [name for _, name in self._parts].index(ANSWER)
        return self._parts[index][0].rstrip(" ")

    @property
    def gap(self) -> str:
        """The space before the answer, which most vocabularies keep inside the answer's token."""
        return " " if self.template.partition("{answer}")[0].endswith(" ") else ""

    @cached_property
    def _parts(self) -> tuple[tuple[str, str | None], ...]:
        try:
            parts = list(string.Formatter().parse(self.template))
        except ValueError as error:
            raise ValueError(f"template: {self.template!r}: {error}") from error
        return tuple((literal, name) for literal, name, _, _ in parts)

    def render(self, values: Sequence[str], mask_token: str | None = None) -> str:
        """Return the text that the model reads, of one value per field in the order of `fields`.

        An encoder's mask token takes the answer's place; the text of a decoder, which has none,
        ends there.

        >>> prompt = Prompt("{sentence} It was {answer}.", ("bad", "good"))
        >>> prompt.render(["Dull."]), prompt.render(["Dull."], "[MASK]")
        ('Dull. It was', 'Dull. It was [MASK].')
        """
        named = dict(zip(self.fields, values, strict=True))
        text = ""
        for literal, name in self._parts:
            text += literal
            if name == ANSWER and mask_token is None:
                return text.rstrip(" ")
            if name is not None:
                text += str(mask_token) if name == ANSWER else named[name].strip()
        return text

    def require_decodable(self) -> None:
        """Raise a ValueError where a field stands after the answer, which no decoder would read."""
        names = [name for _, name in self._parts if name is not None]
        if names[-1] != ANSWER:
            raise ValueError(
                f"template: {self.template!r} has {{{names[-1]}}} after the answer, where a "
                "decoder would not read it; put {answer} last"
            )


def answer_ids(tokenizer: Any, prompt: Prompt) -> tuple[int, ...]:
    """Return the token of every answer, as it is spelled at the answer's place.

    Args:
      tokenizer: a Hugging Face tokenizer.
      prompt: template and answers.

    Returns:
      One vocabulary id per class.

    Raises:
      ValueError: if an answer is not exactly one known token, or two are the same one; the
        message names the word and others that would do.
    """
    ids: dict[int, str] = {}
    for word in prompt.words:
        tokens = _tokens_after(tokenizer, prompt, word)
        if len(tokens) != 1:
            pieces = ", ".join(repr(piece) for piece in tokenizer.convert_ids_to_tokens(tokens))
            raise ValueError(
                f"words: {word!r} is {len(tokens)} tokens of this tokenizer ({pieces}), but an "
                f"answer must be one; {_suggestion(tokenizer, prompt)}"
            )
        if tokens[0] == getattr(tokenizer, "unk_token_id", None):
            raise ValueError(
                f"words: {word!r} is unknown to this tokenizer; {_suggestion(tokenizer, prompt)}"
            )
        if tokens[0] in ids:
            raise ValueError(
                f"words: {ids[tokens[0]]!r} and {word!r} are the same token of this tokenizer; "
                f"{_suggestion(tokenizer, prompt)}"
            )
        ids[tokens[0]] = word
    return tuple(ids)


def _tokens_after(tokenizer: Any, prompt: Prompt, word: str) -> list[int]:
    """What the word adds to the tokens before it: spaces may belong to its token or not."""
    lead = prompt.lead.strip() or "It is"
    before = tokenizer.encode(lead, add_special_tokens=False)
    both = tokenizer.encode(f"{lead}{prompt.gap}{word}", add_special_tokens=False)
    if both[: len(before)] == before:
        return both[len(before) :]
    return tokenizer.encode(prompt.gap + word, add_special_tokens=False)


def _suggestion(tokenizer: Any, prompt: Prompt) -> str:
    spelled = [form(word) for word in prompt.words for form in (str.lower, str.capitalize)]
    candidates = dict.fromkeys([*spelled, *_PLAIN_WORDS])
    unknown = getattr(tokenizer, "unk_token_id", None)
    fitting: dict[int, str] = {}
    for word in candidates:
        tokens = _tokens_after(tokenizer, prompt, word)
        if len(tokens) == 1 and tokens[0] != unknown:
            fitting.setdefault(tokens[0], word)
    listed = ", ".join(list(fitting.values())[:_SUGGESTIONS]) or "words of its vocabulary"
    return f"name others with --words, for instance out of: {listed}"


def prompt_json(prompt: Prompt, **more: Any) -> dict[str, Any]:
    """Return a prompt as JSON values, with whatever else its model must be told."""
    return {"template": prompt.template, "words": list(prompt.words), **more}


def prompt_from_json(values: Mapping[str, Any]) -> Prompt:
    """Return the prompt of `prompt_json`.

    >>> prompt = Prompt("{sentence} It was {answer}.", ("bad", "good"))
    >>> prompt_from_json(prompt_json(prompt)) == prompt
    True
    """
    return Prompt(values["template"], tuple(values["words"]))


_MOST_ATTEMPTS = 20


def tokenize_prompts(
    tokenizer: Any, texts: Sequence[tuple[str, ...]], prompt: Prompt, max_length: int
) -> dict[str, list[list[int]]]:
    """Tokenise examples, given by their fields, in a prompt, to at most `max_length` tokens.

    A tokenizer with a mask token belongs to an encoder, one without to a decoder. A ValueError if
    the prompt alone is too long, or a field stands after a decoder's answer.
    """
    mask_token = getattr(tokenizer, "mask_token", None)
    if mask_token is None:
        prompt.require_decodable()
    else:
        # The answer's place must be the only one of its kind.
        texts = [tuple(text.replace(mask_token, " ") for text in fields) for fields in texts]
    ending = 0 if mask_token else ending_length(tokenizer)
    encode = lambda batch: [row[: len(row) - ending] for row in tokenizer(batch)["input_ids"]]
    rows = encode([prompt.render(fields, mask_token) for fields in texts])
    for number, row in enumerate(rows):
        if len(row) > max_length:
            rows[number] = _shorten(
                tokenizer, encode, texts[number], prompt, mask_token, max_length
            )
    return {"input_ids": rows}


def ending_length(tokenizer: Any) -> int:
    """How many tokens of its own a tokenizer puts after a text: a decoder must not read them."""
    text = "a"
    whole = tokenizer(text)["input_ids"]
    bare = tokenizer.encode(text, add_special_tokens=False)
    starts = [i for i in range(len(whole)) if whole[i : i + len(bare)] == bare]
    return len(whole) - (starts[-1] + len(bare)) if starts else 0


def _shorten(
    tokenizer: Any,
    encode: Any,
    fields: tuple[str, ...],
    prompt: Prompt,
    mask_token: str | None,
    max_length: int,
) -> list[int]:
    """The tokens of one example whose fields are cut until it fits."""
    ends = [_token_ends(tokenizer, text) for text in fields]
    kept = [len(tokens) for tokens in ends]
    row = encode([prompt.render(fields, mask_token)])[0]
    for _ in range(_MOST_ATTEMPTS):
        excess = len(row) - max_length
        if excess <= 0:
            return row
        if not any(kept):
            break
        for _ in range(min(excess, sum(kept))):
            kept[kept.index(max(kept))] -= 1
        cut = [
            text[: tokens[count - 1]] if count else ""
            for text, tokens, count in zip(fields, ends, kept, strict=True)
        ]
        row = encode([prompt.render(cut, mask_token)])[0]
    if len(row) <= max_length:
        return row
    raise ValueError(
        f"max_length is {max_length}, but the prompt alone has {len(row)} tokens; raise it, or "
        "shorten the template"
    )


def _token_ends(tokenizer: Any, text: str) -> list[int]:
    """Where every token of a text ends, in characters."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return [end for _, end in encoded["offset_mapping"]]
