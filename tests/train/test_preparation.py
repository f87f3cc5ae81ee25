"""How long an input may be."""

import pytest
from loren_jax.train.preparation import length_limit


@pytest.mark.parametrize(
    ("asked", "positions", "expected"),
    [(None, 512, 128), (None, 16, 16), (None, None, 128), (20, 20, 20), (999, None, 999)],
)
def test_the_default_is_capped_silently(asked, positions, expected):
    assert length_limit(asked, 128, positions) == expected


def test_what_was_asked_for_is_not():
    message = "max_length is 1024, but the model has 512 positions; give at most 512"
    with pytest.raises(ValueError, match=message):
        length_limit(1024, 128, 512)
