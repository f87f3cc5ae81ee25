"""The learning rate over the steps of a run."""

from typing import Any, Literal

from loren_jax.journal import schedules


def learning_rate_schedule(
    kind: Literal["constant", "linear", "cosine"], peak: float, steps: int, warmup_steps: int = 0
) -> Any:
    """The learning rate as an optimiser takes it.

    Args:
        kind: What follows the warm-up: `constant`, or a fall to zero at the end of the run,
            `linear` or as half a `cosine`.
        peak: The largest learning rate.
        steps: Steps of the run, those of the warm-up included.
        warmup_steps: Steps in which it rises in equal parts; none of them is zero.

    Returns:
        A number where it never changes, else an Optax schedule.

    Example:
        >>> rate = learning_rate_schedule("linear", 1.0, steps=5, warmup_steps=1)
        >>> [round(float(rate(step)), 3) for step in range(5)]
        [0.5, 1.0, 0.75, 0.5, 0.25]
    """
    description = schedule_description(kind, peak, steps, warmup_steps)
    return peak if description is None else schedules.built(description)


def schedule_description(
    kind: Literal["constant", "linear", "cosine"], peak: float, steps: int, warmup_steps: int = 0
) -> dict[str, Any] | None:
    """The same as a journal describes it.

    Args:
        kind: See `learning_rate_schedule`.
        peak: See there.
        steps: See there.
        warmup_steps: See there.

    Returns:
        JSON values as `loren_jax.journal.schedules` builds them; None where it never changes.
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
