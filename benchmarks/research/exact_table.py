"""The tables of `exact`, from its rows."""

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.evidence.rows import Rows
from benchmarks.evidence.tables import contrast, markdown, spread

Row = dict[str, Any]
WITHIN = {
    "quarter": "a quarter of the passes",
    "passes": "equal passes",
    "time": "equal time",
}
FRUGAL = (", row by row, one after another", ", remat, row by row", ", row by row")
"""What is added to a way's name where it is measured in the least memory."""


def table(rows: Rows) -> str:
    """All of it, in Markdown."""
    names = dict.fromkeys(row["problem"] for row in rows if row["kind"] == "run")
    return "\n\n".join(f"{name}\n\n{_of(rows, name)}" for name in names)


def _of(rows: Rows, problem: str) -> str:
    runs: dict[str, list[Row]] = {}
    for row in rows.where(problem=problem, kind="run"):
        runs.setdefault(row["way"], []).append(row)
    costs = {row["way"]: row for row in rows.where(problem=problem, kind="cost", flags="")}
    first, firsts = next(iter(runs.items()))
    steps = firsts[0]["steps"][-1]
    budget = steps * costs[first]["passes a step"]
    within = {name: _limits(costs[name], budget, steps) for name in runs}
    lines = [_line(name, own, costs, within[name]) for name, own in runs.items()]
    start = spread([row["dev loss"][0] for row in firsts])
    return (
        f"{budget:g} passes, from {start}\n\n{markdown(lines)}\n\n{_pairs(runs, within)}"
        f"\n\n{markdown([_memory(name, row) for name, row in costs.items()])}"
    )


def _limits(cost: Row, passes: float, steps: int) -> dict[str, float]:
    """Steps that the passes, or the time of so many steps of the first way, are enough for."""
    each = cost["passes a step"]
    time = steps / cost["steps of the first"]
    return {"quarter": passes / 4 / each, "passes": passes / each, "time": time}


def least(row: Row, steps: float) -> float:
    """The least dev loss of the evaluations after about so many steps at most."""
    every = row["steps"][1]
    seen = zip(row["steps"], row["dev loss"], strict=True)
    return min(math.inf if x is None else x for at, x in seen if at <= steps + every / 2)


def _line(
    name: str, runs: Sequence[Row], costs: dict[str, Row], limits: dict[str, float]
) -> dict[str, Any]:
    cost = costs[name]
    frugal = [costs[name + more] for more in FRUGAL if name + more in costs]
    of = lambda row: (row["temporary"] + row["state"]) / row["parameters"]
    at = lambda which: spread(least(row, limits[which]) for row in runs)
    return {
        "way": name,
        "rates": ", ".join(f"{rate:g}" for rate in runs[0]["rates"].values()),
        "passes a step": round(cost["passes a step"], 2),
        "in time": round(cost["measured passes a step"], 1),
        "memory": round(of(cost), 2),
        "at least": round(min(map(of, frugal)), 2) if frugal else None,
        **{f"dev loss, {words}": at(which) for which, words in WITHIN.items()},
        "test loss": spread(_test(row) for row in runs),
        "still falling": sum(_falls(row) for row in runs),
    }


def _test(row: Row) -> float:
    return row["test"][row["test names"].index("loss")]


def _falls(row: Row) -> bool:
    """Whether the last quarter of the evaluations has the least loss."""
    losses = [math.inf if x is None else x for x in row["dev loss"]]
    return losses.index(min(losses)) > 0.75 * len(losses)


def _pairs(runs: dict[str, list[Row]], within: dict[str, dict[str, float]]) -> str:
    """What is beside the gradients of a part, less these gradients alone, paired by seeds."""
    lines = []
    for name in runs:
        for link in (" and ", " within "):
            alone = name.split(link)[0]
            if alone == name or alone not in runs:
                continue
            line = {"way": name, "less": alone}
            for which, words in WITHIN.items():
                ours, theirs = (
                    [least(row, within[one][which]) for row in runs[one]] for one in (name, alone)
                )
                line[words], line[f"verdict, {words}"] = contrast(ours, theirs)
            lines.append(line)
    return markdown(lines)


def _memory(name: str, row: Row) -> dict[str, Any]:
    share = lambda field: round(row[field] / row["parameters"], 2)
    return {
        "way": name,
        "temporary": share("temporary"),
        "state": share("state"),
        "both": round((row["temporary"] + row["state"]) / row["parameters"], 2),
        "time in passes": round(row["measured passes a step"], 1),
    }
