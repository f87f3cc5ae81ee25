"""Tables of `ablations.py`: questions and their answers, cells, and the other parts."""

from collections.abc import Sequence
from itertools import product
from statistics import fmean

from benchmarks.evidence.rows import Rows
from benchmarks.evidence.tables import Row, contrast, finite, markdown, spread

CELL = {
    "covariance": "isotropic", "momentum": 0.0, "scheme": "leave-one-out",
    "directions": "Gaussian", "passes": 6, "rate": 1e-3,
}  # fmt: skip


def ablations(rows: Rows) -> str:
    """The questions, the cells, and the two other parts."""
    cells, fine = rows.where(kind="cell"), rows.where(kind="fine")
    head = (
        "MiniLM's head on SST-2; the mean dev loss is over all evaluations of a run, mean ± "
        "standard error over the reported seeds. `rate` is the covariance's learning rate. "
        "Questions compare two cells seed by seed, each at its own best effective rate; a verdict "
        "is a paired t-test at 5 %."
    )
    return "\n\n".join(
        [
            "# Ablations", head,
            "One factor at a time over the whole grid of 162 cells: the mean over all pairs of "
            "cells that differ in it alone, seed by seed, and the pair that differs most:",
            markdown(_main_effects(cells)),
            "Single questions:", markdown(_questions(cells)),
            "Momentum 0.9 less no momentum, at each effective rate alike:",
            markdown(_momentum_by_rate(cells)),
            markdown(_listed(cells)),
            "Schemes again, with rates in steps of 1.8 and ten seeds:", markdown(_questions(fine)),
            markdown(_listed(fine)),
            "Perturbation scale, LOREN:", markdown(_scales(rows)),
            "Kinds of directions on a small language model, all parameters, at equal rates:",
            markdown(_ranks(rows)),
            "How far the kernel's `a` moves, learned:", markdown(_motion(rows)),
            "Spread of a step's six losses over the perturbation scale, no momentum; median of "
            "the first and of the last tenth of the steps, and the largest of the ten:",
            markdown(_watch(rows)),
        ]
    )  # fmt: skip


def _listed(cells: Sequence[Row]) -> list[Row]:
    return [
        {
            **{key: row[key] for key in CELL},
            "effective rate": row["effective rate"],
            "mean dev loss": spread(row["mean dev loss"], 4),
            "last dev loss": spread(row["last dev loss"], 4),
            "test accuracy": spread(row["test accuracy"]),
        }
        for row in cells
    ]


LEVELS = {
    "covariance": ("isotropic", ("frozen", "learned")),
    "momentum": (0.0, (0.9,)),
    "scheme": ("leave-one-out", ("two-sided pairs", "one-sided with centre")),
    "directions": ("Gaussian", ("rank 1", "rank 8")),
    "passes": (6, (2, 16)),
}
"""Factors of the grid: the level that is compared with, and the others."""


def _main_effects(cells: Sequence[Row]) -> list[Row]:
    grid = [row for row in cells if row["rate"] == CELL["rate"]]
    table = []
    for factor, (base, others) in LEVELS.items():
        for other in others:
            pairs = []
            for row in (row for row in grid if row[factor] == other):
                twin = _cell(grid, {key: row[key] for key in LEVELS} | {factor: base})
                if twin is not None:
                    first, second = row["mean dev loss"], twin["mean dev loss"]
                    pairs.append([a - b for a, b in zip(first, second, strict=True)])
            if not pairs:
                continue
            by_seed = [fmean(values) for values in zip(*pairs, strict=True)]
            text, verdict = contrast(by_seed, [0.0] * len(by_seed))
            table.append(
                {
                    "first": _named({factor: other}, [factor]),
                    "second": _named({factor: base}, [factor]),
                    "pairs": len(pairs),
                    "first less second": text,
                    "the first is": verdict,
                    "largest": f"{max(map(fmean, pairs), key=abs):+.4f}",
                }
            )
    return table


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
                    "first": _named(first, changed),
                    "second": _named(second, changed),
                    "where": _where(second, changed),
                    "first less second": text,
                    "the first is": verdict,
                }
            )
    return found


def _where(cell: Row, changed: Sequence[str]) -> str:
    """What of a cell departs from the plain one, and the passes a step, which always matter."""
    kept = [key for key in CELL if key not in changed and cell[key] != CELL[key]]
    if "passes" not in (*kept, *changed):
        kept.append("passes")
    return _named(cell, kept)


def _named(cell: Row, keys: Sequence[str]) -> str:
    """These fields in words; numbers with their names."""
    values = {key: cell[key] for key in keys}
    words = [str(v) if isinstance(v, str) else f"{key} {v:g}" for key, v in values.items()]
    return ", ".join(words) or "the plain cell"


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


def _ranks(rows: Rows) -> list[Row]:
    table, name = [], "mean dev loss"
    for rate in dict.fromkeys(row["effective rate"] for row in rows.where(kind="ranks")):
        plain = rows.where(kind="ranks", **{"effective rate": rate}, directions="Gaussian")
        for kind in ("Gaussian", "rank 1", "rank 8"):
            own = rows.where(kind="ranks", **{"effective rate": rate}, directions=kind)
            row: Row = {"effective rate": rate, "directions": kind}
            row |= {name: spread((one[name] for one in own), 4)}
            row["less Gaussian"] = row["it is"] = None
            if kind != "Gaussian" and len(own) == len(plain) > 1:
                both = ([one[name] for one in of] for of in (own, plain))
                row["less Gaussian"], row["it is"] = contrast(*both)
            table.append(row)
    return table


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


def _watch(rows: Rows) -> list[Row]:
    table, name = [], "spread / scale, medians of tenths"
    for rate in dict.fromkeys(row["rate"] for row in rows.where(kind="watch")):
        own = rows.where(kind="watch", rate=rate)
        table.append(
            {
                "learning rate": rate,
                "first": spread((row[name][0] for row in own), 2),
                "last": spread((row[name][-1] for row in own), 2),
                "largest": spread((max(finite(row[name])) for row in own), 2),
                "last dev loss": spread(row["last dev loss"] for row in own),
            }
        )
    return table
