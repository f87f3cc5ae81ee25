"""Which facts go into the card of a run's model, and into that of a step that was made again."""

from pathlib import Path
from typing import Any

from loren_jax import journal
from loren_jax.reports import files
from loren_jax.reports.model_card import Provenance, write_card


def write_run_card(directory: Path) -> None:
    """Writes the card of the model in a run's directory, from the run's other files."""
    known = read_provenance(journal.read(directory / files.JOURNAL), directory)
    write_card(directory / files.MODEL, known)


def read_provenance(
    recorded: journal.Journal,
    directory: Path | None = None,
    *,
    steps: int | None = None,
    exact: bool = True,
) -> Provenance:
    """What is known of a run's model.

    Args:
      recorded: The journal.
      directory: The directory of the run, where that is known.
      steps: Steps that the model has had; None for the model that the run kept, whose scores are
        those of the summary.
      exact: Whether it has the very bits of the run's.

    Returns:
      The facts; scores only where they are those of this very model.
    """
    run, versions = recorded.header["run"], recorded.header["written_with"]
    path = None if directory is None else directory / files.SUMMARY
    summary = {} if path is None or not path.is_file() else files.read_json(path)
    kept = kept_steps(summary, recorded)
    own = summary and exact and (steps is None or steps == kept)
    packages = ("loren-jax", "jax", "jaxlib", "optax")
    steps = kept if steps is None else steps
    planned = max(run["config"]["steps"], steps)  # a run may go on for longer than was planned
    return Provenance(
        config={**run["config"], "steps": planned},
        steps=steps,
        max_length=run["max_length"],
        versions={name: versions.get(name, "") for name in packages},
        facts={name: value for name, value in summary.items() if own or name not in _OF_THE_END},
        scores=_scores(summary) if own else {},
    )


_OF_THE_END = ("forward_passes", "selected_step")
"""Facts of a summary that are of the model which was kept, and of no other step."""


def kept_steps(summary: dict[str, Any], recorded: journal.Journal) -> int:
    """Steps that the model of a run has had: those of the best evaluation, or all."""
    selected = summary.get("selected_step")
    return summary.get("steps", recorded.steps) if selected is None else selected


def _scores(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The scores of what was kept, by what the examples are called."""
    after = {
        name.removesuffix("_after"): value
        for name, value in summary.items()
        if name.endswith("_after") and value is not None
    }
    found: dict[str, dict[str, Any]] = {}
    if after:
        more = ("by_class", "majority_accuracy")
        after |= {name: summary[name] for name in more if summary.get(name) is not None}
        after["examples"] = summary["held_out_examples"]
        found[summary.get("held_out") or "held-out"] = after
    if summary.get("test") is not None:
        found["test"] = summary["test"]
    return found
