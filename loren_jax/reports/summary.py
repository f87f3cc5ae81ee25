"""What is said at the end of a run: for people as text and curve, for programs as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from loren_jax.reports import files
from loren_jax.reports.answers import ANSWERS, answer_rows, answers_text, first_answers
from loren_jax.reports.class_scores import BY_CLASS, class_table, interval_text
from loren_jax.reports.curve import plot_curve
from loren_jax.reports.metrics import read_metrics

COUNTS = ("examples", BY_CLASS, ANSWERS)
"""Among scores, what is none."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The numbers of a run.

    Attributes:
      steps: Steps taken.
      planned_steps: Steps asked for.
      interrupted: Whether a signal ended the run early.
      stopped: Whether the run ended early for lack of improvement.
      metric: The score that selects; None where the last parameters are kept.
      selected_step: Steps before the parameters that are kept; None where the last ones are.
      before: Scores before the first step; None if there were none.
      after: Scores of what is kept; None if there were none.
      test: Scores of what is kept on examples that select nothing; None if there were none.
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
      facts: What else there is to say of the run: of its model, its data, its objective.
    """

    steps: int
    planned_steps: int
    interrupted: bool
    stopped: bool
    metric: str | None
    selected_step: int | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    test: Mapping[str, Any] | None
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
    facts: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """The summary as JSON values, in one level: facts, numbers, scores as `accuracy_after`.

        Those of every class, of what is kept, are called `by_class`, and what a language model said
        `answers`, each with the words `before` and `after`.
        """
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        values = {**own.pop("facts"), **own}
        for when in ("before", "after"):
            scores = values.pop(when) or {}
            values |= {f"{n}_{when}": v for n, v in scores.items() if n not in COUNTS}
        by_class = (self.after or {}).get(BY_CLASS)
        parts = {"before": self.before or {}, "after": self.after or {}}
        answers = {
            when: first_answers(scores[ANSWERS])
            for when, scores in parts.items()
            if ANSWERS in scores
        }
        values |= {ANSWERS: answers} if answers else {}
        return values if by_class is None else {**values, BY_CLASS: by_class}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Summary":
        """The inverse of `as_json`."""
        names = {f.name for f in fields(cls)}
        own = {name: value for name, value in values.items() if name in names}
        rest = {name: value for name, value in values.items() if name not in names}
        by_class = {BY_CLASS: rest.pop(BY_CLASS)} if BY_CLASS in rest else {}
        answers = rest.pop(ANSWERS, {})
        for when in ("before", "after"):
            found = [name for name in rest if name.endswith(f"_{when}")]
            scores = {name.removesuffix(f"_{when}"): rest.pop(name) for name in found}
            said = {ANSWERS: answers[when]} if when in answers else {}
            own[when] = {**scores, **said, **(by_class if when == "after" else {})} or None
        return cls(**own, facts=rest)


def write_report(directory: Path, summary: Summary, title: str, held_out: str) -> None:
    """Writes the curve, whose heading is the title, the answers, and `summary.json`, the last."""
    plot_curve(
        read_metrics(directory),
        directory / files.CURVE,
        majority_accuracy=summary.facts.get("majority_accuracy"),
        title=title or directory.name,
        held_out=held_out or "held out",
        selected_step=summary.selected_step,
        score=None if summary.metric is None else summary.metric.removeprefix("-"),
    )
    if answers := (summary.after or {}).get(ANSWERS):
        rows = answer_rows((summary.before or {}).get(ANSWERS), answers)
        files.write_lines(directory / files.ANSWERS, rows)
    files.write_json(directory / files.SUMMARY, summary.as_json())


def summary_text(summary: Summary, directory: Path) -> str:
    """The summary for people.

    Args:
      summary: The numbers.
      directory: Where the run was written.

    Returns:
      Lines without a newline at the end.
    """
    facts, kept = summary.facts, "after" if summary.selected_step is None else "selected"
    rows = {} if facts.get("protocol") is None else {"protocol": facts["protocol"]}
    named = " ".join([facts.get("held_out", ""), ""]).lstrip()
    for name in summary.after or summary.before or {}:
        if name not in COUNTS:
            before, after = ((part or {}).get(name) for part in (summary.before, summary.after))
            rows[f"{named}{name}"] = f"{_score(before)} before, {_score(after)} {kept}"
    by_class = (summary.after or {}).get(BY_CLASS)
    if (majority := facts.get("majority_accuracy")) is not None:
        # The best of many evaluations is no sample of its accuracy, so it has no interval.
        certain = by_class and summary.selected_step is None
        interval = f" ({interval_text(by_class)})" if certain else ""
        rows[f"{named}accuracy"] = (
            f"{rows.get(f'{named}accuracy', 'not known')}{interval}; majority class {majority:.3f} "
            f"({facts['held_out_examples']} examples)"
        )
    if summary.selected_step is not None and summary.metric and summary.after:
        best = summary.after.get(summary.metric.removeprefix("-"))
        rows["selected"] = f"step {summary.selected_step}, {summary.metric} {_score(best)}"
    if summary.test is not None:
        rows["test"] = scores_text(summary.test)
    if "parameters" in facts:
        rows["trained"] = f"{facts['trained_parameters']:,} of {facts['parameters']:,} parameters"
    rows |= {
        "forward passes": _forward_passes(summary),
        **_rollouts(summary),
        "time": f"{summary.training_seconds:.1f} s training, {summary.evaluation_seconds:.1f} s "
        f"evaluation, {summary.compile_seconds:.1f} s compilation",
        "memory": _memory(summary),
        "written": f"{directory}/ ({', '.join(_file_names(directory))})",
    }
    if summary.nonfinite:
        rows["not finite"] = f"{summary.nonfinite} losses; they had no weight"
    width = max(map(len, rows))
    lines = [f"  {name:<{width}}  {row}" for name, row in rows.items()]
    scored, examples = summary.test, "test"
    if scored is None:
        scored, examples = summary.after, facts.get("held_out", "")
    if scored and BY_CLASS in scored:
        lines += [f"  {line}" for line in class_table(scored[BY_CLASS], examples)]
    if answers := (summary.after or {}).get(ANSWERS):
        told = answers_text((summary.before or {}).get(ANSWERS), answers)
        lines += ["  answers to held-out prompts", *(f"    {line}" for line in told)]
    return "\n".join([_headline(summary, directory), *lines])


def scores_text(scores: Mapping[str, Any]) -> str:
    """Scores for people, on one line; `majority_accuracy`, `examples`, `by_class` are no scores.

    >>> scores_text({"accuracy": 0.75, "majority_accuracy": 0.5, "examples": 40})
    'accuracy 0.750; majority class 0.500 (40 examples)'
    """
    apart = (*COUNTS, "majority_accuracy")
    text = ", ".join(f"{name} {_score(v)}" for name, v in scores.items() if name not in apart)
    if BY_CLASS in scores:
        text += f" ({interval_text(scores[BY_CLASS])})"
    if "majority_accuracy" in scores:
        text += f"; majority class {scores['majority_accuracy']:.3f}"
    return text + (f" ({scores['examples']} examples)" if "examples" in scores else "")


def _file_names(directory: Path) -> list[str]:
    names = (
        *(files.MODEL, files.ADAPTER, files.PACKED, files.METRICS, files.JOURNAL, files.FACTORS),
        *(files.CURVE, files.ANSWERS, files.SUMMARY, files.CONFIG),
    )
    folder = lambda name: f"{name}/" if (directory / name).is_dir() else name
    return [folder(name) for name in names if (directory / name).exists()]


def _headline(summary: Summary, directory: Path) -> str:
    steps = f"{summary.steps} steps"
    if summary.interrupted:
        steps = f"interrupted at step {summary.steps} of {summary.planned_steps}"
    elif summary.stopped:
        steps = f"stopped at step {summary.steps} of {summary.planned_steps}, no longer better"
    facts = summary.facts
    if "optimizer" not in facts:
        return f"{directory.name}: {steps}"
    return f"{facts['optimizer']} on {facts['model']}, {facts['data']}: {steps}"


def _forward_passes(summary: Summary) -> str:
    text = f"{summary.forward_passes:,} training, {summary.evaluation_forward_passes:,} evaluation"
    if summary.forward_passes_per_second is None:
        return text
    return f"{text}; {summary.forward_passes_per_second:.1f} a second in training"


def _rollouts(summary: Summary) -> dict[str, str]:
    """The row of what was answered in training, where the model was asked."""
    if (each := summary.facts.get("answers_per_pass")) is None:
        return {}
    return {"answers": f"{summary.forward_passes * each:,} in training"}


def _memory(summary: Summary) -> str:
    parts = (
        ("temporary of a step", summary.temporary_bytes),
        ("peak of the process", summary.peak_resident_bytes),
        ("peak of the device", summary.peak_device_bytes),
    )
    return ", ".join(f"{size / 2**20:,.0f} MiB {name}" for name, size in parts if size is not None)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
