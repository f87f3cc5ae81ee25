"""The one procedure that chooses a learning rate, the same for every method.

Rates lie on the grid 1, 3, 10, 30, ... times powers of ten, or on a finer one. A first range is run
with the tuning seeds; the rate with the least mean dev loss over the evaluations (`Run.mean_loss`),
averaged over the tuning seeds, is the best. A rate with which it is no better than the loss of the
untrained parameters counts as diverged. While the best one is at an edge of what was run, the range
is extended there by two rates, and downwards while all have diverged.
"""

import math
from collections.abc import Callable, Mapping, Sequence


def rate(number: int) -> float:
    """The grid's rate of a number."""
    return float(f"{(3 if number % 2 else 1)}e{number // 2}")


def fine_rate(number: int) -> float:
    """The same for a grid in steps of 1.8; number 0 is 1, number -4 is 0.1.

    >>> fine_rate(-3)
    0.18
    """
    return float(f"{10 ** (number / 4):.2g}")


def grid(low: int, high: int, rate: Callable[[int], float] = rate) -> tuple[float, ...]:
    """Rates from number `low` to number `high`, both included; number 0 is 1, number -1 is 0.3.

    >>> grid(-3, 1)
    (0.03, 0.1, 0.3, 1.0, 3.0)
    """
    return tuple(rate(i) for i in range(low, high + 1))


def choose(
    measure: Callable[[Sequence[float]], Mapping[float, float]],
    low: int,
    high: int,
    *,
    start: float = float("inf"),
    furthest: int = 8,
    rate: Callable[[int], float] = rate,
) -> tuple[float, dict[float, float]]:
    """The best rate.

    Args:
      measure: gives the score of each rate that it is asked for; less is better.
      low: number of the least rate of the first range.
      high: number of the largest.
      start: score of the untrained parameters.
      furthest: rates by which either side may be extended at most.
      rate: the grid, number -> rate.

    Returns:
      The rate, and all scores.
    """
    scores = dict(measure(grid(low, high, rate)))
    first = low, high
    while True:
        # Of those that diverged, the least rate, so that the search goes down.
        best = min(sorted(scores), key=lambda r: scores[r] if scores[r] < start else math.inf)
        if best == rate(low) and first[0] - low < furthest:
            low -= 2
            scores |= measure(grid(low, low + 1, rate))
        elif best == rate(high) and high - first[1] < furthest:
            high += 2
            scores |= measure(grid(high - 1, high, rate))
        else:
            return best, scores
