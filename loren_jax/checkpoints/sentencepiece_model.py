"""SentencePiece's own model files, read without SentencePiece.

The file is a protocol buffer. Three of its messages matter: the pieces (field 1), how they were
trained (field 2), and how a text is normalised (field 3).
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.checkpoints.sentencepiece_tokenizer import Kind, Piece

_BPE = 2


class SentencePieceModel(NamedTuple):
    """What segmentation needs to know.

    Attributes:
        pieces: The vocabulary in the order of its ids.
        prefix_space: Whether a text is segmented as if a space stood before it.
        single_spaces: Whether runs of spaces count as one, and outer spaces as none.
    """

    pieces: list[Piece]
    prefix_space: bool
    single_spaces: bool


def read_sentencepiece_model(path: Path) -> SentencePieceModel:
    """Reads a ``.model`` file of byte-pair encoding.

    Args:
        path: The file.

    Returns:
        The vocabulary and the options.

    Raises:
        ValueError: If the file is damaged, or of another kind than byte-pair encoding.
    """
    try:
        fields = list(_fields(path.read_bytes()))
        pieces = [_piece(content) for field, content in fields if field == 1]
        trained = _message(fields, 2)
        normaliser = _message(fields, 3)
    except (AttributeError, LookupError, struct.error, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no SentencePiece model ({error}); fetch it again") from error
    if not pieces or trained.get(3, 1) != _BPE:
        raise ValueError(f"{path}: only SentencePiece models of byte-pair encoding are supported")
    # Field 2 is a table of replacements, 24 puts spaces behind words, 5 would keep spaces as such.
    if normaliser.get(2) or trained.get(24) or not normaliser.get(5, 1):
        raise ValueError(f"{path}: the model's normalisation of texts is not supported")
    return SentencePieceModel(pieces, bool(normaliser.get(3, 1)), bool(normaliser.get(4, 1)))


def _message(fields: list[tuple[int, Any]], number: int) -> dict[int, Any]:
    contents = [content for field, content in fields if field == number]
    return dict(_fields(contents[-1])) if contents else {}


def _piece(content: bytes) -> Piece:
    fields = dict(_fields(content))
    (score,) = struct.unpack("<f", fields.get(2, bytes(4)))
    return Piece(fields[1].decode("utf-8"), score, Kind(fields.get(3, 1)))


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and content of each field: an integer, or the bytes of anything else."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            content, at = _varint(message, at)
        elif wire in (1, 2, 5):
            size, at = _varint(message, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
            content = message[at : at + size]
            if len(content) != size:
                raise ValueError("it ends too soon")
            at += size
        else:
            raise ValueError(f"wire type {wire}")
        yield tag >> 3, content


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise ValueError("a number of more than ten bytes")
