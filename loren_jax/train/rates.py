"""The learning rate where none is given: a first guess, by the table of `benchmarks/KNOBS.md`."""

from collections.abc import Mapping

# Trained numbers, up to which the rates count that were the best of a grid in factors of three. The
# last row is of single runs: LOREN's of SmolLM2 whole, MeZO's of its paper.
_RATES: tuple[tuple[float, Mapping[str, float]], ...] = (
    (1e5, {"loren": 3e-2, "mezo": 1e-2, "mezo_adam": 3e-3}),
    (1e6, {"loren": 3e-4, "mezo": 1e-4, "mezo_adam": 1e-3}),
    (1e7, {"loren": 3e-4, "mezo": 1e-4, "mezo_adam": 1e-3}),
    (float("inf"), {"loren": 4e-6, "mezo": 1e-6}),
)
_TEXT: Mapping[str, float] = {"loren": 3e-5}
"""For the text of a whole language model: a third of the best of a grid, with 4 x 96 tokens."""


def starting_rate(method: str, trained_parameters: int, objective: str = "classification") -> float:
    """A first guess of the learning rate, at six forward passes a step.

    A ValueError where nothing was measured.

    >>> starting_rate("loren", 770), starting_rate("mezo", 22_566_146)
    (0.03, 1e-06)
    >>> starting_rate("loren", 134_515_008, "text")
    3e-05
    """
    if objective == "text" and trained_parameters > _RATES[-2][0] and method in _TEXT:
        return _TEXT[method]
    rates = next(rates for most, rates in _RATES if trained_parameters <= most)
    if method not in rates:
        raise ValueError(
            f"learning_rate is not given, and for {method} with {trained_parameters:,} trained "
            "parameters no first guess was measured: give one, and see benchmarks/KNOBS.md"
        )
    return rates[method]
