"""The tables of methods in README and in the package are those of the methods' own entries."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# For this import alone: benchmarks has modules with the names of folders of the tests.
with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])
    from methods_table import PLACES, written


@pytest.mark.parametrize("place", PLACES)
def test_the_table_is_as_the_methods_say(place):
    text = (ROOT / place).read_text(encoding="utf-8")
    assert text == written(place, text), "run python benchmarks/methods_table.py"


def test_a_file_without_a_table_is_named():
    with pytest.raises(ValueError, match=r"README\.md has no table"):
        written("README.md", "Nothing.\n")
