"""Tables and picture of `queries_to_target.py`."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.evidence.pictures import draw_curves
from benchmarks.evidence.rows import Rows
from benchmarks.evidence.tables import (
    Row,
    common_level,
    contrast,
    fall_target,
    finite,
    markdown,
    passes_to,
    spread,
)

SHARES = (0.5, 0.25)
"""Of the methods, that reach a target."""


def queries_to_target(rows: Rows, picture: Path) -> str:
    """A section a task: accuracy and forward passes to a target."""
    panels = by_task(rows)
    if panels:
        draw_curves(panels, picture)
    sections = [_task_section(rows, task, methods) for task, methods in panels.items()]
    head = (
        "Mean ± standard error over the reported seeds. The learning rate has the least mean dev "
        "loss over the evaluations of the tuning seeds, on a grid in steps of about 3. Test scores "
        "are those of the parameters that the dev split selects. Passes count to the first "
        "evaluation that reaches a target. Mean dev losses over a run are compared with MeZO's "
        "seed by seed. Targets: a share of the fall of the dev loss that AdamW "
        "with gradients reaches with the same seed, in tenths, and a dev accuracy, in steps of "
        "0.05; of both the hardest that half of the methods without gradients reach with "
        "every seed, and the hardest that a quarter of them reach. A gradient counts as three "
        "forward passes."
    )
    return "\n\n".join(["# Forward passes to a target", head, *sections])


def by_task(rows: Rows) -> dict[str, dict[str, list[Row]]]:
    """The reported runs, `task -> method -> runs`."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows.where(kind="run"):
        found.setdefault(row["task"], {}).setdefault(row["method"], []).append(row)
    return found


def table_of(methods: dict[str, list[Row]]) -> list[Row]:
    """A line a method: what it reached, and the forward passes to each target."""
    metric = next(iter(methods.values()))[0]["metric"]
    targets = _targets(methods, metric)
    base = {name: _all_seeds(find, methods.get("mezo", [])) for name, find in targets.items()}
    table = []
    for name, own in methods.items():
        row: Row = {"method": name, "learning rate": own[0]["rate"], "seeds": len(own)}
        if metric != "loss":
            row[f"test {metric}"] = spread(one["test"][metric] for one in own)
        row["test loss"] = spread(one["test"]["loss"] for one in own)
        row["lowest dev loss"] = spread(min(finite(one["dev loss"])) for one in own)
        row["mean dev loss less MeZO's"] = _against(own, methods.get("mezo", []))
        for title, find in targets.items():
            mean, mezo = _all_seeds(find, own), base[title]
            row[f"passes to {title}"] = reaching(find, own)
            row[f"ratio to MeZO, {title}"] = f"{mean / mezo:.2f}" if mean and mezo else None
        table.append(row)
    return sorted(table, key=lambda row: float(row["lowest dev loss"].split()[0]))


def _task_section(rows: Rows, task: str, methods: dict[str, list[Row]]) -> str:
    about, runs = rows.where(kind="task", task=task)[0], next(iter(methods.values()))
    facts = {k: v for k, v in about.items() if k not in ("run", "task", "kind", "untrained test")}
    if runs[0]["metric"] == "loss":
        del facts["majority class"]
    facts["budget"] = f"{max(runs[0]['passes'])} forward passes"
    listed = "; ".join(f"{k} {_short(v)}" for k, v in facts.items())
    untrained = ", ".join(f"{k} {v:.4f}" for k, v in about["untrained test"].items())
    return f"## {task}\n\n{listed}; untrained test: {untrained}.\n\n{markdown(table_of(methods))}"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _targets(methods: dict[str, list[Row]], metric: str) -> dict[str, Callable]:
    """`title -> (run -> passes to this target, or None)`, of targets that enough methods reach."""
    ceiling = {
        row["seed"]: row
        for name, own in methods.items()
        for row in own
        if name.endswith("gradients")
    }

    def falls(row: Row, share: float) -> float | None:
        if row["seed"] not in ceiling:
            return None
        target = fall_target(row, ceiling[row["seed"]], share)
        return passes_to(row, "dev loss", lambda loss: loss <= target)

    def climbs(row: Row, level: float) -> float | None:
        return passes_to(row, "dev accuracy", lambda value: value >= level)

    kinds: list[tuple[str, Callable, list[float]]] = [
        ("{:.0%} of AdamW's fall", falls, [i / 10 for i in range(1, 10)])
    ]
    if metric == "accuracy":
        kinds.append(("accuracy {:.2f}", climbs, [i / 20 for i in range(11, 20)]))
    plain = [own for name, own in methods.items() if not name.endswith("gradients")]
    found = {}
    for title, passes, levels in kinds:
        reaches = lambda level, passes=passes: [
            all(passes(row, level) is not None for row in own) for own in plain
        ]
        hardest = [common_level(levels, reaches, share) for share in SHARES]
        for level in filter(None, dict.fromkeys(hardest)):
            found[title.format(level)] = lambda row, passes=passes, level=level: passes(row, level)
    return found


def _against(own: Sequence[Row], base: Sequence[Row]) -> str | None:
    """Mean dev loss over a run less that of the base's run of the same seed."""
    means = {one["seed"]: _mean_loss(one) for one in base}
    pairs = [(_mean_loss(one), means[one["seed"]]) for one in own if one["seed"] in means]
    return contrast(*zip(*pairs, strict=True))[0] if len(pairs) > 1 else None


def _mean_loss(row: Row) -> float:
    """As `Run.mean_loss`: over the evaluations after the start, none worse than twice the start."""
    bound = 2 * row["dev loss"][0]
    return statistics.fmean(min(bound if v is None else v, bound) for v in row["dev loss"][1:])


def _all_seeds(find: Callable, own: Sequence[Row]) -> float | None:
    """Mean passes to the target if every seed reaches it."""
    found = [find(row) for row in own]
    return statistics.fmean(found) if found and None not in found else None


def reaching(find: Callable, own: Sequence[Row]) -> str:
    """Mean passes of the runs that reach a target, and how many do where not all."""
    found = [find(row) for row in own]
    reached = [passes for passes in found if passes is not None]
    few = "" if len(reached) == len(found) else f" ({len(reached)} of {len(found)})"
    return (spread(reached, 0) if reached else "never") + few
