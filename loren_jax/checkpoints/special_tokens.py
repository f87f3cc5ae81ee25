"""The tokens of a tokenizer that have a part to play, read from its files without opening it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.checkpoints.directory import read_json
from loren_jax.checkpoints.tokenizers import tokenizer_directory

SETTINGS = "tokenizer_config.json"
_SPECIAL = (SETTINGS, "special_tokens_map.json")
_USUAL_MASKS = ("[MASK]", "<mask>")
_USUAL_ENDS = ("<|endoftext|>", "</s>")


class Padding(NamedTuple):
    """The token that short texts are filled with, and its number in the vocabulary.

    If the files do not call it so, it is not `declared`: the end-of-text token in its place.
    """

    token: str
    number: int
    declared: bool


def mask_token_id(path: Path) -> int | None:
    """The number of the tokenizer's mask token, or None if its files do not tell it.

    A GGUF's own tokenizer is not looked at.
    """
    found = _first(path, "mask_token", *_USUAL_MASKS)
    return found and found[1]


def padding_token(path: Path) -> Padding | None:
    """What a decoder's texts are padded with, or None if the tokenizer's files do not tell it.

    A GGUF's own tokenizer is not looked at.
    """
    if declared := _first(path, "pad_token"):
        return Padding(*declared, declared=True)
    ending = _first(path, "eos_token", *_USUAL_ENDS)
    return ending and Padding(*ending, declared=False)


def with_padding_token(files: Mapping[str, bytes], token: str) -> dict[str, bytes]:
    """A tokenizer's files, name -> content, that declare a padding token, which they did not."""
    for name in _SPECIAL:
        settings = json.loads(files.get(name, b"{}"))
        if name == SETTINGS or "pad_token" in settings:
            files = {**files, name: _encode({**settings, "pad_token": token})}
    return dict(files)


def with_tokenizer_class(files: Mapping[str, bytes], name: str) -> dict[str, bytes]:
    """A tokenizer's files that name its class, unless they do or there are none.

    For a model whose type does not tell it.
    """
    settings = json.loads(files.get(SETTINGS, b"{}"))
    if not files or settings.get("tokenizer_class"):
        return dict(files)
    return {**files, SETTINGS: _encode({**settings, "tokenizer_class": name})}


def _encode(settings: Mapping[str, Any]) -> bytes:
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


def _first(path: Path, role: str, *usual: str) -> tuple[str, int] | None:
    """The first token of this role, or else the first usual one, that has a number; and that."""
    directory = tokenizer_directory(path)
    if directory is None:
        return None
    spellings = [*_spellings(directory, role), *usual]
    tables = _vocabularies(directory) if spellings else []
    for spelling in spellings:
        for numbers in tables:
            if isinstance(number := numbers.get(spelling), int):
                return spelling, number
    return None


def _vocabularies(directory: Path) -> list[Mapping[str, Any]]:
    """What the files say of the tokens' numbers, first what counts most."""
    names = ("tokenizer.json", "added_tokens.json", SETTINGS, "vocab.json")
    fast, added, settings, words = (_read(directory, name) for name in names)
    lines = directory / "vocab.txt"
    try:
        whole = fast.get("model", {}).get("vocab", {})
        listed = lines.read_text(encoding="utf-8").split("\n") if lines.is_file() else []
        decoder = settings.get("added_tokens_decoder") or {}
        return [
            {token["content"]: token["id"] for token in fast.get("added_tokens") or []},
            added,
            {token["content"]: int(number) for number, token in decoder.items()},
            {token.rstrip("\r"): number for number, token in enumerate(listed)},
            words,
            whole if isinstance(whole, Mapping) else {},
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{directory}: the tokenizer's files do not list their tokens as transformers does "
            f"({type(error).__name__}: {error}); fetch the tokenizer again"
        ) from error
