"""How like one text is to another."""

import pytest

from loren_jax.tasks.text_metrics import exact_match, token_f1


@pytest.mark.parametrize(
    ("said", "wanted", "same", "alike"),
    [
        ("The  Cat.", "the cat", 1.0, 1.0),
        ("cat the", "the cat", 0.0, 1.0),
        ("a a b", "a b b", 0.0, 2 / 3),
        ("dog", "the cat", 0.0, 0.0),
        ("", "the cat", 0.0, 0.0),
        ("!", "?", 1.0, 1.0),
    ],
)
def test_words_are_compared(said, wanted, same, alike):
    assert exact_match(said, wanted) == same
    assert token_f1(said, wanted) == pytest.approx(alike)
    assert token_f1(wanted, said) == pytest.approx(alike)
