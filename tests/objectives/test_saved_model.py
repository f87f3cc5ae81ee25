"""A model, its tokenizer and the numbers of its classes must belong together."""

import dataclasses
import json

import numpy as np
import pytest
from tiny_task import MASKED_WORDS, write_language_model

from loren_jax.models import load_language_model
from loren_jax.objectives.saved_model import Reader
from loren_jax.tasks import Examples, Prompt

PROMPT = Prompt("{sentence} it was {answer} .", ("terrible", "great"))


def test_answers_must_fit_the_classes(tmp_path):
    reader = Reader(write_language_model(tmp_path / "model"), PROMPT)
    with pytest.raises(ValueError, match=r"2 answers for 3 classes \(a, b, c\)"):
        reader.prompted_model(("a", "b", "c"))


def test_another_mask_token_is_refused(tmp_path):
    model = write_language_model(tmp_path / "model")
    raw = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**raw, "mask_token_id": 3}))
    mask = MASKED_WORDS.index("[MASK]")
    with pytest.raises(ValueError, match=f"answers at token 3, .* mask token is {mask}"):
        Reader(model, PROMPT).prompted_model(("negative", "positive"))


def test_tokenizer_of_a_larger_vocabulary_is_refused_before_the_first_step(tmp_path):
    model = write_language_model(tmp_path / "model")
    reader = Reader(model, None)
    examples = Examples((("great",),), np.zeros(1, np.int32), ("a", "b"))
    whole = load_language_model(model).config
    assert reader.tokens(examples, 16, whole).input_ids.max() < whole.vocab_size
    number = MASKED_WORDS.index("great")
    with pytest.raises(ValueError, match=rf"the token {number} \('great'\), but .*={number}; take"):
        reader.tokens(examples, 16, dataclasses.replace(whole, vocab_size=number))
