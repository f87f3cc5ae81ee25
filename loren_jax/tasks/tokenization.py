"""From texts to token arrays, through a Hugging Face tokenizer.

Its own padding to a multiple refuses maximum lengths that are no multiple, and its arrays are
int64; the few lines that pad here avoid both. `transformers` is imported only when a folder has
to be opened.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32

from loren_jax.tasks.batches import Tokens
from loren_jax.tasks.text_classification import Examples

# Rows of eight tokens: few enough to waste little, and a size that accelerators like.
_LENGTH_MULTIPLE = 8


def tokenize(tokenizer: Any, examples: Examples, max_length: int) -> Tokens:
    """Tokenise all examples to one length.

    The length T is that of the longest example, at most `max_length`, rounded up to a multiple of
    8. Longer examples are cut; of a pair, the longer text is cut first. Padding goes to the side
    that the tokenizer asks for.

    Args:
        tokenizer: a Hugging Face tokenizer, or the local folder that holds one.
        examples: N examples, at least one.
        max_length: largest number of tokens of an example, the special ones included.

    Returns:
        int32 arrays, [N, T] and for the labels [N].

    Raises:
        FileNotFoundError: if `tokenizer` is a folder that does not exist.
        ValueError: if there are no examples, the tokenizer has no padding token, or `max_length`
            leaves no room for the texts.
    """
    if isinstance(tokenizer, str | os.PathLike):
        tokenizer = open_tokenizer(Path(tokenizer))
    if len(examples) == 0:
        raise ValueError("examples is empty; there is nothing to tokenise")
    if tokenizer.pad_token_id is None:
        raise ValueError(
            "the tokenizer has no padding token; set one, for instance "
            "`tokenizer.pad_token = tokenizer.eos_token`"
        )
    _require_room(tokenizer, len(examples.texts[0]), max_length)
    columns = [list(column) for column in zip(*examples.texts, strict=True)]
    encoded = tokenizer(
        *columns, truncation=True, max_length=max_length, return_attention_mask=False
    )
    ids = encoded["input_ids"]
    types = encoded.get("token_type_ids", [[0] * len(row) for row in ids])
    left = tokenizer.padding_side == "left"
    return Tokens(
        input_ids=_padded(ids, tokenizer.pad_token_id, left),
        attention_mask=_padded([[1] * len(row) for row in ids], 0, left),
        token_type_ids=_padded(types, 0, left),
        labels=examples.labels,
    )


def open_tokenizer(directory: Path) -> Any:
    """Open the tokenizer of a local folder; never asks the network.

    Args:
        directory: a folder with `tokenizer.json` or the vocabulary files.

    Returns:
        The Hugging Face tokenizer.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not directory.is_dir():
        raise FileNotFoundError(f"tokenizer: there is no folder {directory}; download it first")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory, local_files_only=True)


def _require_room(tokenizer: Any, num_texts: int, max_length: int) -> None:
    special = tokenizer.num_special_tokens_to_add(pair=num_texts == 2)
    if max_length < special + num_texts:
        raise ValueError(
            f"max_length is {max_length}, but the tokenizer adds {special} special tokens; give "
            f"at least {special + num_texts}"
        )


def _padded(rows: list[list[int]], value: int, left: bool) -> Int32[np.ndarray, "examples length"]:
    longest = max(len(row) for row in rows)
    length = max(1, -(-longest // _LENGTH_MULTIPLE)) * _LENGTH_MULTIPLE
    padded = np.full((len(rows), length), value, np.int32)
    for target, row in zip(padded, rows, strict=True):
        target[slice(length - len(row), None) if left else slice(len(row))] = row
    return padded
