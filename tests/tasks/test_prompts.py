"""Prompts: templates that make sense, answers of one token, and texts that are cut to fit."""

import numpy as np
import pytest
from prompt_tokenizers import byte_tokenizer, word_tokenizer

from loren_jax.tasks.examples import Examples
from loren_jax.tasks.prompts import (
    Prompt,
    answer_ids,
    prompt_from_json,
    prompt_json,
    tokenize_prompts,
)
from loren_jax.tasks.tokenization import tokenize

SENTIMENT = Prompt("{sentence} It was {answer}.", ("bad", "good"))


def test_rendering():
    prompt = Prompt('{a}\nIs it "{b}"? {answer}!', ("No", "Yes"))
    assert prompt.fields == ("a", "b")
    assert prompt.render([" x ", "{y}"]) == 'x\nIs it "{y}"?'
    assert prompt.render(["x", "y"], "<mask>") == 'x\nIs it "y"? <mask>!'
    assert prompt.render(["x", "{answer}"], "<mask>") == 'x\nIs it "{answer}"? <mask>!'


@pytest.mark.parametrize(
    ("template", "words", "message"),
    [
        ("{sentence} It was", ("a", "b"), r"exactly one \{answer\}, it has 0"),
        ("{sentence} {answer} {answer}", ("a", "b"), "it has 2"),
        ("It was {answer}", ("a", "b"), "at least one field"),
        ("{a} {a} {answer}", ("a", "b"), "each only once"),
        ("{a.b} {answer}", ("a", "b"), "without a plain name"),
        ("{a} {answer} {", ("a", "b"), "template: "),
        ("{a} {answer}", ("a", "a"), "must be different words"),
        ("{a} {answer}", ("a", " "), "must be different words"),
    ],
)
def test_bad_prompts(template, words, message):
    with pytest.raises(ValueError, match=message):
        Prompt(template, words)


def test_a_decoder_reads_nothing_after_the_answer():
    SENTIMENT.require_decodable()
    with pytest.raises(ValueError, match=r"\{b\} after the answer"):
        Prompt("{a} {answer} {b}", ("x", "y")).require_decodable()


def test_the_space_belongs_to_the_answer_of_a_byte_level_tokenizer():
    tokenizer = byte_tokenizer()
    assert tokenizer.convert_ids_to_tokens(answer_ids(tokenizer, SENTIMENT)) == ["Ġbad", "Ġgood"]
    glued = Prompt("{sentence} Answer:\n{answer}", ("bad", "good"))
    assert tokenizer.convert_ids_to_tokens(answer_ids(tokenizer, glued)) == ["bad", "good"]


def test_words_of_a_tokenizer_without_spaces():
    tokenizer = word_tokenizer()
    assert tokenizer.convert_ids_to_tokens(answer_ids(tokenizer, SENTIMENT)) == ["bad", "good"]


@pytest.mark.parametrize(
    ("tokenizer", "words", "message"),
    [
        (byte_tokenizer, ("bad", "goodbad"), r"'goodbad' is 2 tokens .* \('Ġgood', 'bad'\).*: bad"),
        (word_tokenizer, ("bad", "superb"), "'superb' is unknown to this tokenizer.*: bad, good"),
        (word_tokenizer, ("bad", "BAD"), "'bad' and 'BAD' are the same token"),
    ],
)
def test_words_that_will_not_do(tokenizer, words, message):
    with pytest.raises(ValueError, match=message):
        answer_ids(tokenizer(), Prompt(SENTIMENT.template, words))


def test_json_keeps_everything():
    values = prompt_json(SENTIMENT, max_length=16)
    assert values["max_length"] == 16
    assert prompt_from_json(values) == SENTIMENT


PAIR = Prompt("{one} film {two} was {answer}.", ("bad", "good"))


def words(count):
    return " ".join(f"w{number}" for number in range(count))


