"""Learning-rate schedules as JSON values: Optax's own, by name, and several one after another."""

from collections.abc import Mapping
from typing import Any

import optax

from loren_jax.journal.records import JournalError

SCHEDULES = (
    "constant_schedule",
    "cosine_decay_schedule",
    "exponential_decay",
    "linear_schedule",
    "polynomial_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
)
"""The schedules of Optax that a description may name."""


def build(description: Mapping[str, Any]) -> optax.Schedule:
    """The schedule that a description means.

    Args:
      description: `{"name": ..., "arguments": {...}}` with a name out of `SCHEDULES`, or
        `{"join": [description, ...], "boundaries": [step, ...]}`.

    Raises:
      JournalError: there is no such schedule.

    >>> rising = {"name": "linear_schedule",
    ...     "arguments": {"init_value": 0.0, "end_value": 1.0, "transition_steps": 2}}
    >>> constant = {"name": "constant_schedule", "arguments": {"value": 1.0}}
    >>> schedule = build({"join": [rising, constant], "boundaries": [2]})
    >>> [float(schedule(step)) for step in range(4)]
    [0.0, 0.5, 1.0, 1.0]
    """
    if "join" in description:
        parts = [build(part) for part in description["join"]]
        return optax.join_schedules(parts, list(description["boundaries"]))
    if description.get("name") not in SCHEDULES:
        raise JournalError(
            f"schedule {description.get('name')!r} is none of {', '.join(SCHEDULES)}"
        )
    return getattr(optax, description["name"])(**description["arguments"])
