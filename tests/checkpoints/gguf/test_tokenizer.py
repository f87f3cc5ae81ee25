"""The tokenizer of a GGUF cuts words as its name says, and keeps its special tokens."""

from pathlib import Path

import pytest
from quickstart import smollm2

from loren_jax.checkpoints.gguf.header import GGUFHeader
from loren_jax.checkpoints.gguf.tokenizer import fast_tokenizer, gguf_tokenizer
from loren_jax.checkpoints.tokenizers import checkpoint_tokenizer

BYTES = [*"\u010a\u0120abcd0123'", "\u00c3", "\u00a9"]
MERGES = ["a b", "ab c", "0 1", "01 2", "012 3", "\u0120 ab", "' d", "\u00c3 \u00a9"]
TOKENS = ["<end>", "<start>", "<|x|>", *BYTES, *(merge.replace(" ", "") for merge in MERGES)]


def header(**changes):
    metadata = {
        "general.architecture": "llama",
        "llama.context_length": 64,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.merges": MERGES,
        "tokenizer.ggml.token_type": [3, 3, 4] + [1] * (len(TOKENS) - 3),
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.bos_token_id": 1,
    }
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    kept = {key: value for key, value in metadata.items() if value is not None}
    return GGUFHeader(Path("model.gguf"), kept, {})


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("gpt-2", ["abc", "Ġab", "'d", "Ġ", "0123"]),
        ("smollm", ["abc", "Ġab", "'d", "Ġ", "0", "1", "2", "3"]),
        ("llama-bpe", ["abc", "Ġab", "'d", "Ġ", "012", "3"]),
        ("smaug-bpe", ["abc", "Ġab", "'d", "Ġ", "012", "3"]),
        ("qwen2", ["abc", "Ġab", "'d", "Ġ", "0", "1", "2", "3"]),
    ],
)
def test_words_are_cut_as_the_name_says(pre, expected):
    tokenizer = gguf_tokenizer(header(pre=pre, add_bos_token=False))
    assert tokenizer.tokenize("abc ab'd 0123") == expected


def test_every_text_comes_back():
    tokenizer = gguf_tokenizer(header())
    text = "abc  ab\né<|x|> 012<end>"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text
    assert {TOKENS.index("<|x|>"), TOKENS.index("<end>"), TOKENS.index("Ã©")} <= set(ids)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text.removesuffix("<end>")


@pytest.mark.parametrize(
    ("changes", "single", "pair"),
    [
        ({}, "a", "ab"),
        ({"add_bos_token": True}, "<start>a", "<start>a<start>b"),
        ({"pre": "llama-bpe"}, "<start>a", "<start>a<start>b"),
        ({"add_eos_token": True}, "a<end>", "a<end>b<end>"),
        ({"pre": "llama-bpe", "add_bos_token": False}, "a", "ab"),
    ],
)
def test_special_tokens_surround_a_text(changes, single, pair):
    tokenizer = gguf_tokenizer(header(**changes))
    assert tokenizer.decode(tokenizer("a")["input_ids"]) == single
    assert tokenizer.decode(tokenizer("a", "b")["input_ids"]) == pair
    assert set(tokenizer("a")) == {"input_ids", "attention_mask"}


def test_qwen2_composes_letters_before_it_cuts():
    tokenizer = gguf_tokenizer(header(pre="qwen2"))
    assert tokenizer.tokenize("e\u0301") == ["Ã©"]
    assert tokenizer.model_max_length == 64


def test_names_of_special_tokens_are_kept():
    tokenizer = gguf_tokenizer(header(padding_token_id=2, unknown_token_id=0))
    special = {"eos": "<end>", "bos": "<start>", "pad": "<|x|>", "unk": "<end>"}
    assert tokenizer.special_tokens_map == {f"{key}_token": text for key, text in special.items()}
    assert tokenizer.model_max_length == 64
    assert gguf_tokenizer(header()).pad_token is None


def test_sentencepiece_vocabulary_is_read():
    pieces = ["<unk>", "<s>", "</s>", "▁", "a", "b", "ab", "▁ab"]
    changes = {
        "model": "llama",
        "pre": "default",
        "tokens": pieces,
        "scores": [0, 0, 0, -4, -5, -6, -1, -2],
        "token_type": [2, 3, 3, 1, 1, 1, 1, 1],
        "eos_token_id": 2,
    }
    tokenizer = gguf_tokenizer(header(**changes))
    ids = tokenizer("ab bab")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", "▁ab", "▁", "b", "ab"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "ab bab"
    tokenizer = gguf_tokenizer(header(**changes, add_bos_token=False, add_space_prefix=False))
    assert tokenizer.tokenize("ab") == ["ab"]


REFUSED = {
    "kind": ({"model": "t5"}, "kind 't5' is not supported"),
    "pre": ({"pre": "jais"}, r"pre='jais' is not supported, only .*'smollm'.*'qwen2'"),
    "absent": ({"tokens": None}, r"no 'tokenizer\.ggml\.tokens'"),
    "special": ({"eos_token_id": 99}, r"eos_token_id=99, but there are \d+ tokens"),
    "types": ({"token_type": [1]}, "but 1 token types"),
    "type": ({"token_type": [9] * len(TOKENS)}, "9 is not a valid Kind"),
    "twins": ({"tokens": [*TOKENS[:-1], "a"]}, "damaged"),
    "merges": ({"merges": ["a b c"]}, "damaged"),
    "merge": ({"merges": ["a a"]}, "damaged"),
    "scores": ({"model": "llama", "scores": [0.0]}, "but 1 scores"),
    "bos": ({"bos_token_id": None, "add_bos_token": True}, "does not name"),
}


@pytest.mark.parametrize("model", [None, "none"])
def test_missing_tokenizer_is_named(model):
    with pytest.raises(FileNotFoundError, match=r"model\.gguf has no tokenizer"):
        gguf_tokenizer(header(model=model))


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_other_tokenizers_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        gguf_tokenizer(header(**changes))


@pytest.mark.parametrize("which", [{"add_bos": True}, {"add_bos": False, "add_eos": True}])
def test_added_token_must_be_named(which):
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={"a": 0}, merges=[]))
    with pytest.raises(ValueError, match="does not name"):
        fast_tokenizer(tokenizer, {}, **which)
    wrapped = fast_tokenizer(tokenizer, {"pad_token": "a"}, add_bos=False, chat_template="x")
    assert wrapped("aa")["input_ids"] == [0, 0]
    assert (wrapped.pad_token_id, wrapped.chat_template) == (0, "x")


def test_smollm2_has_its_known_ids():
    tokenizer = checkpoint_tokenizer(smollm2())
    assert tokenizer("Hello world")["input_ids"] == [19556, 905]
    assert tokenizer.tokenize("it's 1234") == ["it", "'s", "Ġ", "1", "2", "3", "4"]
    for text in ("  two  spaces\n\ttab", "naïve 日本 🙂", "<|im_start|>user\nHi<|im_end|>"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer.encode("<|im_start|>") == [1]
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (2, 2)
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert chat.endswith("<|im_start|>user\nHi<|im_end|>\n")
