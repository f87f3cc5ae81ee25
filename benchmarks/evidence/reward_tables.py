"""Tables of what language models learned from rewards."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from benchmarks.evidence.rows import Rows


def rewards(rows: Rows) -> str:
    """All tables, as Markdown."""
    tasks = dict.fromkeys(row["task"] for row in rows if row.get("kind") == "learning")
    parts = [_learning(rows, task) for task in tasks]
    if noise := rows.where(kind="noise"):
        parts.append(_noise(noise))
    return "\n\n".join(["# Rewards", *parts])


def _noise(rows: Sequence[dict[str, Any]]) -> str:
    """What the same noise for all queries gains; see `reward_noise.py`."""
    lines = [
        "## stories260K: variance of a model's fitness under independent noise, over that under "
        "common noise",
        "",
        "| perturbation scale | gain | signal / noise of a step |",
        "|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: row["scale"]):
        gain = f"{row['gain']:.2f} ± {row['error']:.2f}"
        lines.append(f"| {row['scale']:g} | {gain} | {row['signal / noise']:.2f} |")
    return "\n".join(lines)


def _learning(rows: Rows, task: str) -> str:
    found = [row for row in rows.where(kind="learning", task=task) if row["seed"] < 100]
    if not found:
        return f"## {task}\n\nNo run is done."
    lines = [
        f"## {task}: mean reward of greedy answers to held-out prompts, {found[0]['answers']:,} "
        "answers in training",
        "",
        "| | rate | runs | untrained | trained | vote | answers to 0.8 | tied | minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method in dict.fromkeys(row["method"] for row in found):
        own = [row for row in found if row["method"] == method]
        cells = [
            method,
            "" if own[0]["rate"] is None else f"{own[0]['rate']:g}",
            str(len(own)),
            mean_text(row["before"] for row in own),
            mean_text(row["after"] for row in own),
            "" if own[0].get("vote") is None else mean_text(row["vote"] for row in own),
            _answers_to(own, 0.8),
            "" if own[0]["tied"] is None else f"{np.mean([row['tied'] for row in own]):.2f}",
            f"{np.mean([row['seconds'] for row in own]) / 60:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _answers_to(rows: Sequence[dict[str, Any]], reward: float) -> str:
    """The answers in training after which an evaluation first had a reward, the mean of the runs.

    How many of them came that far stands behind, if not all did.
    """
    reached = [[at for at, value in row["curve"] if value >= reward] for row in rows]
    first = [points[0] for points in reached if points]
    if not first:
        return "never"
    share = "" if len(first) == len(rows) else f" ({len(first)} of {len(rows)})"
    return f"{np.mean(first):,.0f}{share}"


def mean_text(values: Iterable[Any]) -> str:
    """Mean and standard error over the runs.

    >>> mean_text([0.5, 0.7])
    '0.600 ± 0.100'
    """
    numbers = np.array([*values], float)
    if len(numbers) < 2:
        return f"{numbers[0]:.3f}"
    return f"{numbers.mean():.3f} ± {numbers.std(ddof=1) / len(numbers) ** 0.5:.3f}"
