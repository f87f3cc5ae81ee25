"""Prompts: templates that make sense, and answers that are one token where they stand."""

import pytest
from prompt_tokenizers import byte_tokenizer, word_tokenizer

from loren_jax.tasks.prompts import Prompt, answer_ids, prompt_from_json, prompt_json

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
