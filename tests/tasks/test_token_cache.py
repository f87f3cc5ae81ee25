"""Tokens on disk: found again, never wrong, and no reason to fail."""

import numpy as np
import pytest
from prompt_tokenizers import byte_tokenizer, word_tokenizer

from loren_jax.tasks import token_cache
from loren_jax.tasks.prompts import Prompt
from loren_jax.tasks.text_classification import Examples
from loren_jax.tasks.token_cache import TokenCache, tokenizer_digest
from loren_jax.tasks.tokenization import tokenize

EXAMPLES = Examples((("w0 w1",), ("w2",)), np.array([0, 1], np.int32), ("no", "yes"))


class Counted:
    """A tokenizer that counts how often it is asked."""

    def __init__(self, inner):
        self._inner, self.calls = inner, 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def __call__(self, *arguments, **options):
        self.calls += 1
        return self._inner(*arguments, **options)


@pytest.fixture
def tokenizer():
    return Counted(word_tokenizer())


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_second_time_nothing_is_tokenised(tokenizer, tmp_path):
    cache = TokenCache(tmp_path / "new", "words")
    first = tokenize(tokenizer, EXAMPLES, 16, cache=cache)
    calls = tokenizer.calls
    other_labels = Examples(EXAMPLES.texts, np.array([1, 0], np.int32), ("no", "yes"))
    again = tokenize(tokenizer, other_labels, 16, cache=cache)
    assert tokenizer.calls == calls > 0
    assert same(first[:3], again[:3])
    assert again.labels.tolist() == [1, 0]
    assert {array.dtype for array in again} == {np.dtype(np.int32)}
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_whatever_changes_the_tokens_has_an_entry_of_its_own(tokenizer, tmp_path, monkeypatch):
    cache = TokenCache(tmp_path, "words")
    entries = lambda: len(list(tmp_path.iterdir()))
    tokenize(tokenizer, EXAMPLES, 16, cache=cache)
    tokenize(tokenizer, EXAMPLES, 15, cache=cache)
    tokenize(tokenizer, EXAMPLES, 16, positions=4, cache=cache)
    tokenize(tokenizer, EXAMPLES.take(1), 16, cache=cache)
    tokenize(tokenizer, EXAMPLES, 16, prompt=Prompt("{a} {answer}", ("x", "y")), cache=cache)
    tokenize(tokenizer, EXAMPLES, 16, cache=TokenCache(tmp_path, "other"))
    tokenizer.padding_side = "left"
    tokenize(byte_tokenizer(pad="<eos>"), EXAMPLES, 16, cache=cache)
    assert entries() == 7
    monkeypatch.setattr(token_cache.metadata, "version", lambda package: "0")
    tokenize(tokenizer, EXAMPLES, 16, cache=cache)
    assert entries() == 8


@pytest.mark.parametrize("damage", ["cut", "bytes", "empty", "other rows", "other names"])
def test_a_damaged_entry_is_made_again(damage, tokenizer, tmp_path):
    cache = TokenCache(tmp_path, "words")
    expected = tokenize(tokenizer, EXAMPLES, 16, cache=cache)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "other rows":
        np.savez(path, **{name: np.zeros((3, 8), np.int32) for name in expected._fields[:3]})
    elif damage == "other names":
        np.savez(path, ids=np.zeros((2, 8), np.int32))
    else:
        middle = len(content) // 2
        content[middle : middle + 8] = b"damaged!"
        whole = {"cut": content[:middle], "bytes": content, "empty": b""}[damage]
        path.write_bytes(bytes(whole))
    calls = tokenizer.calls
    assert same(tokenize(tokenizer, EXAMPLES, 16, cache=cache), expected)
    assert tokenizer.calls > calls
    calls = tokenizer.calls
    assert same(tokenize(tokenizer, EXAMPLES, 16, cache=cache), expected)
    assert tokenizer.calls == calls


def test_a_cache_that_cannot_be_written_is_done_without(tokenizer, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    cache = TokenCache(tmp_path / "file" / "tokens", "words")
    tokens = tokenize(tokenizer, EXAMPLES, 16, cache=cache)
    assert same(tokens, tokenize(tokenizer, EXAMPLES, 16))
    assert "the tokens are not kept" in capsys.readouterr().err


def test_the_digest_sees_every_file(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    first = tokenizer_digest(tmp_path)
    (tmp_path / "model.safetensors").write_text("weights do not matter")
    assert tokenizer_digest(tmp_path) == first
    (tmp_path / "vocab.txt").write_text("a")
    second = tokenizer_digest(tmp_path)
    (tmp_path / "vocab.txt").write_text("b")
    assert len({first, second, tokenizer_digest(tmp_path)}) == 3
