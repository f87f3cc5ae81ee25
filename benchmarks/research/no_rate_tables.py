"""Tables of runs without a learning rate: beside tuned rates, and beside tuned MeZO's passes.

Of the rows of `untuned`, `no_rate` and `confirm`, beside those of `queries_to_target`; nothing here
runs a model.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.evidence.rows import Rows
from benchmarks.evidence.tables import Row, error, markdown, passes_to, spread

TASKS = {
    ("head", "sst2"): "sst2, head",
    ("head", "cola"): "cola, head",
    ("language", "sst2"): "sst2 sentences, language model",
    ("prompted", "sst2"): "sst2, prompted decoder",
}
TUNED = {
    "loren": "loren, no momentum",
    "mezo": "mezo",
    "zo_muon": "zo_muon",
    "inputs": "loren, along the inputs",
}
"""Names of the methods in `queries_to_target`."""
SEEN = ("sst2, head", "cola, head", *list(TASKS.values())[2:], "films", "products", "tweets")
"""What was looked at while the rule was built."""
ORDER = ("recipe", "loren", "mezo", "zo_muon", "inputs", "first 16")
SHARES = (0.6, 0.8, 0.95)
"""Of the whole fall of tuned MeZO."""
TAIL = "sst2, two layers and a new head"
START, TAIL_TARGET = math.log(2), 0.66
"""Of two layers: what a new head's loss is before a step, to 0.01, and what is to be reached."""
NEAR = 0.01
"""Nats that count as no difference, as does one standard error of the tuned rate's loss."""


def tables(untuned: Rows, no_rate: Rows, confirm: Sequence[Row], queries: Rows) -> str:
    """Both, in Markdown.

    Args:
      untuned: rows of `untuned`.
      no_rate: of `no_rate`.
      confirm: of `confirm`.
      queries: of `queries_to_target`.
    """
    runs = _latest(untuned)
    lines = [*_settings(runs, queries), *_sentences(no_rate), *_tail(confirm)]
    losses = markdown([_line(**line) for line in lines])
    passes, tail = (markdown(rows) for rows in (_shares(runs, queries), _tail_shares(confirm)))
    return (
        "# Without a learning rate\n\nMean dev loss over a run, mean ± standard error over its "
        "seeds, beside that of the best constant rate: of other seeds for the first settings "
        "(`queries_to_target`), of the same ones for sentences (`no_rate`), of one seed for two "
        "layers (`confirm`). Differences are paired. It is near if it is at most one standard "
        f"error of the tuned rate's, or {NEAR}, above; passes are those of the search, as a share "
        f"of the run's.\n\n{losses}\n\n## Passes, as a share of tuned MeZO's\n\nTo shares of the "
        "whole fall of MeZO at its tuned rate, seed by seed, the search and the look at the inputs "
        "counted; in brackets how many seeds got there where not all did.\n\n"
        f"{passes}\n\nOf {TAIL} to a dev loss of {TAIL_TARGET}, on the seeds where MeZO gets there:"
        f"\n\n{tail}"
    )


def _latest(untuned: Rows) -> dict[tuple[str, str, str], Row]:
    """The newest row at a walk that was found, of each setting, data set and method."""
    found = [row for row in untuned if row["walk"] == "endured"]
    return {(row["setting"], row["data"], row["method"]): row for row in found}


def _by_seed(queries: Rows, task: str, method: str) -> dict[int, Row]:
    return {r["seed"]: r for r in queries.where(task=task, method=method, kind="run")}


def _mean(curve: Sequence[float]) -> float:
    """As `benchmarks.evidence.runs.Run.mean_loss` has it."""
    return statistics.fmean(min(loss, 2 * curve[0]) for loss in curve[1:])


def _settings(runs: dict[tuple[str, str, str], Row], queries: Rows) -> list[dict[str, Any]]:
    lines = []
    for (setting, data), task in TASKS.items():
        for method, name in TUNED.items():
            row, tuned = runs.get((setting, data, method)), _by_seed(queries, task, name)
            if row is None or not set(row["seeds"]) <= tuned.keys():
                continue
            starts = [curve[0] for curve in row["curves"]]
            lines.append(
                {
                    "setting": task,
                    "method": method,
                    "tuned": [_mean(tuned[seed]["dev loss"]) for seed in row["seeds"]],
                    "none": row["mean"],
                    "above": sum(b > a for a, b in zip(starts, row["last"], strict=True)),
                    "passes": row["extra passes"] / row["passes"][-1],
                }
            )
    return lines


def _sentences(no_rate: Rows) -> list[dict[str, Any]]:
    lines = []
    for data in dict.fromkeys(row["data"] for row in no_rate):
        for method in ORDER:
            rates = no_rate.where(data=data, method=method, kind="constant")
            none = no_rate.where(data=data, method=method, kind="none")
            if not rates or not none:
                continue
            best, last = min(rates, key=lambda row: statistics.fmean(row["mean"])), none[-1]
            lines.append(
                {
                    "setting": data,
                    "method": method,
                    "tuned": best["mean"],
                    "none": last["mean"],
                    "above": sum(b > a for a, b in zip(last["start"], last["last"], strict=True)),
                    "passes": last["extra passes"] / 6400,
                }
            )
    return lines


