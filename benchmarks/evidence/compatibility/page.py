"""The page of what runs, made from the rows of all files."""

from collections.abc import Sequence
from typing import Any

from loren_jax.runs.environment import environment


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: the sums, one table, the advice, and what was left out."""
    absent, rows = [r for r in rows if "absent" in r], [r for r in rows if "absent" not in r]
    wrong = [row for row in rows if row["difference"] is not None and not row["equal"]]
    failed = [row for row in rows if row["failed"]]
    dense = [row for row in rows if row["dense"]]
    versions = environment()["versions"]
    told = ", ".join(f"{name} {versions[name]}" for name in ("python", "jax", "optax", "numpy"))
    lines = [
        "# Other people's code", "",
        f"Made by `python -m benchmarks compatibility` ({told}).", "",
        "One step of `loren` (rank 1) and of `mezo` (full rank), evaluated with perturbations kept "
        "apart and on perturbed copies, which axes are fan-in read off the loss. *Largest "
        "difference* is between the two, in units of the spread of the losses; up to 0.002 of it "
        "and 4e-6 of the loss is rounding. *Built* are the leaves whose perturbed sum is built in "
        "each query under rank-1 directions, of how many, and by which operation.", "",
        f"{len(rows)} cases: {len(rows) - len(failed)} run, in {len(wrong)} the losses differ, "
        f"{len(dense)} build a leaf.", "",
        "| library | case | runs | largest difference | built | remark |",
        "|---|---|---|---|---|---|",
        *map(_line, rows), "",
    ]  # fmt: skip
    if advice := _advice(rows):
        lines += ["## What to do about each", "", *advice, ""]
    if absent:
        lines += ["## Left out", "", *(f"* {r['file']}: {r['absent']}" for r in absent), ""]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    runs = "; ".join(f"**{name}**: {why}" for name, why in row["failed"].items()) or "yes"
    difference = "-" if row["difference"] is None else f"{row['difference']:.0e}"
    if row["difference"] is not None and not row["equal"]:
        difference = f"**{difference}**"
    paths = {path for path, _, _ in row["dense"]}
    by = ", ".join(sorted({primitive for _, primitive, _ in row["dense"]}))
    built = f"{len(paths)} of {row['leaves']}: {by}" if paths else "none"
    cells = (row["library"], row["case"], runs, difference, built, row["remark"])
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _advice(rows: Sequence[dict[str, Any]]) -> list[str]:
    """By operation, what `diagnostics.dense_leaves` advises."""
    told = {primitive: advice for row in rows for _, primitive, advice in row["dense"]}
    return [f"* `{primitive}`: {advice}" for primitive, advice in sorted(told.items())]
