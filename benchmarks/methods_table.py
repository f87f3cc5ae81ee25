"""Writes the table of methods into README, docs and the docstring of `loren_jax.optimizers`.

    python -m benchmarks methods_table

The words are those of `loren_jax.optimizers.METHODS`, which each method's own file has.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from loren_jax.optimizers import METHODS
from loren_jax.optimizers.entry import Entry

ROOT = Path(__file__).resolve().parents[1]


def for_readme(entries: Sequence[Entry]) -> str:
    """The table in Markdown."""
    head = ["optimiser", "directions", "scheme", "after", "forward passes a step"]
    head += ["state beyond N parameters, of which a matrix has m x n", "reference"]
    rows = [head, ["---"] * len(head)]
    for entry in entries:
        cells = [f"`{entry.name}`", entry.directions, f"`{entry.scheme.__name__}`", entry.after]
        rows.append([*cells, entry.passes, entry.state, _linked(entry.reference)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def for_docs(entries: Sequence[Entry]) -> str:
    """The same table for the site, where the research log is a page."""
    return for_readme(entries).replace("(benchmarks/RESEARCH.md)", "(research.md)")


def for_docstring(entries: Sequence[Entry]) -> str:
    """The table in reStructuredText, without what is in the commands' table."""
    rows = [("method", "directions", "scheme", "after")]
    rows += [(f"`{e.name}`", e.directions, f"`{e.scheme.__name__}`", e.after) for e in entries]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


PLACES = {
    "README.md": (r"(?<=\n\n)\| optimiser \|.*?\n(?=\n)", for_readme),
    "docs/methods.md": (r"(?<=\n\n)\| optimiser \|.*?\n(?=\n)", for_docs),
    "loren_jax/optimizers/__init__.py": (r"(?<=\n\n)=+ .*?\n(?=\n)", for_docstring),
}
"""By file: where the table stands, and what makes it."""


def written(place: str, text: str) -> str:
    """The text of a file with its table as the methods have it.

    Args:
      place: a key of `PLACES`.
      text: of the file.

    Returns:
      The text.

    Raises:
      ValueError: the table is not found.
    """
    pattern, made = PLACES[place]
    table = made(list(METHODS.values())) + "\n"
    text, found = re.subn(pattern, lambda _: table, text, count=1, flags=re.DOTALL)
    if not found:
        raise ValueError(f"{place} has no table of methods between two empty lines")
    return text


def _linked(reference: str) -> str:
    number = reference.removeprefix("arXiv ")
    where = reference if number == reference else f"https://arxiv.org/abs/{number}"
    return f"[{reference}]({where})"


def main() -> None:
    """Writes all of them."""
    for place in PLACES:
        path = ROOT / place
        path.write_text(written(place, path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
