"""Texts to write like: dialogues, prompts with their completions, or plain documents.

Whatever columns a row has, it becomes the turns of a dialogue, of which a model learns those of the
assistant; a plain document is one turn without a role.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from loren_jax.tasks.columns import complete_rows
from loren_jax.tasks.sources import HELD_OUT, local_splits, read_source
from loren_jax.tasks.tables import Table

USER, ASSISTANT, DOCUMENT = "user", "assistant", ""
_DIALOGUES = ("messages", "conversations", "conversation", "dialogue")
_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("instruction", "output"),
    ("instruction", "response"),
    ("question", "answer"),
    ("question", "response"),
)
_CONTEXTS = {"instruction": ("input", "context")}
"""A column that goes behind the prompt of some pairs, where it says something."""
_DOCUMENTS = ("text", "content", "document")
_ROLES = {"human": USER, "gpt": ASSISTANT, "bot": ASSISTANT, "model": ASSISTANT}
_KNOWN = "messages, conversations, prompt and completion, instruction and output, or text"


class Turn(NamedTuple):
    """What one side says; the role of a plain document is empty."""

    role: str
    content: str


@dataclass(frozen=True, eq=False)
class Texts:
    """Dialogues or documents.

    Attributes:
      turns: of each, in order; of a document one without a role.
      places: where each stands, for messages.
      examples: the row that each is of, for a reward; none where nobody asks.

    >>> texts = Texts(((Turn("user", "2 + 2?"), Turn("assistant", "4")),), ("a.jsonl, line 1",))
    >>> len(texts), texts.documents
    (1, False)
    """

    turns: tuple[tuple[Turn, ...], ...]
    places: tuple[str, ...]
    examples: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.turns)

    @property
    def documents(self) -> bool:
        """Whether these are plain documents and no dialogues."""
        return self.turns[0][0].role == DOCUMENT

    @property
    def groups(self) -> Int[np.ndarray, "texts"]:
        """The group of each, all of which a small held-out set is to have: here there is one."""
        return np.zeros(len(self), np.int32)

    def select(self, indices: Int[np.ndarray, "chosen"]) -> "Texts":
        """Return the texts at `indices` [chosen], in that order."""
        return Texts(
            tuple(self.turns[index] for index in indices),
            tuple(self.places[index] for index in indices),
            tuple(self.examples[index] for index in indices if self.examples),
        )


def load_texts(
    source: str | Path,
    *,
    split: str | None = None,
    columns: Sequence[str] | None = None,
    text_columns: Sequence[str] | None = None,
    answered: bool = True,
) -> Texts:
    """Read dialogues or documents.

    Args:
      source: a file (JSON lines, JSON, TSV, CSV, parquet, Excel), a folder of them with one
        called train, `Rows`, or a Hub name such as `HuggingFaceH4/ultrachat_200k`.
      split: `train` by default; a single file has none.
      columns: column names of a TSV or CSV file without header.
      text_columns: the column of the messages or of the text, or the two of a prompt and its
        completion; by default found by name.
      answered: whether a row must have a completion; else it may end with its prompt.

    Returns:
      The texts, in the order of the source.

    Raises:
      FileNotFoundError: if the file does not exist.
      ConnectionError: if the Hub cannot be reached.
      ValueError: if no column is known or a row is malformed; the message names the row.
    """
    if split not in (None, HELD_OUT) and local_splits(source) == ("train",):
        raise ValueError(f"split is {split!r}, but {source} is a file; leave split out")
    table = read_source(source, split or "train", columns)
    chosen = choose_columns(table, text_columns, answered=answered)
    table = complete_rows(table, chosen[-1], chosen[:-1])
    found = [_turns(table, number, chosen, answered) for number in table.rows]
    if len({turns[0].role == DOCUMENT for turns in found}) > 1:
        raise ValueError(
            f"{table.origin}: column {chosen[0]!r} holds messages in some rows and plain text in "
            "others; write each to a file of its own"
        )
    return Texts(tuple(found), tuple(map(table.place, table.rows)), tuple(table.rows.values()))


def choose_columns(
    table: Table, asked: Sequence[str] | None = None, *, answered: bool = True
) -> tuple[str, ...]:
    """Return the one column or the two to read: those asked for, else those with known names.

    >>> choose_columns(Table("a.csv", "line", ("id", "Prompt", "Completion"), {}))
    ('Prompt', 'Completion')
    """
    if asked is not None:
        return _require_columns(table, asked)
    spelled = {column.strip().lower(): column for column in table.columns}
    for name in _DIALOGUES:
        if name in spelled:
            return (spelled[name],)
    pairs = [pair for pair in _PAIRS if set(pair) <= set(spelled)]
    if len(pairs) > 1:
        raise ValueError(
            f"{table.origin}: {' and '.join('/'.join(pair) for pair in pairs)} could each be "
            f"prompt and completion; name the two with --text-columns, such as {' '.join(pairs[0])}"
        )
    if pairs:
        return tuple(spelled[name] for name in pairs[0])
    prompts = [pair[0] for pair in _PAIRS if pair[0] in spelled]
    if not answered and prompts:
        return (spelled[prompts[0]],)
    for name in _DOCUMENTS:
        if name in spelled:
            return (spelled[name],)
    raise ValueError(
        f"{table.origin}: none of {_KNOWN} is among the columns {', '.join(table.columns)}; name "
        "one of a text or of messages, or the two of a prompt and its completion, with "
        "--text-columns (a file without header needs --columns)"
    )


def _require_columns(table: Table, asked: Sequence[str]) -> tuple[str, ...]:
    if isinstance(asked, str) or not 1 <= len(asked) <= 2:
        raise ValueError(f"text_columns is {asked!r}; give one name, or those of prompt and answer")
    for name in asked:
        if name not in table.columns:
            raise ValueError(
                f"{table.origin}: no column {name!r}; the columns are {', '.join(table.columns)}: "
                "name them with --text-columns"
            )
    return tuple(asked)


def _turns(table: Table, number: int, columns: tuple[str, ...], answered: bool) -> tuple[Turn, ...]:
    """The turns of one row."""
    row, place = table.rows[number], table.place(number)
    missing = [name for name in columns if name not in row]
    if missing:
        raise ValueError(f"{place}: no value for column {missing[0]!r}")
    values = [_parse_cell(row[name]) for name in columns]
    if len(columns) == 2:
        return _pair(row, place, columns, values)
    if not isinstance(values[0], str):
        return _dialogue(place, columns[0], values[0], answered)
    if not answered and columns[0].strip().lower() in {pair[0] for pair in _PAIRS}:
        return (Turn(USER, values[0] + _context(row, columns[0])),)
    return (Turn(DOCUMENT, values[0]),)


def _parse_cell(value: object) -> Any:
    """A cell: messages that a file without lists has as JSON, or those of an array, as a list."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            return json.loads(value)
        except json.JSONDecodeError:  # a text that begins so
            return value
    return value


