"""Tables of `peers.py`."""

from collections.abc import Sequence

from benchmarks.evidence.queries_tables import reaching
from benchmarks.evidence.rows import Rows
from benchmarks.evidence.tables import Row, fall_target, markdown, passes_to, spread

CEILING, SHARE = "Adam, gradients", 0.7
"""The target of the passes: a share of what gradients reach, the same as on the evidence page."""

HEAD = """\
A step is six forward passes: one of LOREN, three of MeZO, a generation of six. With gradients it is
one gradient. LoRA trains adapters of rank 8 on every matrix of a layer by Adam. With checkpointing
a layer keeps what goes into it alone, and the rest is computed again. Official loops are those of
the authors' repositories, LOREN's with its momentum, in torch and in units of the same passes in
torch; its memory is not measured. Times are medians over turns. Memory is in units
of the parameters: temporary is what the compiler plans beside parameters and state, which are
donated; state is what is kept from step to step beside the parameters."""
MEMORY = ("temporary / parameters", "state / parameters")


def peers(rows: Rows) -> str:
    """Cost by size, and quality."""
    parts = ["# Peers", HEAD]
    for size in dict.fromkeys(row["size"] for row in rows.where(kind="cost")):
        own = rows.where(kind="cost", size=size)
        parts += [
            f"## Cost of a step: {own[0]['parameters']:,} parameters, {own[0]['tokens']} tokens",
            markdown([_cost(row) for row in own]),
        ]
    own = rows.where(kind="quality")
    budget = ", ".join(str(b) for b in {row["budget"] for row in own})
    title = f"## Quality: MiniLM's head on SST-2, {budget} forward passes"
    return "\n\n".join([*parts, title, markdown(quality(own))])


def quality(rows: Sequence[Row]) -> list[Row]:
    """A line a method, with the forward passes to the target.

    Args:
      rows: the methods' rows, that of gradients among them.

    Returns:
      The lines.
    """
    ceiling = next((_runs(row) for row in rows if row["method"] == CEILING), [])
    target = lambda run: fall_target(run, ceiling[run["place"]], SHARE)
    passes = lambda run: passes_to(run, "dev loss", lambda loss: loss <= target(run))
    return [
        {
            "method": row["method"],
            "tuned": row["tuned"],
            "mean dev loss": spread(row["mean dev loss"], 4),
            "test accuracy": spread(row["test accuracy"]),
            f"passes to {SHARE:.0%} of Adam's fall": reaching(passes, _runs(row))
            if ceiling
            else None,
        }
        for row in rows
    ]


def _runs(row: Row) -> list[Row]:
    """A run a seed, as `queries_to_target.py` has them."""
    curves = row.get("dev loss", [])
    return [
        {"place": i, "passes": row["passes"], "dev loss": curve} for i, curve in enumerate(curves)
    ]


def _cost(row: Row) -> Row:
    line = {k: row[k] for k in ("method", "times the passes")}
    line |= {k: None if row[k] is None else round(row[k], 4) for k in MEMORY}
    return line | {"ms a step": 1000 * row["seconds"]}
