"""SentencePiece's files are read field by field, and other kinds are refused."""

import struct

import pytest
from checkpoints.real_models import BABY

from loren_jax.checkpoints.sentencepiece_model import read_sentencepiece_model
from loren_jax.checkpoints.sentencepiece_tokenizer import Kind, Piece


def flag(number, value):
    return bytes([*varint(number << 3), value])


def part(number, content):
    return bytes([*varint(number << 3 | 2), *varint(len(content))]) + content


def varint(value):
    return [value] if value < 128 else [value & 127 | 128, *varint(value >> 7)]


def piece(text, score, kind=1):
    kinds = b"" if kind == 1 else flag(3, kind)  # what is usual is left out
    return part(1, part(1, text.encode()) + b"\x15" + struct.pack("<f", score) + kinds)


PIECES = piece("<unk>", 0, 2) + piece("▁é", -1.5) + piece("<0x41>", 0, 6)
BPE = part(2, flag(3, 2) + part(1, b"x" * 300))


def test_pieces_and_defaults_are_read(tmp_path):
    path = tmp_path / "tok.model"
    path.write_bytes(PIECES + BPE)
    expected = [
        Piece("<unk>", 0, Kind.UNKNOWN),
        Piece("▁é", -1.5, Kind.NORMAL),
        Piece("<0x41>", 0, Kind.BYTE),
    ]
    assert read_sentencepiece_model(path) == (expected, True, True)
    path.write_bytes(PIECES + BPE + part(3, flag(3, 0) + flag(4, 0)))
    assert read_sentencepiece_model(path) == (expected, False, False)


REFUSED = {
    "empty": (b"", "only SentencePiece models of byte-pair encoding"),
    "unigram": (PIECES + part(2, flag(3, 1)), "only SentencePiece models of byte-pair encoding"),
    "charsmap": (PIECES + BPE + part(3, part(2, b"x")), "normalisation of texts is not supported"),
    "escape": (PIECES + BPE + part(3, flag(5, 0)), "normalisation of texts is not supported"),
    "suffix": (PIECES + part(2, flag(3, 2) + flag(24, 1)), "normalisation of texts is not"),
    "cut": ((PIECES + BPE)[:-1], "is no SentencePiece model"),
    "wire": (b"\x0f", "is no SentencePiece model"),
    "endless": (b"\xff" * 20, "is no SentencePiece model"),
    "number": (part(1, flag(1, 5)) + BPE, "is no SentencePiece model"),
    "nothing": (part(1, b"") + BPE, "is no SentencePiece model"),
    "kind": (piece("a", 0, 9) + BPE, "is no SentencePiece model"),
    "text": (b"hello, this is no model", "is no SentencePiece model"),
}


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_other_files_are_refused(content, message, tmp_path):
    path = tmp_path / "tok.model"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"tok.model.*{message}"):
        read_sentencepiece_model(path)


@pytest.mark.parametrize("model", [BABY])
def test_real_model_says_what_its_vocabulary_file_says(model):
    pieces = read_sentencepiece_model(model.with_name("tok105.model")).pieces
    lines = model.with_name("tok105.vocab").read_text(encoding="utf-8").split("\n")[:-1]
    assert [(piece.text, piece.score) for piece in pieces] == [
        (text, float(score)) for text, score in (line.rsplit("\t", 1) for line in lines)
    ]
