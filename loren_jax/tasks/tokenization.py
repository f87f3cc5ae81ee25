"""From texts to token arrays, through a Hugging Face tokenizer.

Its own padding to a multiple refuses maximum lengths that are no multiple, and its arrays are
int64; the few lines that pad here avoid both. `transformers` is imported only when a folder has
to be opened.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from loren_jax.tasks.batches import Tokens
from loren_jax.tasks.examples import Examples
from loren_jax.tasks.prompts import Prompt, tokenize_prompts

# Rows of eight tokens: few enough to waste little, and a size that accelerators like.
_LENGTH_MULTIPLE = 8
_ROWS_AT_A_TIME = 512


def tokenize(
    tokenizer: Any,
    examples: Examples,
    max_length: int,
    *,
    prompt: Prompt | None = None,
    positions: int | None = None,
) -> Tokens:
    """Tokenise all examples to one length.

    The length T is that of the longest example, at most `max_length`, rounded up to a multiple of
    8. Longer examples are cut; of a pair, the longer text is cut first, and of a prompt only its
    fields, the longest first. Padding goes to the side that the tokenizer asks for, with its
    padding token; where it has none, with its end-of-text token, which is said on standard error.

    Args:
      tokenizer: a Hugging Face tokenizer, or the local folder that holds one.
      examples: N examples, at least one; with a prompt, their texts are its fields.
      max_length: largest number of tokens of an example, the special ones included.
      prompt: what surrounds the texts; a tokenizer with a mask token belongs to an encoder,
        which gets it as the answer, and one without to a decoder, whose text ends there.
      positions: what the length must not be rounded up beyond.

    Returns:
      int32 arrays, [N, T] and for the labels [N].

    Raises:
      FileNotFoundError: if `tokenizer` is a folder that does not exist.
      ValueError: if there are no examples, the tokenizer has neither a padding nor an
        end-of-text token, or `max_length` leaves no room for the texts.
    """
    if len(examples) == 0:
        raise ValueError("examples is empty; there is nothing to tokenise")
    if isinstance(tokenizer, str | os.PathLike):
        tokenizer = open_tokenizer(Path(tokenizer))
    pad_token_id = padding_token_id(tokenizer)
    left = tokenizer.padding_side == "left"
    ids, types = _rows(tokenizer, examples, max_length, prompt)
    longest = max(len(row) for row in ids)
    length = max(1, -(-longest // _LENGTH_MULTIPLE)) * _LENGTH_MULTIPLE
    if positions is not None:
        length = max(longest, min(length, positions))
    return Tokens(
        input_ids=_pad(ids, length, pad_token_id, left),
        attention_mask=_pad([[1] * len(row) for row in ids], length, 0, left),
        token_type_ids=_pad(types, length, 0, left),
        labels=examples.labels,
    )


def open_tokenizer(path: Path) -> Any:
    """Open the tokenizer of a local model; never asks the network.

    Args:
      path: a folder with `tokenizer.json` or the vocabulary files, or a GGUF.

    Returns:
      The Hugging Face tokenizer.

    Raises:
      FileNotFoundError: if there is no such path.
      ValueError: if the tokenizer is damaged or of a kind that is not supported.
    """
    if not path.exists():
        raise FileNotFoundError(f"tokenizer: there is no folder {path}; download it first")
    from loren_jax.checkpoints import checkpoint_tokenizer

    return checkpoint_tokenizer(path)


def padding_token_id(tokenizer: Any) -> int:
    """Return the token to pad with; a decoder without one gets its end-of-text token."""
    if tokenizer.pad_token_id is not None:
        return tokenizer.pad_token_id
    if tokenizer.eos_token_id is None:
        raise ValueError(
            "the tokenizer has no padding token, nor an end-of-text token to take its place; give "
            'it one: "pad_token" in its tokenizer_config.json, or `tokenizer.pad_token = ...`'
        )
    print(
        f"the tokenizer has no padding token: padded with its end-of-text token "
        f"{tokenizer.eos_token!r}",
        file=sys.stderr,
    )
    # Said once: every later call gets the same answer.
    tokenizer.pad_token = tokenizer.eos_token
    return tokenizer.eos_token_id


def require_vocabulary(tokenizer: Any, largest: int, vocab_size: int) -> None:
    """Raise a ValueError if a token is none of a model's vocabulary."""
    if largest >= vocab_size:
        raise ValueError(
            f"model: its tokenizer gives the token {largest} "
            f"({tokenizer.convert_ids_to_tokens(largest)!r}), but its vocabulary has "
            f"vocab_size={vocab_size}; take the tokenizer that belongs to the model"
        )


def _rows(
    tokenizer: Any, examples: Examples, max_length: int, prompt: Prompt | None
) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids and types of every example, without padding."""
    ids: list[list[int]] = []
    types: list[list[int]] = []
    if prompt is None:
        _require_room(tokenizer, len(examples.texts[0]), max_length)
    for texts in _pieces(examples):
        if prompt is None:
            columns = [list(column) for column in zip(*texts, strict=True)]
            encoded = tokenizer(
                *columns, truncation=True, max_length=max_length, return_attention_mask=False
            )
        else:
            encoded = tokenize_prompts(tokenizer, texts, prompt, max_length)
        ids += encoded["input_ids"]
        types += encoded.get("token_type_ids", [[0] * len(row) for row in encoded["input_ids"]])
    return ids, types


def _pieces(examples: Examples) -> Iterator[tuple[tuple[str, ...], ...]]:
    """The texts a few hundred at a time, under a bar where there is a terminal."""
    from tqdm import tqdm

    with tqdm(
        total=len(examples),
        desc="tokenising",
        unit=" examples",
        leave=False,
        disable=len(examples) <= _ROWS_AT_A_TIME or not sys.stderr.isatty(),
    ) as bar:
        for start in range(0, len(examples), _ROWS_AT_A_TIME):
            piece = examples.texts[start : start + _ROWS_AT_A_TIME]
            yield piece
            bar.update(len(piece))


def _require_room(tokenizer: Any, num_texts: int, max_length: int) -> None:
    if num_texts > 2:
        raise ValueError(
            f"text_columns has {num_texts} columns; without a prompt an example is one text or two"
        )
    special = tokenizer.num_special_tokens_to_add(pair=num_texts == 2)
    if max_length < special + num_texts:
        raise ValueError(
            f"max_length is {max_length}, but the tokenizer adds {special} special tokens; give "
            f"at least {special + num_texts}"
        )


def _pad(
    rows: list[list[int]], length: int, value: int, left: bool
) -> Int32[np.ndarray, "examples length"]:
    padded = np.full((len(rows), length), value, np.int32)
    for target, row in zip(padded, rows, strict=True):
        target[slice(length - len(row), None) if left else slice(len(row))] = row
    return padded
