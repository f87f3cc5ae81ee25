"""The tokens of a tokenizer that have a part to play, read from its files without opening it."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.checkpoints.directory import read_json

SETTINGS = "tokenizer_config.json"
_SPECIAL = (SETTINGS, "special_tokens_map.json")
_USUAL_MASKS = ("[MASK]", "<mask>")
_USUAL_ENDS = ("<|endoftext|>", "</s>")


class Padding(NamedTuple):
    """The token that short texts are filled with.

    Attributes:
        token: Its spelling.
        number: Its number in the vocabulary.
        declared: Whether the files call it so; else it is the end-of-text token in its place.
    """

    token: str
    number: int
    declared: bool


def mask_token_id(directory: Path) -> int | None:
    """The number of the tokenizer's mask token, or None if the directory's files do not tell it."""
    found = _first(directory, [*_spellings(directory, "mask_token"), *_USUAL_MASKS])
    return found and found[1]


def padding_token(directory: Path) -> Padding | None:
    """What a decoder's texts are padded with, or None if the directory's files do not tell it."""
    if declared := _first(directory, _spellings(directory, "pad_token")):
        return Padding(*declared, declared=True)
    ending = _first(directory, [*_spellings(directory, "eos_token"), *_USUAL_ENDS])
    return ending and Padding(*ending, declared=False)


def with_padding_token(files: Mapping[str, bytes], token: str) -> dict[str, bytes]:
    """A tokenizer's files that declare a padding token, which they did not.

    Args:
        files: File name -> content.
        token: The token's spelling.

    Returns:
        The files, the settings among them changed.
    """
    for name in _SPECIAL:
        settings = json.loads(files.get(name, b"{}"))
        if name == SETTINGS or "pad_token" in settings:
            files = {**files, name: _encoded({**settings, "pad_token": token})}
    return dict(files)


def with_tokenizer_class(files: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    """A tokenizer's files that name its class, unless they do or there are none.

    Args:
        files: File name -> content.
        name: The class, for a model whose type does not tell it.

    Returns:
        The files.
    """
    settings = json.loads(files.get(SETTINGS, b"{}"))
    if not files or settings.get("tokenizer_class"):
        return dict(files)
    return {**files, SETTINGS: _encoded({**settings, "tokenizer_class": name})}


def _encoded(settings: Mapping[str, Any]) -> bytes:
    return (json.dumps(settings, indent=2, ensure_ascii=False) + "\n").encode()


def _read(directory: Path, name: str) -> dict[str, Any]:
    return read_json(directory / name) if (directory / name).is_file() else {}


def _spellings(directory: Path, role: str) -> list[str]:
    """What the files call the token, first what counts for transformers.

    It reads the older file of the two only where the settings number no tokens.
    """
    settings, older = (_read(directory, name) for name in _SPECIAL)
    spelled = []
    for entries in [settings] if "added_tokens_decoder" in settings else [older, settings]:
        token = entries.get(role)
        token = token.get("content") if isinstance(token, Mapping) else token
        spelled += [token] if isinstance(token, str) else []
    return spelled


def _first(directory: Path, spellings: Iterable[str]) -> tuple[str, int] | None:
    """The first of some tokens that has a number, and that number."""
    spellings = list(spellings)
    if not spellings:
        return None
    tokenizer = _read(directory, "tokenizer.json")
    words = directory / "vocab.txt"
    lines = words.read_text(encoding="utf-8").split("\n") if words.is_file() else []
    vocabulary = tokenizer.get("model", {}).get("vocab", {})
    tables: list[Mapping[str, int]] = [
        {token["content"]: token["id"] for token in tokenizer.get("added_tokens") or []},
        _read(directory, "added_tokens.json"),
        {
            token["content"]: int(number)
            for number, token in _read(directory, SETTINGS).get("added_tokens_decoder", {}).items()
        },
        {token.rstrip("\r"): number for number, token in enumerate(lines)},
        _read(directory, "vocab.json"),
        vocabulary if isinstance(vocabulary, Mapping) else {},
    ]
    for spelling in spellings:
        for numbers in tables:
            if spelling in numbers:
                return spelling, numbers[spelling]
    return None
