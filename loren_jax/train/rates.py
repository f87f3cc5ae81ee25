"""The learning rate of a run: as it changes, and where none is given.

Without one the schedule is `automatic`, which needs to know how far noise may move the parameters;
where that was never measured there is a first guess, the smaller one of what was measured nearby.
"""

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, Literal

from loren_jax.lengths import RATES
from loren_jax.optimizers import METHODS

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
            "parameters no first guess was measured: give one"
        )
    return rates[method]


def first_guess(config: Any, trained_parameters: int) -> float:
    """The rate of a run of which none was given, which it is told; a ValueError as above."""
    if config.quantise is not None and config.lora_rank is None:
        raise ValueError(
            "learning_rate is not given, and for the scales of quantised matrices no first "
            "guess was measured: give one, such as 1e-7 with a perturbation_scale of 1e-4"
        )
    rate = starting_rate(config.method, trained_parameters, config.OBJECTIVE)
    sys.stderr.write(f"no --learning-rate is given; a first guess is {rate:g}\n")
    return rate


def settled(config: Any, trained_parameters: int) -> tuple[str, float | None]:
    """Schedule and learning rate of a run; where neither is given, steps of a planned length.

    Args:
      config: Of the run.
      trained_parameters: Numbers that are trained.

    Returns:
      The schedule, and the rate; None for `automatic`.

    Raises:
      ValueError: No rate is given where one is needed and no first guess was measured.
    """
    schedule, rate = config.schedule, config.optimizer.learning_rate
    if schedule is None:
        found = rate is None and not config.warmup_steps and unpaced(config) is None
        schedule = "automatic" if found else "constant"
    if rate is None and schedule != "automatic":
        rate = first_guess(config, trained_parameters)
    return schedule, rate


def unpaced(config: Any) -> str | None:
    """Why a run cannot do without a learning rate; None where it can."""
    entry = METHODS.get(config.method)
    if entry is None or entry.full_every:
        return config.method
    if config.quantise is not None and config.lora_rank is None:
        return "the scales of quantised matrices"
    return None


def require_automatic(config: Any) -> None:
    """Refuses what has no rate to be found, and rates that are given beside it."""
    options = config.optimizer  # a rate that is its default was given by nobody
    rates = sorted(
        field.name
        for field in dataclasses.fields(options)
        if field.name in RATES and getattr(options, field.name) not in (None, field.default)
    )
    if rates:
        raise ValueError(
            f"schedule is automatic, which finds the rate, and {rates[0]} is given: leave one "
            "of the two away."
        )
    if config.warmup_steps:
        raise ValueError(
            f"schedule is automatic and warmup_steps {config.warmup_steps}: leave that away; its "
            "first steps are short anyway."
        )
    if what := unpaced(config):
        raise ValueError(
            f"schedule is automatic, which was measured on losses of batches and not with "
            f"{what}: give a learning_rate and another schedule."
        )


def schedule_description(
    kind: Literal["constant", "linear", "cosine"], peak: float, steps: int, warmup_steps: int = 0
) -> dict[str, Any] | None:
    """The learning rate as `loren_jax.journal.schedules` builds it; None where it never changes.

    `steps` are all those of the run. In the first `warmup_steps` it rises in equal parts, none of
    which is zero; then it is constant, or falls to zero, `linear` or as half a `cosine`.

    >>> from loren_jax.journal.schedules import build
    >>> rate = build(schedule_description("linear", 1.0, steps=5, warmup_steps=1))
    >>> [round(float(rate(step)), 3) for step in range(5)]
    [0.5, 1.0, 0.75, 0.5, 0.25]
    """
    falling = _falling(kind, peak, steps - warmup_steps)
    if not warmup_steps:
        return falling
    rising = _linear(peak / (warmup_steps + 1), peak, warmup_steps)
    constant = {"name": "constant_schedule", "arguments": {"value": peak}}
    return {"join": [rising, falling or constant], "boundaries": [warmup_steps]}


def _falling(kind: str, peak: float, steps: int) -> dict[str, Any] | None:
    if kind == "linear":
        return _linear(peak, 0.0, steps)
    if kind == "cosine":
        arguments = {"init_value": peak, "decay_steps": steps}
        return {"name": "cosine_decay_schedule", "arguments": arguments}
    return None


def _linear(start: float, end: float, steps: int) -> dict[str, Any]:
    arguments = {"init_value": start, "end_value": end, "transition_steps": steps}
    return {"name": "linear_schedule", "arguments": arguments}
