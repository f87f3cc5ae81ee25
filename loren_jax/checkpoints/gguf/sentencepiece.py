"""Fast tokenizers that segment like SentencePiece's byte-pair encoding.

SentencePiece keeps a score for every piece and joins, again and again, the two neighbours whose
joint piece has the best score. The `tokenizers` library joins by a list of pairs instead; listing
every way to make each piece, best piece first, gives the same segmentation. (Where the ways to make
one piece overlap in a text, as in a run of one letter, the list prefers one way and SentencePiece
the leftmost; the pieces that come of it are the same unless the run is cut differently.)
"""

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

SPACE = "\u2581"
"""How SentencePiece writes a space."""


class Kind(enum.Enum):
    """What a piece is, as SentencePiece and GGUF count."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


class Piece(NamedTuple):
    """One entry of a SentencePiece vocabulary, with `▁` for a space.

    The higher its score, the sooner it is joined.
    """

    text: str
    score: float
    kind: Kind


def sentencepiece_tokenizer(
    pieces: Sequence[Piece],
    *,
    unknown: int,
    prefix_space: bool = True,
    single_spaces: bool = False,
) -> Any:
    """Builds a tokenizer that adds no special tokens of its own.

    `pieces` are in the order of their ids; `unknown` is the id for what has neither pieces nor
    bytes. With `prefix_space` a text is segmented as if a space stood before it; with
    `single_spaces` runs of spaces count as one, and outer spaces as none.
    """
    import tokenizers
    from tokenizers import decoders, models

    vocabulary = {piece.text: number for number, piece in enumerate(pieces)}
    if len(vocabulary) != len(pieces):
        raise ValueError("the vocabulary has one piece twice; export the tokenizer anew")
    has_bytes = any(piece.kind is Kind.BYTE for piece in pieces)
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=_merges(pieces),
            unk_token=pieces[unknown].text,
            fuse_unk=True,
            byte_fallback=has_bytes,
        )
    )
    tokenizer.normalizer = _normalizer(prefix_space, single_spaces)
    steps: list[Any] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix_space:
        steps.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(steps)
    add_tokens(tokenizer, [(piece.text, piece.kind) for piece in pieces])
    return tokenizer


def add_tokens(tokenizer: Any, kinds: Sequence[tuple[str, Kind]]) -> None:
    """Lets the tokens that are more than pieces of text stay whole."""
    from tokenizers import AddedToken

    for wanted, add in (
        (Kind.CONTROL, tokenizer.add_special_tokens),
        (Kind.UNKNOWN, tokenizer.add_special_tokens),
        (Kind.USER_DEFINED, tokenizer.add_tokens),
    ):
        add([AddedToken(text, normalized=False) for text, kind in kinds if kind is wanted])


def _merges(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """Every way to join two pieces to a third, the best third first."""
    scores = {piece.text: piece.score for piece in pieces if piece.kind is Kind.NORMAL}
    best_first = sorted(scores, key=scores.__getitem__, reverse=True)
    return [
        (whole[:cut], whole[cut:])
        for whole in best_first
        for cut in range(1, len(whole))
        if whole[:cut] in scores and whole[cut:] in scores
    ]


def _normalizer(prefix_space: bool, single_spaces: bool) -> Any:
    from tokenizers import Regex, normalizers

    steps: list[Any] = []
    if single_spaces:
        steps += [
            normalizers.Replace(Regex(r"\A +| +\z"), ""),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    if prefix_space:
        steps.append(normalizers.Prepend(SPACE))
    return normalizers.Sequence([*steps, normalizers.Replace(" ", SPACE)])
