"""Scores of a classifier class by class, and how sure its accuracy is; for people and programs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

BY_CLASS = "by_class"
"""Name, among the scores of an evaluation, of what `class_scores` gives."""

ALL_SHOWN, WORST = 10, 5
_WIDTH, _LONGEST = 80, 24
_Z = 1.959963984540054  # of the standard normal, 97.5 % lies below


def wilson_interval(right: int, number: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, by Wilson's score.

    With `p = right / n` and `z = 1.96` it is

        (p + z^2 / 2n ± z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),

    the shares that a test of `p` would not reject. It stays between 0 and 1 and has a width where
    all answers are right, which `p ± z sqrt(p (1 - p) / n)` has not.

    Args:
      right: Right answers.
      number: Answers n, at least 1.

    Returns:
      The lower and the upper end.

    >>> [round(end, 3) for end in wilson_interval(9, 10)]
    [0.596, 0.982]
    """
    share, square = right / number, _Z**2 / number
    centre = share + square / 2
    half = _Z * math.sqrt(share * (1 - share) / number + square / (4 * number))
    low, high = ((centre + sign * half) / (1 + square) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def class_scores(confusion: Sequence[Sequence[int]], label_names: Sequence[str]) -> dict[str, Any]:
    """Precision, recall, F1 and support of every class, and what they are counted from.

    Args:
      confusion: How many examples of the class of the row were answered by that of the column.
      label_names: The classes, in this order.

    Returns:
      JSON values: `accuracy_interval` (see `wilson_interval`), `macro_f1` (the plain mean of F1),
      `confusion` as it was given, and in `classes` the `name`, `precision`, `recall`, `f1` and
      `support` of each. What would be 0 / 0 is None: the precision of a class that was never
      answered, the recall of one without examples; such an F1 is 0.

    >>> found = class_scores([[1, 1], [0, 2]], ("bad", "good"))
    >>> found["classes"][0]
    {'name': 'bad', 'precision': 1.0, 'recall': 0.5, 'f1': 0.6666666666666666, 'support': 2}
    >>> round(found["macro_f1"], 3)
    0.733
    """
    rows = [list(row) for row in confusion]
    classes: list[dict[str, Any]] = []
    for number, name in enumerate(label_names):
        right, support = rows[number][number], sum(rows[number])
        answered = sum(row[number] for row in rows)
        classes.append(
            {
                "name": name,
                "precision": right / answered if answered else None,
                "recall": right / support if support else None,
                "f1": 2 * right / (answered + support) if answered + support else 0.0,
                "support": support,
            }
        )
    total, diagonal = sum(map(sum, rows)), sum(row[i] for i, row in enumerate(rows))
    return {
        "accuracy_interval": list(wilson_interval(diagonal, total)),
        "macro_f1": sum(each["f1"] for each in classes) / len(classes),
        "classes": classes,
        "confusion": rows,
    }


def interval_text(scores: Mapping[str, Any]) -> str:
    """The interval of the accuracy, from what `class_scores` gives.

    >>> interval_text({"accuracy_interval": [0.7, 0.8]})
    '95 % interval 0.700 to 0.800'
    """
    low, high = scores["accuracy_interval"]
    return f"95 % interval {low:.3f} to {high:.3f}"


def class_table(scores: Mapping[str, Any], examples: str = "") -> list[str]:
    r"""Lines for people: at most ten classes, else the five with the lowest F1.

    Args:
      scores: What `class_scores` gives.
      examples: What the examples are called.

    Returns:
      A heading and a line for each class, at most 80 characters wide: with the matrix of answers
      where it has room, else with the class that it is most often taken for.

    >>> print("\n".join(class_table(class_scores([[1, 1], [0, 2]], ("bad", "good")))))
    by class, macro F1 0.733
              precision  recall     F1  examples  answered  1  2
      1 bad        1.000   0.500  0.667         2            1  1
      2 good       0.667   1.000  0.800         2            0  2
    """
    classes, number = scores["classes"], len(scores["classes"])
    shown, words = range(number), ""
    if number > ALL_SHOWN:
        shown = sorted(shown, key=lambda i: (classes[i]["f1"], i))[:WORST]
        words = f"; of {number} classes the {WORST} with the lowest F1"
    heading = " ".join(filter(None, ("by class,", examples, f"macro F1 {scores['macro_f1']:.3f}")))
    names = {i: _cut(classes[i]["name"]) for i in shown}
    width = max(map(len, names.values()))
    numbers = len(str(number))
    plain = [f"  {i + 1:>{numbers}} {names[i]:<{width}}  {_numbers(classes[i])}" for i in shown]
    titles = f"  {'':{numbers + 1 + width}}  precision  recall     F1  examples"
    matrix = _matrix(scores["confusion"], number, shown)
    if number > ALL_SHOWN or len(titles) + len(matrix[0]) > _WIDTH:
        matrix = ["  most taken for", *_wrong_answers(scores, shown)]
    lines = [line + more for line, more in zip([titles, *plain], matrix, strict=True)]
    return [heading + words, *(line[:_WIDTH].rstrip() for line in lines)]


def _numbers(one: Mapping[str, Any]) -> str:
    share = lambda name: "-" if one[name] is None else f"{one[name]:.3f}"
    return f"{share('precision'):>9}  {share('recall'):>6}  {share('f1'):>5}  {one['support']:>8}"


def _matrix(confusion: Sequence[Sequence[int]], number: int, shown: Sequence[int]) -> list[str]:
    """The columns of the answers, by the numbers of the classes."""
    width = max(len(str(count)) for row in confusion for count in row)
    width = max(width, len(str(number)))
    cells = lambda values: "".join(f"  {value:>{width}}" for value in values)
    head = "  answered" + cells(range(1, number + 1))
    return [head, *(" " * len("  answered") + cells(confusion[i]) for i in shown)]


def _wrong_answers(scores: Mapping[str, Any], shown: Sequence[int]) -> list[str]:
    """The most frequent wrong answer of each class, and how often it was given."""
    found = []
    for i in shown:
        wrong = [(-n, j) for j, n in enumerate(scores["confusion"][i]) if j != i and n]
        often, other = min(wrong, default=(0, i))
        found.append(f"  {-often} as {scores['classes'][other]['name']}" if often else "  -")
    return found


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
