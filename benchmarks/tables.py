"""Makes the tables and pictures of the evidence from its rows, and prints the tables.

    python benchmarks/tables.py

reads `results/{queries_to_target,ablations,peers}.jsonl` and writes `.md` and `.png` beside them.
"""

import statistics
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from evidence.pictures import draw_curves
from evidence.rows import Rows
from evidence.tables import common_level, contrast, fall_target, markdown, passes_to, spread
from record import RESULTS

Row = dict[str, Any]
CELL = {
    "covariance": "isotropic", "momentum": 0.0, "scheme": "leave-one-out",
    "directions": "Gaussian", "passes": 6, "rate": 1e-3,
}  # fmt: skip


def queries_to_target(rows: Rows) -> str:
    """A section a task: accuracy and forward passes to a target."""
    panels: dict[str, dict[str, list[Row]]] = {}
    for row in rows.where(kind="run"):
        panels.setdefault(row["task"], {}).setdefault(row["method"], []).append(row)
    if panels:
        draw_curves(panels, RESULTS / "queries_to_target.png")
    sections = [_task_section(rows, task, methods) for task, methods in panels.items()]
    head = (
        "Mean ± standard error over the reported seeds. The learning rate has the least mean dev "
        "loss over the evaluations of the tuning seeds, on a grid in steps of about 3. Test scores "
        "are those of the parameters that the dev split selects. Passes count to the first "
        "evaluation that reaches a target. Targets: a share of the fall of the dev loss that AdamW "
        "with gradients reaches with the same seed, in tenths, and a dev accuracy, in steps of "
        "0.05; of both the hardest that half of the methods without gradients reach with "
        "every seed. A gradient counts as three forward passes."
    )
    return "\n\n".join(["# Forward passes to a target", head, *sections])


def _task_section(rows: Rows, task: str, methods: dict[str, list[Row]]) -> str:
    about = rows.where(kind="task", task=task)[0]
    metric = next(iter(methods.values()))[0]["metric"]
    targets = _targets(methods, metric)
    base = {name: _all_seeds(find, methods.get("mezo", [])) for name, find in targets.items()}
    table = []
    for name, own in methods.items():
        row: Row = {"method": name, "learning rate": own[0]["rate"], "seeds": len(own)}
        if metric != "loss":
            row[f"test {metric}"] = spread(one["test"][metric] for one in own)
        row["test loss"] = spread(one["test"]["loss"] for one in own)
        row["lowest dev loss"] = spread(min(_finite(one["dev loss"])) for one in own)
        for title, find in targets.items():
            mean, mezo = _all_seeds(find, own), base[title]
            row[f"passes to {title}"] = _reaching(find, own)
            row[f"ratio to MeZO, {title}"] = f"{mean / mezo:.2f}" if mean and mezo else None
        table.append(row)
    table.sort(key=lambda row: float(row["lowest dev loss"].split()[0]))
    facts = {k: v for k, v in about.items() if k not in ("run", "task", "kind", "untrained test")}
    facts["budget"] = f"{max(methods[next(iter(methods))][0]['passes'])} forward passes"
    listed = "; ".join(f"{k} {_short(v)}" for k, v in facts.items())
    untrained = ", ".join(f"{k} {v:.4f}" for k, v in about["untrained test"].items())
    return f"## {task}\n\n{listed}; untrained test: {untrained}.\n\n{markdown(table)}"


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
        level = common_level(levels, reaches)
        if level is not None:
            found[title.format(level)] = lambda row, passes=passes, level=level: passes(row, level)
    return found


def _all_seeds(find: Callable, own: Sequence[Row]) -> float | None:
    """Mean passes to the target if every seed reaches it."""
    found = [find(row) for row in own]
    return statistics.fmean(found) if found and None not in found else None


def _reaching(find: Callable, own: Sequence[Row]) -> str:
    found = [find(row) for row in own]
    reached = [passes for passes in found if passes is not None]
    few = "" if len(reached) == len(found) else f" ({len(reached)} of {len(found)})"
    return (spread(reached, 0) if reached else "never") + few


