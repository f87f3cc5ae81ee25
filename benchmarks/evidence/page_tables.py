"""The evidence that `docs/evidence.md` shows: tables between marks, written from the rows.

A table named NAME stands between the lines `<!-- NAME: made by benchmarks/tables.py -->` and
`<!-- end of NAME -->`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from benchmarks.evidence.queries_tables import by_task, table_of
from benchmarks.evidence.rows import Rows
from benchmarks.evidence.tables import Row, markdown


class Excerpt(NamedTuple):
    """Some lines and columns of a table of `queries_to_target.py`.

    Attributes:
      task: whose table.
      methods: the lines, `method -> how the page names it`.
      columns: starts of the columns' names.
    """

    task: str
    methods: Mapping[str, str]
    columns: Sequence[str]


CEILING = {"adamw, gradients": "AdamW, gradients (one counts as three passes)"}
ALONG = {"loren, along the inputs": "`input_subspace`"}
EXCERPTS = {
    "head": Excerpt(
        "sst2, head",
        {
            **CEILING,
            **{name: f"`{name}`" for name in ("loren", "zo_muon", "hizoo", "mezo")},
            **{name: f"`{name}`" for name in ("mezo_adam", "lozo")},
        },
        ("test accuracy", "passes to 70%"),
    ),
    "race": Excerpt(
        "sst2, head, rates for the target",
        {
            **CEILING,
            **ALONG,
            "loren, no momentum": "`loren`, isotropic",
            "mezo, one pair": "`mezo`, one pair",
            "mezo": "`mezo`, three pairs",
        },
        ("passes to 60%", "ratio to MeZO, 60%", "passes to accuracy 0.70"),
    ),
    "prompted": Excerpt(
        "sst2, prompted decoder",
        {
            **CEILING,
            **{name: f"`{name}`" for name in ("tezo", "zo_muon", "mezo_adam", "mezo", "lozo")},
            "loren, no momentum": "`loren`, isotropic",
            **ALONG,
        },
        ("test accuracy", "lowest dev loss", "mean dev loss less", "passes to 80%"),
    ),
}


def filled(page: str, rows: Rows) -> str:
    """The page with its tables as the rows have them.

    Args:
      page: its text.
      rows: of `queries_to_target.py`.

    Returns:
      The text; what is outside of the marks is as it was.

    Raises:
      ValueError: a mark is missing.
    """
    runs = by_task(rows)
    for name, excerpt in EXCERPTS.items():
        first, last = f"<!-- {name}: made by benchmarks/tables.py -->", f"<!-- end of {name} -->"
        if first not in page or last not in page:
            raise ValueError(f"docs/evidence.md needs the lines {first!r} and {last!r}")
        whole = f"{first}\n\n{markdown(_lines(table_of(runs[excerpt.task]), excerpt))}\n\n{last}"
        between = re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)
        page = between.sub(lambda _, whole=whole: whole, page)
    return page


def _lines(table: Sequence[Row], excerpt: Excerpt) -> list[Row]:
    by_name = {row["method"]: row for row in table}
    return [
        {"method": shown}
        | {k: v for k, v in by_name[name].items() if k.startswith(tuple(excerpt.columns))}
        for name, shown in excerpt.methods.items()
    ]
