"""Puzzles can be solved, and answers are judged exactly."""

from fractions import Fraction

import pytest

from loren_jax.tasks.countdown import puzzles, value, worth


@pytest.mark.parametrize("numbers", [3, 4, 5, 6])
def test_puzzles_can_be_solved(numbers):
    made = puzzles(40, numbers=numbers, seed=1)
    assert len({(tuple(sorted(p.numbers)), p.target) for p in made}) == 40
    for puzzle in made:
        assert len(puzzle.numbers) == numbers
        assert 0 < puzzle.target <= 1000
        assert value(puzzle.solution, puzzle.numbers) == puzzle.target
        assert puzzle.target not in puzzle.numbers
        assert all(str(n) in puzzle.prompt for n in (*puzzle.numbers, puzzle.target))
        answer = f"So <answer>{puzzle.solution}</answer>"
        assert worth(answer, puzzle.numbers, puzzle.target) == pytest.approx(1.1)


def test_more_puzzles_begin_with_the_fewer():
    assert puzzles(20, seed=3)[:5] == puzzles(5, seed=3)
    assert puzzles(5, seed=3) != puzzles(5, seed=4)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(1 + 2) * 3", Fraction(9)),
        (" 1 / 3 * 2 ", Fraction(2, 3)),
        ("3 - (2 - 1)", Fraction(2)),
        ("1 + 2", None),  # one is left
        ("1 + 2 + 3 + 3", None),  # one twice
        ("1 + 2 + 4", None),
        ("3 / (2 - 1 - 1)", None),
        ("1 / (3 - 2 - 1)", None),  # the numbers are right, the division is by zero
        ("2 ** 3 + 1", None),
        ("-1 + 2 + 3", None),
        ("1.0 + 2 + 3", None),
        ("True + 2 + 3", None),
        ("__import__('os')", None),
        ("1 + 2 + ", None),
        ("", None),
        ("(" * 5000 + "1", None),
        ("1" * 5000, None),
    ],
)
def test_the_value_of_an_expression(expression, expected):
    assert value(expression, [1, 2, 3]) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("<answer>(1 + 2) * 3</answer>", 1.1),
        ("<answer>1</answer> no: <answer>(1 + 2) * 3</answer>", 1.1),
        ("<answer>\n(1 + 2) * 3\n</answer>", 1.1),
        ("<answer>1 + 2 + 3</answer>", 0.1),
        ("<answer>nine</answer>", 0.1),
        ("<answer></answer>", 0.0),
        ("<answer>(1 + 2) * 3", 0.0),
        ("(1 + 2) * 3", 0.0),
        ("", 0.0),
    ],
)
def test_what_an_answer_is_worth(answer, expected):
    assert worth(answer, [1, 2, 3], 9) == pytest.approx(expected)


@pytest.mark.parametrize(("count", "numbers"), [(0, 3), (1, 2), (1, 7)])
def test_puzzles_that_nobody_has(count, numbers):
    with pytest.raises(ValueError, match="at least 1 and numbers="):
        puzzles(count, numbers=numbers)
