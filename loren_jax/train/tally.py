"""What a run has counted so far, and what of it a keyframe must know."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from loren_jax.train.scoring import Score


@dataclass
class Tally:
    """The counts of a run.

    Attributes:
        step: Steps taken.
        forward_passes: Forward passes of the steps.
        evaluation_forward_passes: Those of the evaluations.
        training_seconds: Time of the steps alone.
        evaluation_seconds: Time of the evaluations.
        nonfinite: Losses that were not finite.
        dead_steps: Steps in a row, up to now, without a finite loss.
        before: Score before the first step; None if it was given up.
        after: The latest score; None if it was given up.
    """

    step: int = 0
    forward_passes: int = 0
    evaluation_forward_passes: int = 0
    training_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    nonfinite: int = 0
    dead_steps: int = 0
    before: Score | None = None
    after: Score | None = None

    def as_json(self) -> dict[str, Any]:
        """The counts as JSON values."""
        scores = {name: score_json(getattr(self, name)) for name in ("before", "after")}
        return asdict(replace(self, before=None, after=None)) | scores

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Tally":
        """The inverse of `as_json`."""
        scores: dict[str, Any] = {n: score_from_json(values[n]) for n in ("before", "after")}
        return cls(**(values | scores))


def score_json(score: Score | None) -> dict[str, Any] | None:
    """A score as JSON values.

    Example:
        >>> score = Score(0.5, 0.7, 4, 1, ((1, 1), (1, 1)))
        >>> score_from_json(score_json(score)) == score
        True
    """
    if score is None:
        return None
    return score._asdict() | {"confusion": [list(row) for row in score.confusion]}


def score_from_json(values: dict[str, Any] | None) -> Score | None:
    """The inverse of `score_json`."""
    if values is None:
        return None
    return Score(**(values | {"confusion": tuple(tuple(row) for row in values["confusion"])}))