def _pair(
    row: Mapping[str, Any], place: str, columns: tuple[str, ...], values: list[Any]
) -> tuple[Turn, ...]:
    if isinstance(values[0], list) and isinstance(values[1], list):  # messages before and behind
        return _dialogue(place, columns[1], [*values[0], *values[1]], answered=True)
    for name, value in zip(columns, values, strict=True):
        if not isinstance(value, str):
            raise ValueError(f"{place}: column {name!r} holds {value!r}, not a text")
    return Turn(USER, values[0] + _context(row, columns[0])), Turn(ASSISTANT, values[1])


def _context(row: Mapping[str, Any], prompt: str) -> str:
    """What goes behind an instruction: the text that it is about, where there is one."""
    spelled = {name.strip().lower(): name for name in row}
    for name in _CONTEXTS.get(prompt.strip().lower(), ()):
        value = row.get(spelled.get(name, ""))
        if isinstance(value, str) and value.strip():
            return f"\n\n{value}"
    return ""


def _dialogue(place: str, column: str, messages: object, answered: bool) -> tuple[Turn, ...]:
    if not isinstance(messages, list | tuple) or not messages:
        raise ValueError(
            f"{place}: column {column!r} holds {messages!r}, not a list of messages; give each as "
            '{"role": ..., "content": ...}'
        )
    turns = tuple(turn_of(place, number, one) for number, one in enumerate(messages, start=1))
    if answered and not any(turn.role == ASSISTANT for turn in turns):
        roles = ", ".join(dict.fromkeys(turn.role for turn in turns))
        raise ValueError(
            f"{place}: no message is of the role {ASSISTANT}, only of {roles}; leave the row out, "
            "or say what is to be learned"
        )
    for number, turn in enumerate(turns, start=1):
        if answered and turn.role == ASSISTANT and not turn.content.strip():
            raise ValueError(
                f"{place}: message {number}, of the {ASSISTANT}, is empty; give it a text, or "
                "leave the row out"
            )
    return turns


def turn_of(place: str, number: int, message: object) -> Turn:
    """The turn that a message is, the so many-th of a place; a ValueError if it is none.

    >>> turn_of("a.jsonl, line 1", 1, {"from": "human", "value": "2 + 2?"})
    Turn(role='user', content='2 + 2?')
    """
    known = {"role": "content", "from": "value"}
    parts = message if isinstance(message, Mapping) else {}
    found = [(r, c) for r, c in known.items() if r in parts]
    if not found or found[0][1] not in parts:
        raise ValueError(f"{place}: message {number} is {message!r}; give it a role and a content")
    role, content = parts[found[0][0]], "".join(_parts(place, number, parts[found[0][1]]))
    if not isinstance(role, str) or not (role := role.strip()):
        raise ValueError(f"{place}: message {number} has the role {role!r}; give it a name")
    return Turn(_ROLES.get(role, role), content)


def _parts(place: str, number: int, content: object) -> Iterator[str]:
    """The text of a message: alone, or in parts, of which what is no text is refused."""
    if isinstance(content, str):
        yield content
        return
    for part in content if isinstance(content, list | tuple) else [content]:
        if not isinstance(part, Mapping) or not isinstance(part.get("text"), str):
            raise ValueError(
                f"{place}: message {number} holds {part!r}, not a text; leave the row out"
            )
        yield part["text"]
