"""A model, its tokenizer and the numbers of its classes must belong together."""

import json

import pytest
from tiny_task import MASKED_WORDS, write_language_model

from loren_jax.objectives.saved_model import Reader
from loren_jax.tasks import Prompt

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
