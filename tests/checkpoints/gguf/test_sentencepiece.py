"""Segmentation is SentencePiece's: always the two neighbours whose joint piece scores best."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loren_jax.checkpoints.gguf.sentencepiece import SPACE, Kind, Piece, sentencepiece_tokenizer


def greedy(pieces, text):
    """The definition, one joint after the other, the leftmost of the best; for known characters."""
    scores = {piece.text: piece.score for piece in pieces}
    parts = list(text.replace(" ", SPACE))
    while True:
        joints = [
            (-scores[whole], place)
            for place, whole in enumerate(map("".join, itertools.pairwise(parts)))
            if whole in scores
        ]
        if not joints:
            return parts
        _, place = min(joints)
        parts[place : place + 2] = ["".join(parts[place : place + 2])]


# The better of two joints is not always the earlier, the longer or the one of better parts.
WORDS = ["he", "th", "the", "er", "ther", SPACE + "t", SPACE + "the", "rt", "ee", "et", "hee"]
LETTERS = ["t", "h", "e", "r", SPACE]
SPECIAL = [
    Piece("<unk>", 0, Kind.UNKNOWN),
    Piece("<s>", 0, Kind.CONTROL),
    Piece("</s>", 0, Kind.CONTROL),
]
PIECES = SPECIAL + [
    Piece(text, -float(number), Kind.NORMAL) for number, text in enumerate(WORDS + LETTERS)
]
BYTES = [Piece(f"<0x{byte:02X}>", 0, Kind.BYTE) for byte in range(256)]
TOKENIZER = sentencepiece_tokenizer(PIECES, unknown=0, prefix_space=False)


@given(st.text("ther ", max_size=20))
def test_segmentation_is_greedy(text):
    encoded = TOKENIZER.encode(text)
    assert encoded.tokens == greedy(PIECES, text)
    assert TOKENIZER.decode(encoded.ids) == text


def test_text_begins_with_a_space():
    tokenizer = sentencepiece_tokenizer(PIECES, unknown=0)
    assert tokenizer.encode("the the").tokens == [f"{SPACE}the", f"{SPACE}the"]
    assert tokenizer.encode(" the").tokens == [SPACE, f"{SPACE}the"]
    assert tokenizer.encode("").tokens == []
    assert tokenizer.decode(tokenizer.encode(" the").ids) == " the"


def test_spaces_are_kept_or_collapsed():
    tokenizer = sentencepiece_tokenizer(PIECES, unknown=0, single_spaces=True)
    expected = [f"{SPACE}the", SPACE, "ther"]
    assert tokenizer.encode("  the   ther ").tokens == expected
    # Only at the ends of the text, not of each line.
    unknown = ["<unk>", SPACE, "<unk>"]
    assert tokenizer.encode("\n \n").tokens == [SPACE, *unknown]


def test_unknown_characters_are_bytes_or_one_token():
    tokenizer = sentencepiece_tokenizer(PIECES + BYTES, unknown=0, prefix_space=False)
    assert tokenizer.encode("eé").tokens == ["e", "<0xC3>", "<0xA9>"]
    assert tokenizer.decode(tokenizer.encode("eé").ids) == "eé"
    assert TOKENIZER.encode("exyh").tokens == ["e", "<unk>", "h"]


def test_control_and_user_pieces_stay_whole():
    pieces = [*PIECES, Piece("<sep>", 0, Kind.USER_DEFINED)]
    tokenizer = sentencepiece_tokenizer(pieces, unknown=0, prefix_space=False)
    encoded = tokenizer.encode("th<sep>e</s>")
    assert encoded.tokens == ["th", "<sep>", "e", "</s>"]
    assert tokenizer.decode(encoded.ids) == "th<sep>e"


def test_one_piece_twice_is_refused():
    with pytest.raises(ValueError, match="one piece twice"):
        sentencepiece_tokenizer([*PIECES, PIECES[5]], unknown=0)
