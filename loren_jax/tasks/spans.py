"""Texts as tokens, of which some are to be predicted: a completion, or all of a document."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int32

from loren_jax.tasks.chat import Chat, Template, Written, end_token
from loren_jax.tasks.conversations import Texts
from loren_jax.tasks.prompts import ending_length

Long = Literal["cut", "drop"]
_AT_A_TIME = 512


class Spanned(NamedTuple):
    """One row of tokens; `counted` are those that the loss is of."""

    input_ids: Int32[np.ndarray, "length"]
    counted: Bool[np.ndarray, "length"]


class SpannedRows(NamedTuple):
    """All rows of a source.

    Attributes:
      rows: at least one.
      cut: how many texts lost tokens because they were too long.
      dropped: how many were left out for that.
    """

    rows: tuple[Spanned, ...]
    cut: int
    dropped: int


class SpanReader:
    """Turns texts into tokens, as one model reads them.

    Args:
      tokenizer: the model's Hugging Face tokenizer.
      template: how dialogues are written; see `Chat`.
      loss_on: whether the loss is of the `completion` alone, or of `all` tokens.
      long: what becomes of a dialogue that is too long: it is `cut` from the left of its prompt,
        or it is `drop`ped.
      packed: whether documents are laid end to end and cut into rows of one length; otherwise
        each begins a row of its own, and a long one goes on in others.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        template: Template | None = None,
        loss_on: Literal["completion", "all"] = "completion",
        long: Long = "cut",
        packed: bool = False,
    ):
        self._tokenizer, self._template = tokenizer, template
        self._loss_on, self._long, self._packed = loss_on, long, packed
        self.template: Template | None = None
        self.ending = ""

    def read(self, texts: Texts, max_length: int) -> SpannedRows:
        """The texts as rows of at most `max_length` tokens; a ValueError if one cannot be."""
        if texts.documents:
            return self._documents(texts, max_length)
        chat = Chat(self._tokenizer, self._template)
        self.template = chat.template
        written = [chat.render(*pair) for pair in zip(texts.turns, texts.places, strict=True)]
        rows, cut, dropped = [], 0, 0
        for row, place in zip(self._find_spans(written, chat.template), texts.places, strict=True):
            if len(row.input_ids) > max_length:
                if self._long == "drop":
                    dropped += 1
                    continue
                row, cut = self._cut_to_fit(row, max_length, place), cut + 1
            if row.counted[1:].any():
                rows.append(row)
            else:
                raise ValueError(
                    f"{place}: no token of it is to be predicted; leave the row out, or give "
                    "--loss-on all"
                )
        if not rows:
            raise ValueError(
                f"max_length is {max_length}, and all {dropped} texts are longer and were dropped: "
                "raise max_length, or give --long cut"
            )
        return SpannedRows(tuple(rows), cut, dropped)

    def prompt_tokens(self, texts: Texts, max_length: int) -> list[list[int]]:
        """The tokens up to where the last answer of each dialogue begins, cut on their left."""
        chat, found = Chat(self._tokenizer, self._template), []
        self.template, self.ending = chat.template, chat.ending
        for turns, place in zip(texts.turns, texts.places, strict=True):
            before = turns[:-1] if turns[-1].role == "assistant" else turns
            ids = self._encode([chat.render_prompt(before, place)], chat.template)[0]
            head = int(self._begins(ids))
            excess = max(0, len(ids) - max_length)
            found.append(ids[:head] + ids[head + excess :])
        return found

    def _find_spans(self, written: Sequence[Written], template: Template) -> Iterator[Spanned]:
        for start in range(0, len(written), _AT_A_TIME):
            piece = written[start : start + _AT_A_TIME]
            rows = self._encode([one.text for one in piece], template)
            # One tokenisation of all that stands before a border.
            borders = [one.text[:place] for one in piece for span in one.answers for place in span]
            before = iter(self._encode(borders, template) if borders else [])
            for one, ids in zip(piece, rows, strict=True):
                counted = np.zeros(len(ids), bool)
                for span in one.answers:
                    first, last = (
                        self._position(one.text, ids, next(before), place, template)
                        for place in span
                    )
                    counted[first:last] = True
                if self._loss_on == "all":
                    counted[:] = True
                yield Spanned(np.array(ids, np.int32), counted)

    def _position(
        self, text: str, ids: list[int], before: list[int], place: int, template: Template
    ) -> int:
        """The number of tokens before a place in a text."""
        if ids[: len(before)] == before:
            return len(before)
        # A token reaches over the border: it is the first behind it.
        options = {"add_special_tokens": template != "own", "return_offsets_mapping": True}
        ends = [end for _, end in self._tokenizer(text, **options)["offset_mapping"]]
        return next((number for number, end in enumerate(ends) if end > place), len(ids))

    def _encode(self, texts: list[str], template: Template | None) -> list[list[int]]:
        """Tokens, with the one that begins all texts where the template does not write it."""
        if template == "own":
            return self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        ending = ending_length(self._tokenizer)
        return [row[: len(row) - ending] for row in self._tokenizer(texts)["input_ids"]]

    def _cut_to_fit(self, row: Spanned, max_length: int, place: str) -> Spanned:
        """The last tokens, behind the one that begins all texts; the last span must be whole."""
        head = int(self._begins(row.input_ids.tolist()))
        start = len(row.input_ids) - (max_length - head)
        if self._loss_on == "completion":
            borders = np.flatnonzero(np.diff(row.counted.astype(np.int8), prepend=0) == 1)
            if borders[-1] <= start:
                length = len(row.input_ids) - borders[-1]
                raise ValueError(
                    f"{place}: its completion alone has {length} tokens, but max_length is "
                    f"{max_length}; raise max_length, or give --long drop"
                )
        keep = np.r_[:head, start : len(row.input_ids)]
        return Spanned(row.input_ids[keep], row.counted[keep])

    def _begins(self, ids: Sequence[int]) -> bool:
        first = getattr(self._tokenizer, "bos_token_id", None)
        # ChatML's templates call the mark of every turn so.
        return first is not None and ids[0] == first and list(ids).count(first) == 1

    def _documents(self, texts: Texts, max_length: int) -> SpannedRows:
        """Rows of documents; each row begins with the last token of the one before it."""
        if max_length < 2:
            raise ValueError("max_length is 1, and nothing stands before a single token; raise it")
        _, end = end_token(self._tokenizer)
        streams = []
        for start in range(0, len(texts), _AT_A_TIME):
            piece = [turns[0].content for turns in texts.turns[start : start + _AT_A_TIME]]
            streams += [np.array([*row, end], np.int32) for row in self._encode(piece, None)]
        if self._packed:
            streams = [np.concatenate(streams)]
        rows = []
        for stream in streams:
            starts = range(0, max(1, len(stream) - 1), max_length - 1)
            rows += [stream[start : start + max_length] for start in starts]
        counted = [Spanned(row, np.ones(len(row), bool)) for row in rows if len(row) > 1]
        return SpannedRows(tuple(counted), cut=0, dropped=0)
