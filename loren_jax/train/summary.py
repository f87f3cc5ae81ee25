"""What is said at the end of a run: for people as text, for programs as JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The numbers of a run.

    Attributes:
        optimizer: Name of the optimiser.
        model: As the configuration names it.
        data: As the configuration names it.
        steps: Steps taken.
        planned_steps: Steps asked for.
        interrupted: Whether a signal ended the run early.
        accuracy_before: Held-out accuracy before the first step; None if it was skipped.
        accuracy_after: Held-out accuracy of the result; None if it was skipped.
        loss_before: Held-out loss before the first step.
        loss_after: Held-out loss of the result.
        majority_accuracy: What always answering the most frequent class would have.
        held_out_examples: How many examples these are shares of.
        trained_parameters: Numbers that were trained.
        parameters: Numbers that the model has.
        forward_passes: Forward passes of the steps, a batch each.
        evaluation_forward_passes: Those of the evaluations.
        nonfinite: Losses that were not finite.
        training_seconds: Time of the steps.
        evaluation_seconds: Time of the evaluations.
        compile_seconds: Time of the compilation of the step.
        forward_passes_per_second: Of the steps.
        temporary_bytes: What one step needs beside its arguments and results; None if unknown.
        peak_resident_bytes: The most memory of the process; None if unknown.
        peak_device_bytes: The most memory of the accelerator; None if there is none.
    """

    optimizer: str
    model: str
    data: str
    steps: int
    planned_steps: int
    interrupted: bool
    accuracy_before: float | None
    accuracy_after: float | None
    loss_before: float | None
    loss_after: float | None
    majority_accuracy: float
    held_out_examples: int
    trained_parameters: int
    parameters: int
    forward_passes: int
    evaluation_forward_passes: int
    nonfinite: int
    training_seconds: float
    evaluation_seconds: float
    compile_seconds: float
    forward_passes_per_second: float | None
    temporary_bytes: int | None
    peak_resident_bytes: int | None
    peak_device_bytes: int | None

    def as_json(self) -> dict[str, Any]:
        """The summary as JSON values."""
        return asdict(self)


def summary_text(summary: Summary, directory: Path, written: list[str]) -> str:
    """The summary for people.

    Args:
        summary: The numbers.
        directory: Where the run was written.
        written: Names of what lies there.

    Returns:
        Lines without a newline at the end.
    """
    rows = {
        "held-out accuracy": f"{_score(summary.accuracy_before)} before, "
        f"{_score(summary.accuracy_after)} after; majority class "
        f"{summary.majority_accuracy:.3f} ({summary.held_out_examples} examples)",
        "held-out loss": f"{_score(summary.loss_before)} before, "
        f"{_score(summary.loss_after)} after",
        "trained": f"{summary.trained_parameters:,} of {summary.parameters:,} parameters",
        "forward passes": _forward_passes(summary),
        "time": f"{summary.training_seconds:.1f} s training, {summary.evaluation_seconds:.1f} s "
        f"evaluation, {summary.compile_seconds:.1f} s compilation",
        "memory": _memory(summary),
        "written": f"{directory}/ ({', '.join(written)})",
    }
    if summary.nonfinite:
        rows["not finite"] = f"{summary.nonfinite} losses; they had no weight"
    width = max(map(len, rows))
    return "\n".join(
        [_headline(summary), *(f"  {name:<{width}}  {row}" for name, row in rows.items())]
    )


def _headline(summary: Summary) -> str:
    steps = f"{summary.steps} steps"
    if summary.interrupted:
        steps = f"interrupted at step {summary.steps} of {summary.planned_steps}"
    return f"{summary.optimizer} on {summary.model}, {summary.data}: {steps}"


def _forward_passes(summary: Summary) -> str:
    text = f"{summary.forward_passes:,} training, {summary.evaluation_forward_passes:,} evaluation"
    if summary.forward_passes_per_second is None:
        return text
    return f"{text}; {summary.forward_passes_per_second:.1f} a second in training"


def _memory(summary: Summary) -> str:
    parts = (
        ("temporary of a step", summary.temporary_bytes),
        ("peak of the process", summary.peak_resident_bytes),
        ("peak of the device", summary.peak_device_bytes),
    )
    return ", ".join(f"{size / 2**20:,.0f} MiB {name}" for name, size in parts if size is not None)


def _score(value: float | None) -> str:
    return "not evaluated" if value is None else f"{value:.3f}"
