"""What a run has counted so far; a checkpoint holds it, so that a resumed run counts on."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Counters:
    """The counts of a run.

    Attributes:
        step: Steps taken.
        forward_passes: Forward passes of the steps.
        evaluation_forward_passes: Those of the evaluations.
        training_seconds: Time of the steps alone.
        evaluation_seconds: Time of the evaluations.
        nonfinite: Losses that were not finite.
        nonfinite_steps: Steps in a row, up to now, without a finite loss.
        before: Scores before the first step; None if there were none.
        after: The latest scores; None if there were none.
    """

    step: int = 0
    forward_passes: int = 0
    evaluation_forward_passes: int = 0
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    nonfinite: int = 0
    nonfinite_steps: int = 0
    before: dict[str, float] | None = None
    after: dict[str, float] | None = None

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON values; `Counters(**values)` is the inverse."""
        return asdict(self)
