"""The tables of methods in README and in the package are those of the methods' own entries."""

from pathlib import Path

import pytest

from benchmarks.methods_table import PLACES, written

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("place", PLACES)
def test_the_table_is_as_the_methods_say(place):
    text = (ROOT / place).read_text(encoding="utf-8")
    assert text == written(place, text), "run python -m benchmarks methods_table"


def test_a_file_without_a_table_is_named():
    with pytest.raises(ValueError, match=r"README\.md has no table"):
        written("README.md", "Nothing.\n")
