"""Countdown: make a number of some others, each of which is used once.

A puzzle is solvable by construction, and an answer is judged exactly, in fractions.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

FORMAT, RIGHT = 0.1, 1.0
"""What an answer in the form that was asked for is worth, and what a right one is worth beside."""

_MOST = 1000
_LONGEST = 200
_SIGNS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
_OPERATIONS: Mapping[type, Callable[[Any, Any], Any]] = dict(
    zip((ast.Add, ast.Sub, ast.Mult, ast.Div), _SIGNS.values(), strict=True)
)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


class Puzzle(NamedTuple):
    """Numbers, what they are to make, and one way to do it.

    Attributes:
      numbers: Each is to be used exactly once.
      target: What they are to make, from 1 to 1000.
      solution: An expression that does.
    """

    numbers: tuple[int, ...]
    target: int
    solution: str

    @property
    def prompt(self) -> str:
        """What a model is asked."""
        given = ", ".join(map(str, self.numbers))
        return (
            f"Using each of the numbers {given} exactly once, and +, -, *, / and parentheses, "
            f"write an expression that equals {self.target}. "
            "Write it in <answer> </answer>, as in <answer>(1 + 2) * 3</answer>."
        )


def puzzles(count: int, *, numbers: int = 3, seed: int = 0) -> list[Puzzle]:
    """Makes puzzles, no two of them alike.

    Args:
      count: How many.
      numbers: Numbers of each, from 3 to 6, between 1 and 99.
      seed: Of the draws: the same gives the same puzzles, of which more begin with the fewer.

    Returns:
      The puzzles.

    Raises:
      ValueError: `count` is below 1, or `numbers` not from 3 to 6.

    >>> puzzle = puzzles(1, numbers=4)[0]
    >>> value(puzzle.solution, puzzle.numbers) == puzzle.target
    True
    """
    if count < 1 or not 3 <= numbers <= 6:
        raise ValueError(f"count={count} must be at least 1 and numbers={numbers} between 3 and 6")
    rng, found = np.random.default_rng(seed), dict[tuple[tuple[int, ...], int], Puzzle]()
    while len(found) < count:
        puzzle = _draw(rng, numbers)
        if puzzle is not None:
            found.setdefault((tuple(sorted(puzzle.numbers)), puzzle.target), puzzle)
    return list(found.values())


def _draw(rng: np.random.Generator, count: int) -> Puzzle | None:
    """Joins two of the numbers until one is left; None where that is no target."""
    numbers = tuple(int(n) for n in rng.integers(1, 100, count))
    terms = [(Fraction(n), str(n)) for n in numbers]
    while len(terms) > 1:
        first, second = (terms.pop(int(rng.integers(len(terms)))) for _ in range(2))
        sign = "+-*/"[int(rng.integers(4))]
        if sign == "/" and (second[0] == 0 or (first[0] / second[0]).denominator > 1):
            return None
        made = _SIGNS[sign](first[0], second[0])
        if not 0 < made <= _MOST:
            return None
        terms.append((made, f"({first[1]} {sign} {second[1]})"))
    ((target, solution),) = terms
    if target in map(Fraction, numbers):
        return None
    return Puzzle(numbers, int(target), solution[1:-1])


def value(expression: str, numbers: Sequence[int]) -> Fraction | None:
    """What an expression makes of the numbers.

    Args:
      expression: Of whole numbers, `+ - * /` and parentheses.
      numbers: Each must stand in it exactly once, and no other.

    Returns:
      Its value, exact; None where it is no such expression or divides by zero.

    >>> value("(1 + 2) / 4", [4, 2, 1]), value("1 + 2", [1, 2, 3])
    (Fraction(3, 4), None)
    """
    used: list[int] = []

    def of(node: ast.AST) -> Fraction:
        if isinstance(node, ast.Constant) and type(node.value) is int:
            used.append(node.value)
            return Fraction(node.value)
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
            return _OPERATIONS[type(node.op)](of(node.left), of(node.right))
        raise ValueError(expression)

    if len(expression) > _LONGEST:  # of thousands of parentheses Python's parser would crash
        return None
    try:
        made = of(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return None
    return made if sorted(used) == sorted(numbers) else None


def worth(answer: str, numbers: Sequence[int], target: int) -> float:
    """What an answer is worth: 0.1 if it has the form, and 1 more if it is right.

    Args:
      answer: What a model wrote.
      numbers: Of the puzzle.
      target: What they are to make.

    Returns:
      `FORMAT` where the last `<answer>` holds something and is closed, `RIGHT` more where
      that uses each number once and makes the target, else 0.

    >>> worth("I think <answer>(1 + 2) * 3</answer>", [1, 2, 3], 9)
    1.1
    >>> worth("<answer>9</answer>", [1, 2, 3], 9), worth("(1 + 2) * 3", [1, 2, 3], 9)
    (0.1, 0.0)
    """
    found = _ANSWER.findall(answer)
    if not found or not found[-1].strip():
        return 0.0
    return FORMAT + RIGHT * (value(found[-1], numbers) == target)
