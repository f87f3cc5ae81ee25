"""A model, its tokenizer and the numbers of its classes must belong together."""

import json

import numpy as np
import pytest
from tiny_task import MASKED_WORDS, write_language_model

from loren_jax.objectives.saved_model import Reader, relabel
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


EXAMPLES = Examples((("a",), ("b",), ("c",)), np.array([0, 2, 2], np.int32), ("x", "y", "z"))


def test_classes_are_matched_by_name():
    moved = relabel(EXAMPLES, ("z", "x"))
    assert moved.labels.tolist() == [1, 0, 0]
    assert moved.label_names == ("z", "x")
    assert moved.texts == EXAMPLES.texts


def test_a_class_that_the_model_lacks():
    with pytest.raises(ValueError, match=r"label 'z', which the model has never seen; .* x, y"):
        relabel(EXAMPLES, ("x", "y"))
