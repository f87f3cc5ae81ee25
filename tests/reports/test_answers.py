"""Answers of before and after, for people."""

from loren_jax.reports.answers import answer_rows, answers_text

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


def test_programs_get_a_row_for_each_question():
    judged = {**AFTER, "worth": [0.5, 1.0]}
    first, second = answer_rows({**judged, "said": ["?", "!"], "worth": [0.0, 1.0]}, judged)
    assert first == {
        "asked": "2 + 2?",
        "wanted": "4",
        "before": "?",
        "reward_before": 0.0,
        "after": "four",
        "reward_after": 0.5,
    }
    assert (second["before"], second["reward_after"]) == ("!", 1.0)
    assert [*answer_rows(None, AFTER)][1] == {"asked": "x" * 300, "wanted": "y", "after": ""}
