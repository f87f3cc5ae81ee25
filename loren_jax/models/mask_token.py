"""Which token a masked language model fills in, from the files of its tokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loren_jax.checkpoints import read_json

USUAL = ("[MASK]", "<mask>")


def mask_token_id(directory: Path) -> int | None:
    """The number of the mask token.

    Args:
        directory: Where the tokenizer's files lie.

    Returns:
        The number, or None if the files do not tell it.
    """
    spellings = [*_declared(directory), *USUAL]
    for vocabulary in (_fast, _added, _word_pieces, _byte_pairs):
        numbers = vocabulary(directory)
        for spelling in spellings:
            if spelling in numbers:
                return numbers[spelling]
    return None


def _declared(directory: Path) -> list[str]:
    found = []
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        token = _json(directory / name).get("mask_token")
        found.append(token.get("content") if isinstance(token, Mapping) else token)
    return [token for token in found if token]


def _fast(directory: Path) -> dict[str, int]:
    added = _json(directory / "tokenizer.json").get("added_tokens", [])
    return {token["content"]: token["id"] for token in added}


def _added(directory: Path) -> dict[str, int]:
    return _json(directory / "added_tokens.json")


def _word_pieces(directory: Path) -> dict[str, int]:
    path = directory / "vocab.txt"
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").split("\n")
    return {token.rstrip("\r"): number for number, token in enumerate(lines)}


def _byte_pairs(directory: Path) -> dict[str, int]:
    return _json(directory / "vocab.json")


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
