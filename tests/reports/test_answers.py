"""Answers of before and after, for people."""

from loren_jax.reports.answers import answers_text

AFTER = {"asked": ["2 + 2?", "x" * 300], "wanted": ["4", "y"], "said": ["four", ""]}


def test_each_question_has_what_was_wanted_and_said():
    before = {**AFTER, "said": ["Hello\nthere", "y"]}
    lines = answers_text(before, AFTER)
    assert lines[:4] == ["2 + 2?", "  wanted  4", "  before  Hello there", "  after   four"]
    assert lines[-1] == "  after   (nothing)"
    assert max(map(len, lines)) <= 110


def test_what_was_said_before_may_be_unknown():
    assert answers_text(None, AFTER)[:3] == ["2 + 2?", "  wanted  4", "  after   four"]


def test_ten_are_shown():
    many = {name: [str(number) for number in range(30)] for name in AFTER}
    assert len(answers_text(many, many)) == 10 * 4
