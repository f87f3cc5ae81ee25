"""What is said at the end of a run: for people as text, for programs as JSON."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TestScore:
    """The score of the kept parameters on examples that selected nothing.

    Attributes:
        examples: How many there were.
        accuracy: Share of right answers.
        loss: Mean cross-entropy in nats.
        metrics: The metrics that count, by name.
        majority_accuracy: What always answering the most frequent class would have.
    """

    __test__ = False  # pytest would take it for a class of tests

    examples: int
    accuracy: float
    loss: float
    metrics: dict[str, float]
    majority_accuracy: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The numbers of a run.

    What is held out is what the evaluations see: with a protocol the examples that select, without
    one those that nothing is chosen by.

    Attributes:
        optimizer: Name of the optimiser.
        model: As the configuration names it.
        data: As the configuration names it.
        seed: Of everything drawn.
        protocol: Title of the protocol, with what departs from it; None without one.
        prompt: Whether the model answers a prompt.
        metric: The metric that selects, or accuracy.
        steps: Steps taken.
        planned_steps: Steps asked for.
        interrupted: Whether a signal ended the run early.
        stopped: Whether the run ended early for lack of improvement.
        selected_step: Steps before the parameters that are kept; None where the last ones are.
        selected_score: Their `metric` on the held-out examples; None where the last ones are kept.
        accuracy_before: Held-out accuracy before the first step; None if it was skipped.
        accuracy_after: Held-out accuracy of what is kept; None if it was skipped.
        loss_before: Held-out loss before the first step.
        loss_after: Held-out loss of what is kept.
        majority_accuracy: What always answering the most frequent class would have.
        train_examples: How many examples were trained on.
        held_out_examples: How many examples these are shares of.
        test: The score on test examples; None where the protocol has none, or it was skipped.
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
    seed: int
    protocol: str | None
    prompt: bool
    metric: str
    steps: int
    planned_steps: int
    interrupted: bool
    stopped: bool
    selected_step: int | None
    selected_score: float | None
    accuracy_before: float | None
    accuracy_after: float | None
    loss_before: float | None
    loss_after: float | None
    majority_accuracy: float
    train_examples: int
    held_out_examples: int
    test: TestScore | None
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

    @property
    def held_out_name(self) -> str:
        """What the held-out examples are called: they are `dev` where they select."""
        return "held-out" if self.selected_step is None else "dev"

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
    kept = "after" if summary.selected_step is None else "selected"
    rows = {} if summary.protocol is None else {"protocol": summary.protocol}
    rows |= {
        f"{summary.held_out_name} accuracy": f"{_score(summary.accuracy_before)} before, "
        f"{_score(summary.accuracy_after)} {kept}; majority class "
        f"{summary.majority_accuracy:.3f} ({summary.held_out_examples} examples)",
        f"{summary.held_out_name} loss": f"{_score(summary.loss_before)} before, "
        f"{_score(summary.loss_after)} {kept}",
    }
    if summary.selected_step is not None:
        rows["selected"] = (
            f"step {summary.selected_step}, {summary.metric} {_score(summary.selected_score)}"
        )
    if summary.test is not None:
        rows["test"] = held_back_text(summary.test)
    rows |= {
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


def held_back_text(test: TestScore) -> str:
    """The test score for people, on one line."""
    scores = {"accuracy": test.accuracy, **test.metrics}
    named = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    return f"{named}; majority class {test.majority_accuracy:.3f} ({test.examples} examples)"


def _headline(summary: Summary) -> str:
    steps = f"{summary.steps} steps"
    if summary.interrupted:
        steps = f"interrupted at step {summary.steps} of {summary.planned_steps}"
    elif summary.stopped:
        steps = f"stopped at step {summary.steps} of {summary.planned_steps}, no longer better"
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
