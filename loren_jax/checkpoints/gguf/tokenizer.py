"""The tokenizer inside a GGUF file."""

from typing import Any

from loren_jax.checkpoints.gguf.header import GGUFHeader
from loren_jax.checkpoints.gguf.sentencepiece import (
    Kind,
    Piece,
    add_tokens,
    sentencepiece_tokenizer,
)

_SPECIAL = {
    "bos_token": "tokenizer.ggml.bos_token_id",
    "eos_token": "tokenizer.ggml.eos_token_id",
    "unk_token": "tokenizer.ggml.unknown_token_id",
    "pad_token": "tokenizer.ggml.padding_token_id",
}
_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# Digits alone, else the same.
_QWEN2_WORDS = _LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}")
_GPT2, _SMOLLM, _LLAMA3, _SMAUG, _QWEN2 = "gpt-2", "smollm", "llama-bpe", "smaug-bpe", "qwen2"
_WHOLE_WORDS = (_LLAMA3, _SMAUG)
"""Those that look a word up whole before they join its parts."""


def gguf_tokenizer(header: GGUFHeader) -> Any:
    """The Hugging Face tokenizer that a GGUF file describes, a `PreTrainedTokenizerFast`.

    Raises:
      FileNotFoundError: If the file has no tokenizer.
      ValueError: If the tokenizer is damaged, or of a kind that is not supported.
    """
    model = header.get("tokenizer.ggml.model", "none")
    if model in ("none", "no_vocab"):
        raise FileNotFoundError(
            f"{header.path} has no tokenizer; convert the model anew, with its vocabulary"
        )
    tokens = header.require("tokenizer.ggml.tokens")
    if model == "gpt2":
        tokenizer = _byte_level(header, tokens)
        add_bos = header.get("tokenizer.ggml.pre") == _LLAMA3
    elif model == "llama":
        tokenizer = sentencepiece_tokenizer(
            _pieces(header, tokens),
            unknown=header.get("tokenizer.ggml.unknown_token_id", 0),
            prefix_space=header.get("tokenizer.ggml.add_space_prefix", True),
            single_spaces=header.get("tokenizer.ggml.remove_extra_whitespaces", False),
        )
        add_bos = True
    else:
        raise ValueError(f"{header.path}: a tokenizer of kind {model!r} is not supported")
    return fast_tokenizer(
        tokenizer,
        _special_tokens(header, tokens),
        add_bos=header.get("tokenizer.ggml.add_bos_token", add_bos),
        add_eos=header.get("tokenizer.ggml.add_eos_token", False),
        max_length=header.get(f"{header.require('general.architecture')}.context_length"),
        chat_template=header.get("tokenizer.chat_template"),
    )


def _special_tokens(header: GGUFHeader, tokens: list[str]) -> dict[str, str]:
    special = {}
    for name, key in _SPECIAL.items():
        number = header.get(key)
        if number is None:
            continue
        if not 0 <= number < len(tokens):
            raise ValueError(f"{header.path}: {key}={number}, but there are {len(tokens)} tokens")
        special[name] = tokens[number]
    return special


def _kinds(header: GGUFHeader, tokens: list[str]) -> list[Kind]:
    numbers = header.get("tokenizer.ggml.token_type")
    if numbers is None:
        return [Kind.NORMAL] * len(tokens)
    if len(numbers) != len(tokens):
        raise ValueError(f"{header.path}: {len(tokens)} tokens, but {len(numbers)} token types")
    return [Kind(int(number)) for number in numbers]


def _pieces(header: GGUFHeader, tokens: list[str]) -> list[Piece]:
    scores = header.require("tokenizer.ggml.scores")
    if len(scores) != len(tokens):
        raise ValueError(f"{header.path}: {len(tokens)} tokens, but {len(scores)} scores")
    kinds = _kinds(header, tokens)
    return [Piece(*piece) for piece in zip(tokens, map(float, scores), kinds, strict=True)]


def _byte_level(header: GGUFHeader, tokens: list[str]) -> Any:
    import tokenizers
    from tokenizers import decoders, models, normalizers, processors

    merges = [tuple(merge.split(" ")) for merge in header.require("tokenizer.ggml.merges")]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    whole = all(len(pair) == 2 and vocabulary.keys() >= {*pair, "".join(pair)} for pair in merges)
    if not whole or len(vocabulary) != len(tokens):
        raise ValueError(f"{header.path}: tokens or merges of the tokenizer are damaged")
    before = _pre_tokenizer(header)
    name = header.get("tokenizer.ggml.pre")
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, ignore_merges=name in _WHOLE_WORDS)
    )
    tokenizer.pre_tokenizer = before
    if name == _QWEN2:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    kinds = zip(tokens, _kinds(header, tokens), strict=True)
    add_tokens(tokenizer, [pair for pair in kinds if pair[1] is not Kind.UNKNOWN])
    return tokenizer


def _pre_tokenizer(header: GGUFHeader) -> Any:
    """How a text is cut into words, by the name that llama.cpp gives to each way."""
    from tokenizers import Regex, pre_tokenizers

    name = header.require("tokenizer.ggml.pre")
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if name == _GPT2:
        return words
    if name == _SMOLLM:
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    if name in (*_WHOLE_WORDS, _QWEN2):
        words_of = _QWEN2_WORDS if name == _QWEN2 else _LLAMA3_WORDS
        cut = pre_tokenizers.Split(Regex(words_of), "isolated")
        joined = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        return pre_tokenizers.Sequence([cut, joined])
    raise ValueError(
        f"{header.path}: tokenizer.ggml.pre={name!r} is not supported, only "
        f"{[_GPT2, _SMOLLM, *_WHOLE_WORDS, _QWEN2]}; take the model's Hugging Face tokenizer"
    )


def fast_tokenizer(
    tokenizer: Any,
    special: dict[str, str],
    *,
    add_bos: bool,
    add_eos: bool = False,
    max_length: int | None = None,
    chat_template: str | None = None,
) -> Any:
    """Wraps a tokenizer, which adds no special tokens of its own, for transformers.

    `special` has `bos_token`, `eos_token`, `unk_token`, `pad_token` -> token, where known;
    each text begins and ends with the first two where that is asked for.
    """
    from transformers import PreTrainedTokenizerFast

    before = [special.get("bos_token")] if add_bos else []
    after = [special.get("eos_token")] if add_eos else []
    if None in before + after:
        raise ValueError("the tokenizer adds a special token that it does not name")
    if before or after:
        _surround(tokenizer, before, after)
    options = {"model_max_length": max_length} if max_length else {}
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **special,
        **options,
    )
    if chat_template:
        wrapped.chat_template = chat_template
    return wrapped


def _surround(tokenizer: Any, before: list[Any], after: list[Any]) -> None:
    from tokenizers import processors

    first = [*before, "$A", *after]
    second = [f"{part}:1" for part in [*before, "$B", *after]]
    template = processors.TemplateProcessing(
        single=first,
        pair=first + second,
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in {*before, *after}],
    )
    inner = tokenizer.post_processor
    tokenizer.post_processor = processors.Sequence([inner, template]) if inner else template