def _finite(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def ablations(rows: Rows) -> str:
    """The questions, the cells, and the two other parts."""
    cells = rows.where(kind="cell")
    table = [
        {
            **{key: row[key] for key in CELL},
            "effective rate": row["effective rate"],
            "mean dev loss": spread(row["mean dev loss"], 4),
            "last dev loss": spread(row["last dev loss"], 4),
            "test accuracy": spread(row["test accuracy"]),
        }
        for row in cells
    ]
    head = (
        "MiniLM's head on SST-2; the mean dev loss is over all evaluations of a run, mean ± "
        "standard error over the reported seeds. `rate` is the covariance's learning rate. "
        "Questions compare two cells seed by seed, each at its own best effective rate; a verdict "
        "is a paired t-test at 5 %."
    )
    return "\n\n".join(
        [
            "# Ablations", head, markdown(_questions(cells)),
            "Momentum 0.9 less no momentum, at each effective rate alike:",
            markdown(_momentum_by_rate(cells)),
            markdown(table), "Perturbation scale, LOREN:", markdown(_scales(rows)),
            "How far the kernel's `a` moves, learned:", markdown(_motion(rows)),
        ]
    )  # fmt: skip


def _questions(cells: Sequence[Row]) -> list[Row]:
    pairs: list[tuple[Row, Row]] = []
    add = lambda first, second: pairs.append((CELL | first, CELL | second))
    for covariance in ("isotropic", "frozen", "learned"):
        add({"covariance": covariance, "momentum": 0.9}, {"covariance": covariance})
    for other, passes in product(("two-sided pairs", "one-sided with centre"), (2, 6, 16)):
        add({"passes": passes}, {"scheme": other, "passes": passes})
    for passes in (2, 16):
        add({"passes": passes}, {})
    for scheme, kind in product(("leave-one-out", "two-sided pairs"), ("rank 1", "rank 8")):
        add({"scheme": scheme, "directions": kind}, {"scheme": scheme})
    for passes in (2, 6, 16):
        add({"covariance": "learned", "passes": passes}, {"covariance": "frozen", "passes": passes})
        add({"covariance": "frozen", "passes": passes}, {"passes": passes})
    for rate in (1e-1, 10.0):
        add({"covariance": "learned", "rate": rate}, {})
    for scheme in ("two-sided pairs", "one-sided with centre"):
        add({"covariance": "learned", "scheme": scheme}, {"scheme": scheme})
    for kind in ("rank 1", "rank 8"):
        add({"covariance": "learned", "directions": kind}, {"directions": kind})
    found = []
    for first, second in pairs:
        ours, theirs = _cell(cells, first), _cell(cells, second)
        if ours and theirs:
            text, verdict = contrast(ours["mean dev loss"], theirs["mean dev loss"])
            changed = [key for key in CELL if first[key] != second[key]]
            found.append(
                {
                    "first": ", ".join(str(first[key]) for key in changed),
                    "second": ", ".join(str(second[key]) for key in changed),
                    "where": _where(second, changed),
                    "first less second": text,
                    "the first is": verdict,
                }
            )
    return found


def _where(cell: Row, changed: Sequence[str]) -> str:
    """What of a cell departs from the plain one, and the passes a step, which always matter."""
    kept = [key for key in CELL if key not in changed and cell[key] != CELL[key]]
    words = [f"{cell[key]}" if isinstance(cell[key], str) else f"{key} {cell[key]}" for key in kept]
    return ", ".join(dict.fromkeys([*words, f"passes {cell['passes']}"]))


def _cell(cells: Sequence[Row], wanted: Row) -> Row | None:
    return next((row for row in cells if all(row[k] == v for k, v in wanted.items())), None)


def _momentum_by_rate(cells: Sequence[Row]) -> list[Row]:
    table = []
    for covariance in ("isotropic", "frozen", "learned"):
        own = [_cell(cells, CELL | {"covariance": covariance, "momentum": m}) for m in (0.9, 0.0)]
        if not all(own):
            continue
        curves = [
            dict(zip(row["rates"], row["mean dev losses by rate"], strict=True))
            for row in own
            if row
        ]
        for rate in sorted(set(curves[0]) & set(curves[1])):
            text, verdict = contrast(curves[0][rate], curves[1][rate])
            table.append({"covariance": covariance, "effective rate": rate})
            table[-1] |= {"no momentum": spread(curves[1][rate], 4), "difference": text}
            table[-1] |= {"with momentum": verdict}
    return table


def _scales(rows: Rows) -> list[Row]:
    return [
        {
            "perturbation scale": row["perturbation scale"],
            "mean dev loss": spread(row["mean dev loss"], 4),
            "test accuracy": spread(row["test accuracy"]),
        }
        for row in rows.where(kind="scale")
    ]


def _motion(rows: Rows) -> list[Row]:
    table = []
    for rate in dict.fromkeys(row["rate"] for row in rows.where(kind="motion")):
        own = rows.where(kind="motion", rate=rate)
        share = "squared cosine with the steepest direction"
        table.append(
            {
                "covariance learning rate": rate,
                "steps": own[0]["steps"],
                "moved, of its length": spread((row["moved"] for row in own), 5),
                f"{share}, before": spread((row[share][0] for row in own), 5),
                "after": spread((row[share][1] for row in own), 5),
                "of a random vector": own[0]["expected of a random one"],
            }
        )
    return table


def peers(rows: Rows) -> str:
    """Cost by size, and quality."""
    parts = ["# Peers"]
    for size in dict.fromkeys(row["size"] for row in rows.where(kind="cost")):
        own = rows.where(kind="cost", size=size)
        parts += [
            f"## Cost of a step: {own[0]['parameters']:,} parameters, {own[0]['tokens']} tokens",
            markdown(
                [
                    {k: row[k] for k in ("method", "times the passes", "temporary / parameters")}
                    | {"ms a step": 1000 * row["seconds"]}
                    for row in own
                ]
            ),
        ]
    quality = [
        {
            "method": row["method"],
            "tuned": row["tuned"],
            "mean dev loss": spread(row["mean dev loss"], 4),
            "test accuracy": spread(row["test accuracy"]),
        }
        for row in rows.where(kind="quality")
    ]
    budget = {row["budget"] for row in rows.where(kind="quality")}
    title = f"## Quality: MiniLM's head on SST-2, {budget} forward passes"
    return "\n\n".join([*parts, title, markdown(quality)])


def main() -> None:
    """Writes and prints all tables of which there are rows."""
    makers: dict[str, Callable[[Rows], str]] = {
        "queries_to_target": queries_to_target, "ablations": ablations, "peers": peers
    }  # fmt: skip
    for name, make in makers.items():
        path = RESULTS / f"{name}.jsonl"
        if path.exists():
            text = make(Rows(path))
            path.with_suffix(".md").write_text(text + "\n")
            print(text, end="\n\n")


if __name__ == "__main__":
    main()
