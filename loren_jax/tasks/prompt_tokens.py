"""Examples in a prompt, as tokens: what does not fit is cut from the fields, never from the prompt.

A prompt is tokenised as one text, as the tokenizer would do it by itself. Only where that is too
long are the fields tokenised alone, the longest cut first, and the shorter text is tokenised again.
"""

from collections.abc import Sequence
from typing import Any

from loren_jax.tasks.prompts import Prompt

_MOST_ATTEMPTS = 20


def tokenize_prompts(
    tokenizer: Any, texts: Sequence[tuple[str, ...]], prompt: Prompt, max_length: int
) -> dict[str, list[list[int]]]:
    """Tokenise examples, given by their fields, in a prompt, to at most `max_length` tokens.

    A tokenizer with a mask token belongs to an encoder, one without to a decoder. A ValueError if
    the prompt alone is too long, or a field stands after a decoder's answer.
    """
    mask_token = getattr(tokenizer, "mask_token", None)
    if mask_token is None:
        prompt.require_decodable()
    else:
        # The answer's place must be the only one of its kind.
        texts = [tuple(text.replace(mask_token, " ") for text in fields) for fields in texts]
    ending = 0 if mask_token else _ending(tokenizer)
    encode = lambda batch: [row[: len(row) - ending] for row in tokenizer(batch)["input_ids"]]
    rows = encode([prompt.render(fields, mask_token) for fields in texts])
    for number, row in enumerate(rows):
        if len(row) > max_length:
            rows[number] = _shortened(
                tokenizer, encode, texts[number], prompt, mask_token, max_length
            )
    return {"input_ids": rows}


def _ending(tokenizer: Any) -> int:
    """How many tokens of its own a tokenizer puts after a text: a decoder must not read them."""
    text = "a"
    whole = tokenizer(text)["input_ids"]
    bare = tokenizer.encode(text, add_special_tokens=False)
    starts = [i for i in range(len(whole)) if whole[i : i + len(bare)] == bare]
    return len(whole) - (starts[-1] + len(bare)) if starts else 0


def _shortened(
    tokenizer: Any,
    encode: Any,
    fields: tuple[str, ...],
    prompt: Prompt,
    mask_token: str | None,
    max_length: int,
) -> list[int]:
    """The tokens of one example whose fields are cut until it fits."""
    ends = [_token_ends(tokenizer, text) for text in fields]
    kept = [len(tokens) for tokens in ends]
    row = encode([prompt.render(fields, mask_token)])[0]
    for _ in range(_MOST_ATTEMPTS):
        excess = len(row) - max_length
        if excess <= 0:
            return row
        if not any(kept):
            break
        for _ in range(min(excess, sum(kept))):
            kept[kept.index(max(kept))] -= 1
        cut = [
            text[: tokens[count - 1]] if count else ""
            for text, tokens, count in zip(fields, ends, kept, strict=True)
        ]
        row = encode([prompt.render(cut, mask_token)])[0]
    if len(row) <= max_length:
        return row
    raise ValueError(
        f"max_length is {max_length}, but the prompt alone has {len(row)} tokens; raise it, or "
        "shorten the template"
    )


def _token_ends(tokenizer: Any, text: str) -> list[int]:
    """Where every token of a text ends, in characters."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return [end for _, end in encoded["offset_mapping"]]
