"""The learning rate over the steps of a run."""

from typing import Any, Literal


def schedule_description(
    kind: Literal["constant", "linear", "cosine"], peak: float, steps: int, warmup_steps: int = 0
) -> dict[str, Any] | None:
    """The learning rate as `loren_jax.journal.schedules` builds it; None where it never changes.

    `steps` are all those of the run. In the first `warmup_steps` it rises in equal parts, none of
    which is zero; then it is constant, or falls to zero, `linear` or as half a `cosine`.

    Example:
        >>> from loren_jax.journal.schedules import built
        >>> rate = built(schedule_description("linear", 1.0, steps=5, warmup_steps=1))
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