def read(tokenizer, texts, prompt, max_length):
    rows = tokenize_prompts(tokenizer, texts, prompt, max_length)["input_ids"]
    return [tokenizer.decode(row) for row in rows]


def test_what_fits_is_tokenised_as_one_text():
    tokenizer = byte_tokenizer()
    rows = tokenize_prompts(tokenizer, [("good",), ("bad bad",)], SENTIMENT, 64)["input_ids"]
    assert rows == tokenizer(["good It was", "bad bad It was"])["input_ids"]
    assert rows[0][0] == tokenizer.bos_token_id
    encoder = word_tokenizer()
    rows = tokenize_prompts(encoder, [("good",)], SENTIMENT, 64)["input_ids"]
    assert rows == encoder(["good It was [MASK]."])["input_ids"]


@pytest.mark.parametrize("max_length", [7, 8, 12, 20])
def test_an_encoder_keeps_prompt_and_mask(max_length):
    texts = [(words(30),), (words(2),)]
    long, short = read(word_tokenizer(), texts, SENTIMENT, max_length)
    # [CLS] It was [MASK] . [SEP] are six tokens; the rest is the text's.
    assert long == f"[CLS] {words(max_length - 6)} it was [MASK] . [SEP]".replace("  ", " ")
    assert short == f"[CLS] {words(min(2, max_length - 6))} it was [MASK] . [SEP]"


@pytest.mark.parametrize("max_length", [11, 16])
def test_the_longest_field_is_cut_first(max_length):
    # [CLS] ... film ... was [MASK] . [SEP]: six tokens of the prompt's own.
    (text,) = read(word_tokenizer(), [(words(20), words(4))], PAIR, max_length)
    rest = max_length - 6
    second = min(4, rest // 2)
    expected = f"[CLS] {words(rest - second)} film {words(second)} was [MASK] . [SEP]"
    tied = f"[CLS] {words(rest - second - 1)} film {words(second + 1)} was [MASK] . [SEP]"
    assert text in (expected, tied)


def test_a_decoder_keeps_the_words_before_the_answer():
    tokenizer = byte_tokenizer()
    (row,) = tokenize_prompts(tokenizer, [("good " * 30,)], SENTIMENT, 10)["input_ids"]
    assert len(row) == 10
    assert row[0] == tokenizer.bos_token_id
    assert tokenizer.decode(row[1:]).startswith("good good")
    assert tokenizer.decode(row).endswith("good It was")


def test_a_decoder_does_not_read_an_ending_of_the_tokenizer():
    with_ending, without = byte_tokenizer(ending=True), byte_tokenizer()
    for max_length in (64, 10):
        texts = [("good " * 5,)]
        rows = [tokenize_prompts(t, texts, SENTIMENT, max_length) for t in (with_ending, without)]
        assert rows[0] == rows[1]


def test_a_mask_in_the_text_is_no_answer():
    tokenizer = word_tokenizer()
    (row,) = tokenize_prompts(tokenizer, [("film [MASK] film",)], SENTIMENT, 64)["input_ids"]
    assert row.count(tokenizer.mask_token_id) == 1
    assert tokenizer.decode(row) == "[CLS] film film it was [MASK] . [SEP]"


@pytest.mark.parametrize("tokenizer", [word_tokenizer, byte_tokenizer])
def test_a_prompt_that_does_not_fit(tokenizer):
    with pytest.raises(ValueError, match=r"max_length is 2, but the prompt alone has \d tokens"):
        tokenize_prompts(tokenizer(), [("film",)], SENTIMENT, 2)


def test_token_arrays():
    examples = Examples((("film",), (words(30),)), np.array([0, 1], np.int32), ("no", "yes"))
    tokens = tokenize(word_tokenizer(), examples, 14, prompt=SENTIMENT)
    assert tokens.input_ids.shape == (2, 16)
    assert tokens.attention_mask.sum(axis=1).tolist() == [7, 14]
    assert (tokens.input_ids == 4).sum(axis=1).tolist() == [1, 1]
