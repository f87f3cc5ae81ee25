"""Tables of `peers.py`."""

from benchmarks.evidence.rows import Rows
from benchmarks.evidence.tables import markdown, spread


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
    budget = ", ".join(str(b) for b in {row["budget"] for row in rows.where(kind="quality")})
    title = f"## Quality: MiniLM's head on SST-2, {budget} forward passes"
    return "\n\n".join([*parts, title, markdown(quality)])
