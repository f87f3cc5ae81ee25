"""The tokenizer of a llama2.c model, which lies in a file of its own beside the model."""

import struct
from pathlib import Path
from typing import Any

from loren_jax.checkpoints.fast_tokenizer import fast_tokenizer
from loren_jax.checkpoints.llama2c_file import BOS, EOS, read_llama2c_header
from loren_jax.checkpoints.sentencepiece_model import SentencePieceModel, read_sentencepiece_model
from loren_jax.checkpoints.sentencepiece_tokenizer import (
    SPACE,
    Kind,
    Piece,
    sentencepiece_tokenizer,
)

_PATTERNS = ("tok*.bin", "tok*.model")
_FIRST_BYTE, _FIRST_PIECE = 3, 259
_ENTRY = struct.Struct("<fi")
_SPECIAL = (("<unk>", Kind.UNKNOWN), ("<s>", Kind.CONTROL), ("</s>", Kind.CONTROL))


def find_llama2c_tokenizer(path: Path, vocabulary: int) -> Path:
    """Finds the tokenizer's file beside the model's.

    Args:
        path: The model's file.
        vocabulary: Number of tokens of the model.

    Returns:
        The one file called ``tok*.bin``, or else ``tok*.model``.

    Raises:
        FileNotFoundError: If there is none with that number of tokens.
        ValueError: If there are several.
    """
    for pattern in _PATTERNS:
        files = [file for file in sorted(path.parent.glob(pattern)) if file != path]
        fitting = [file for file in files if len(read_pieces(file).pieces) == vocabulary]
        if len(fitting) > 1:
            raise ValueError(
                f"{path}: the tokenizer may be {fitting[0].name} or {fitting[1].name}; leave one"
            )
        if fitting:
            return fitting[0]
    raise FileNotFoundError(
        f"{path} has no tokenizer of {vocabulary} tokens beside it; fetch the tok*.bin, or the "
        "tok*.model, that belongs to it"
    )


def llama2c_tokenizer(path: Path) -> Any:
    """Builds the Hugging Face tokenizer of a llama2.c model.

    Every text begins with the token 1; padding, of which llama2.c knows nothing, is done with the
    end token, as ``checkpoint_config`` says too.

    Args:
        path: The model's file.

    Returns:
        A ``transformers.PreTrainedTokenizerFast``.

    Raises:
        FileNotFoundError: If there is no tokenizer beside the model.
        ValueError: If its file is damaged.
    """
    header = read_llama2c_header(path)
    model = read_pieces(find_llama2c_tokenizer(path, header.vocabulary))
    unknown = [number for number, piece in enumerate(model.pieces) if piece.kind is Kind.UNKNOWN]
    tokenizer = sentencepiece_tokenizer(
        model.pieces,
        unknown=unknown[0],
        prefix_space=model.prefix_space,
        single_spaces=model.single_spaces,
    )
    end = model.pieces[EOS].text
    special = {
        "unk_token": model.pieces[unknown[0]].text,
        "bos_token": model.pieces[BOS].text,
        "eos_token": end,
        "pad_token": end,
    }
    return fast_tokenizer(tokenizer, special, add_bos=True, max_length=header.length)


def read_pieces(path: Path) -> SentencePieceModel:
    """Reads the vocabulary of a SentencePiece model, in its own format or in llama2.c's.

    Args:
        path: ``*.model``, or ``*.bin``: the longest piece's length, then score, length and text of
            every piece.

    Returns:
        The vocabulary and how a text is normalised.

    Raises:
        ValueError: If the file is damaged, or does not begin with ``<unk>``, ``<s>``, ``</s>``.
    """
    if path.suffix == ".model":
        model = read_sentencepiece_model(path)
    else:
        model = SentencePieceModel(_pieces(path), prefix_space=True, single_spaces=False)
    if [(piece.text, piece.kind) for piece in model.pieces[:3]] != list(_SPECIAL):
        raise ValueError(f"{path}: the first pieces must be {[text for text, _ in _SPECIAL]}")
    return model


def _pieces(path: Path) -> list[Piece]:
    content = path.read_bytes()
    pieces, at = [], 4
    try:
        while at < len(content):
            score, size = _ENTRY.unpack_from(content, at)
            at += _ENTRY.size
            if not 0 < size <= len(content) - at:
                raise ValueError(f"a piece of {size} bytes")
            pieces.append(_piece(len(pieces), content[at : at + size].decode("utf-8"), score))
            at += size
    except (struct.error, ValueError) as error:
        raise ValueError(f"{path} is no tokenizer of llama2.c ({error}); fetch it again") from error
    return pieces


def _piece(number: int, text: str, score: float) -> Piece:
    if number < _FIRST_BYTE:
        # The file has line breaks around the first and last token of a text, for printing.
        return Piece(text.strip(), score, _SPECIAL[number][1])
    if number < _FIRST_PIECE and text == f"<0x{number - _FIRST_BYTE:02X}>":
        return Piece(text, score, Kind.BYTE)
    return Piece(text.replace(" ", SPACE), score, Kind.NORMAL)