def _tail(confirm: Sequence[Row]) -> list[dict[str, Any]]:
    lines = []
    for method in ("loren", "mezo", "inputs"):
        tuned, none = _tail_runs(confirm, method)
        if set(none) <= set(tuned) and none:
            own = {seed: row["dev loss"] for seed, row in none.items()}
            lines.append(
                {
                    "setting": TAIL,
                    "method": method,
                    "tuned": [statistics.fmean(tuned[seed]["dev loss"]) for seed in own],
                    "none": [statistics.fmean(curve) for curve in own.values()],
                    "above": sum(curve[-1] > START for curve in own.values()),
                    "passes": 81 / 1920,
                }
            )
    return lines


def _tail_runs(confirm: Sequence[Row], method: str) -> tuple[dict[int, Row], dict[int, Row]]:
    """By seed, at the tuned rate and without one."""
    passes = 2 if method == "mezo" else 6
    rows = [
        row
        for row in confirm
        if (row["trained"], row["budget"], row["method"], row["passes"])
        == ("tail", 1920, method, passes)
        and row["seed"] < 100
    ]
    answers = "corrected" if method == "inputs" else "alone"  # isotropic they are the same
    none = {r["seed"]: r for r in rows if r["rate"] is None and r.get("answers") == answers}
    # Other rates than the tuned one were tried on single seeds.
    rates = [row["rate"] for row in rows if row["rate"] is not None]
    chosen = statistics.mode(rates) if rates else math.nan
    return {row["seed"]: row for row in rows if row["rate"] == chosen}, none


def _line(
    setting: str,
    method: str,
    tuned: Sequence[float],
    none: Sequence[float],
    above: int,
    passes: float,
) -> Row:
    less = [a - b for a, b in zip(none, tuned, strict=True)]
    near = statistics.fmean(less) <= max(NEAR, error(tuned))
    return {
        "setting": setting,
        "looked at": "yes" if setting in SEEN else "no",
        "method": method,
        "seeds": len(none),
        "tuned": spread(tuned),
        "without a rate": f"{statistics.fmean(none):.3f}",
        "difference": f"{statistics.fmean(less):+.3f} ± {error(less):.3f}",
        "near": "yes" if near else "**no**",
        "end above their start": above,
        "search": f"{passes:.1%}",
    }


def _shares(runs: dict[tuple[str, str, str], Row], queries: Rows) -> list[Row]:
    lines = []
    for (setting, data), task in TASKS.items():
        mezo = _by_seed(queries, task, "mezo")
        for method in ORDER:
            row = runs.get((setting, data, method))
            if row is None or not set(row["seeds"]) <= mezo.keys():
                continue
            line: Row = {"setting": task, "method": method}
            for share in SHARES:
                found = [
                    _share(curve, row, mezo[seed], share)
                    for seed, curve in zip(row["seeds"], row["curves"], strict=True)
                ]
                line[f"{share:.0%} of its fall"] = _of(found)
            lines.append(line)
    return lines


def _share(curve: Sequence[float], row: Row, mezo: Row, share: float) -> float | None:
    own, losses = {"passes": row["passes"], "dev loss": curve}, mezo["dev loss"]
    target = losses[0] - share * (losses[0] - min(losses))
    reached = lambda loss: loss <= target
    ours, its = (passes_to(r, "dev loss", reached) for r in (own, mezo))
    return None if ours is None or not its else (ours + row["extra passes"]) / its


def _tail_shares(confirm: Sequence[Row]) -> list[Row]:
    mezo = _tail_runs(confirm, "mezo")[0]
    lines = []
    for method in ("loren", "mezo", "inputs"):
        none = _tail_runs(confirm, method)[1]
        found = [_tail_share(row, mezo[seed]) for seed, row in none.items() if seed in mezo]
        lines.append({"method": method, "share": _of([x for x in found if x != math.inf])})
    return lines


def _tail_share(row: Row, mezo: Row) -> float | None:
    """To 0.66; infinite where MeZO does not get there."""
    as_passes = lambda r: {"passes": r["at"], "dev loss": r["dev loss"]}
    reached = lambda loss: loss <= TAIL_TARGET
    ours, its = (passes_to(as_passes(r), "dev loss", reached) for r in (row, mezo))
    if its is None:
        return math.inf
    return None if ours is None else ours / its


def _of(found: Sequence[float | None]) -> str:
    reached = [x for x in found if x is not None]
    if not reached:
        return "never"
    few = "" if len(reached) == len(found) else f" ({len(reached)} of {len(found)})"
    return spread(reached, 2) + few
