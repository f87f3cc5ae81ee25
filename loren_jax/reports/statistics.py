"""Scores of several runs together: mean and standard deviation."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from loren_jax.reports.summary import COUNTS


def reported_scores(summary: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a summary, of this version or an earlier one, that are worth a mean.

    Example:
        >>> reported_scores({"held_out": "dev", "accuracy_after": 0.75, "training_seconds": 2.0})
        {'dev accuracy': 0.75, 'training seconds': 2.0}
    """
    named = summary.get("held_out", "held-out" if summary.get("selected_step") is None else "dev")
    scores = {
        f"{named} {name.removesuffix('_after')}": value
        for name, value in summary.items()
        if name.endswith("_after") and name != "loss_after"
    }
    test = summary.get("test")
    if test is not None:
        flat = {**test, **test.get("metrics", {})}
        apart = (*COUNTS, "metrics", "majority_accuracy")
        scores |= {f"test {name}": value for name, value in flat.items() if name not in apart}
    majority = (test or summary).get("majority_accuracy")
    scores["majority class" if test is None else "test majority class"] = majority
    scores["training seconds"] = summary["training_seconds"]
    return {name: value for name, value in scores.items() if value is not None}


def mean_and_std(values: Sequence[float]) -> dict[str, float | None]:
    """Mean and sample standard deviation.

    Example:
        >>> mean_and_std([1.0, 2.0, 3.0]), mean_and_std([1.0])
        ({'mean': 2.0, 'std': 1.0}, {'mean': 1.0, 'std': None})
    """
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": std}


def spread_text(values: Mapping[str, float | None], digits: int = 3) -> str:
    """Mean and standard deviation for people.

    Example:
        >>> spread_text({"mean": 0.75, "std": 0.0125}), spread_text({"mean": 2.0, "std": None})
        ('0.750 ± 0.013', '2.000')
    """
    mean, std = values["mean"], values["std"]
    if mean is None:
        return "-"
    return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")
