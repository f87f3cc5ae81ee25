"""Tokenisation, against the tokenizer's own padding where that can be had."""

import numpy as np
import pytest
from quickstart import minilm
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from loren_jax.tasks.examples import Examples
from loren_jax.tasks.tokenization import tokenize

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"w{number}" for number in range(50))]


def word_tokenizer(**options):
    inner = Tokenizer(
        WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, **{"pad_token": "[PAD]", **options})


def make(*texts):
    return Examples(texts, np.zeros(len(texts), np.int32), ("only",))


def words(count):
    return " ".join(f"w{number}" for number in range(count))


@pytest.mark.parametrize(
    ("longest", "max_length", "expected"),
    [(3, 64, 8), (6, 64, 8), (7, 64, 16), (40, 64, 48), (40, 20, 24), (40, 16, 16)],
)
def test_length(longest, max_length, expected):
    tokens = tokenize(word_tokenizer(), make((words(longest),), ("w1",)), max_length)
    assert tokens.input_ids.shape == (2, expected)
    assert tokens.attention_mask.sum(axis=1).tolist() == [min(longest + 2, max_length), 3]
    assert {array.dtype for array in tokens} == {np.dtype(np.int32)}


def test_pairs_have_two_types():
    tokenizer = word_tokenizer(model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    tokens = tokenize(tokenizer, make(("w0", "w1 w2")), 16)
    assert tokens.input_ids[0].tolist() == [1, 4, 2, 5, 6, 2, 0, 0]
    assert tokens.token_type_ids[0].tolist() == [0, 0, 0, 1, 1, 1, 0, 0]
    assert tokens.attention_mask[0].tolist() == [1, 1, 1, 1, 1, 1, 0, 0]


def test_missing_types_are_zero():
    tokenizer = word_tokenizer(model_input_names=["input_ids", "attention_mask"])
    assert not tokenize(tokenizer, make(("w0", "w1 w2")), 16).token_type_ids.any()


def test_padding_on_the_left():
    tokens = tokenize(word_tokenizer(padding_side="left"), make(("w0",)), 16)
    assert tokens.input_ids[0].tolist() == [0, 0, 0, 0, 0, 1, 4, 2]
    assert tokens.attention_mask[0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("tokenizer", "examples", "max_length", "message"),
    [
        (word_tokenizer(pad_token=None), make(("w0",)), 16, "no padding token, nor an end-of-text"),
        (word_tokenizer(), make(("w0", "w1", "w2")), 16, "text_columns has 3 columns"),
        (word_tokenizer(), make(("w0",)).take(0), 16, "examples is empty"),
        (word_tokenizer(), make(("w0",)), 2, "max_length is 2.*at least 3"),
        (word_tokenizer(), make(("w0", "w1")), 4, "max_length is 4.*at least 5"),
    ],
)
def test_refusals(tokenizer, examples, max_length, message):
    with pytest.raises(ValueError, match=message):
        tokenize(tokenizer, examples, max_length)


def test_a_decoder_is_padded_with_its_end_of_text_token(capsys):
    tokenizer = word_tokenizer(pad_token=None, eos_token="w9")
    for _ in range(2):
        tokens = tokenize(tokenizer, make(("w0",)), 16)
        assert tokens.input_ids[0].tolist() == [1, 4, 2] + [WORDS.index("w9")] * 5
        assert tokens.attention_mask[0].tolist() == [1, 1, 1] + [0] * 5
    assert capsys.readouterr().err.count("padded with its end-of-text token 'w9'") == 1


@pytest.mark.parametrize(("positions", "expected"), [(None, 24), (22, 22), (64, 24), (20, 20)])
def test_padding_stays_within_the_positions(positions, expected):
    tokens = tokenize(word_tokenizer(), make((words(40),)), 20, positions=positions)
    assert tokens.input_ids.shape == (1, expected)


def test_many_examples_are_tokenised_piece_by_piece():
    examples = make(*((words(number % 7 + 1),) for number in range(1100)))
    tokens = tokenize(word_tokenizer(), examples, 16)
    assert tokens.attention_mask.sum(axis=1).tolist() == [n % 7 + 3 for n in range(1100)]


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        tokenize(tmp_path / "absent", make(("w0",)), 16)


def test_real_tokenizer_agrees_with_its_own_padding():
    from transformers import AutoTokenizer

    folder = minilm()
    examples = make(("A fine film .", "It is fine ."), ("Dull", "unflinchingly bleak " * 20))
    tokens = tokenize(str(folder), examples, 32)
    first, second = (list(column) for column in zip(*examples.texts, strict=True))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = tokenizer(
        first, second, truncation=True, max_length=32, padding="longest", return_tensors="np"
    )
    assert np.array_equal(tokens.input_ids, expected["input_ids"])
    assert np.array_equal(tokens.attention_mask, expected["attention_mask"])
    assert np.array_equal(tokens.token_type_ids, expected["token_type_ids"])
