"""The page of evidence shows what was measured, and says so where it stands."""

from pathlib import Path

import pytest

from benchmarks.evidence.page_tables import EXCERPTS, filled
from benchmarks.evidence.rows import Rows

ROOT = Path(__file__).resolve().parents[2]


ROWS = Rows(ROOT / "benchmarks" / "results" / "queries_to_target.jsonl")
PAGE = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")


def test_the_page_has_the_tables_that_the_rows_give():
    assert filled(PAGE, ROWS) == PAGE


@pytest.mark.parametrize("name", EXCERPTS)
def test_a_figure_that_was_changed_by_hand_is_put_right(name):
    mark = f"<!-- end of {name} -->"
    assert filled(PAGE.replace(mark, f"| 0.99 |\n{mark}"), ROWS) == PAGE


def test_a_missing_mark_is_named():
    with pytest.raises(ValueError, match="end of race"):
        filled(PAGE.replace("<!-- end of race -->", ""), ROWS)
