"""Tables of cells: as text that fits a terminal, and as CSV, Markdown and LaTeX."""

import csv
import io
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loren_jax.whole_file import whole_file

Row = Sequence[Any]
"""Cells: words, a `Spread`, or values by name; the first row of a table has the titles."""

_GAP = "  "
_NO_BREAK = "\N{NO-BREAK SPACE}"


class Spread(NamedTuple):
    """A mean with its standard deviation, and what it is of.

    Attributes:
      mean: The mean; None where nothing is known.
      std: The sample standard deviation; None for a single value.
      unit: What it is of, where its column does not say so.
      digits: Digits behind the point for people; files for programs have all.
    """

    mean: float | None
    std: float | None = None
    unit: str = ""
    digits: int = 3

    def __str__(self) -> str:
        """For people.

        >>> str(Spread(0.75, 0.0125)), str(Spread(0.4, unit="f1")), str(Spread(None))
        ('0.750 ± 0.013', '0.400 f1', '-')
        """
        if self.mean is None:
            return "-"
        spread = "" if self.std is None else f" ± {self.std:.{self.digits}f}"
        return f"{self.mean:.{self.digits}f}{spread}" + (f" {self.unit}" if self.unit else "")


def text_table(rows: Sequence[Row], width: int | None = None) -> str:
    """A table as text, a line for each row.

    Args:
      rows: Titles and cells.
      width: Letters of a line; what does not fit beside the first column stands below, in
        further tables with the same first column. None for lines of any length.

    Returns:
      Lines without a newline at the end.

    >>> rows = [("run", "steps", "kept"), ("a", "40", Spread(0.5)), ("b", "8", Spread(0.75))]
    >>> print(text_table(rows, width=12))
    run  steps
    a    40
    b    8
    <BLANKLINE>
    run  kept
    a    0.500
    b    0.750
    """
    columns = list(zip(*([_words(cell) for cell in row] for row in rows), strict=True))
    if width is None:
        return _lines([_column(column, None) for column in columns])
    first = _column(columns[0], width // 2)
    room = width - _width(first) - len(_GAP)
    blocks: list[list[list[list[str]]]] = []
    used = room
    for column in (_column(column, room) for column in columns[1:]):
        used += len(_GAP) + _width(column)
        if used > room or not blocks:
            blocks.append([first])
            used = _width(column)
        blocks[-1].append(column)
    return "\n\n".join(map(_lines, blocks or [[first]]))


def write_table(rows: Sequence[Row], path: str | Path) -> None:
    """Writes a table, all or nothing, of the kind that the ending says.

    A CSV file is for programs: mean and standard deviation are columns of their own, with all
    digits, and so is each of the values by name. LaTeX needs no package.

    Args:
      rows: Titles and cells.
      path: The .csv, .md or .tex file.

    Raises:
      ValueError: If the ending says no such kind.
    """
    path = Path(path)
    text = _kind(path)(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, newline="") as file:
        file.write(text)


def require_kind(path: Path) -> None:
    """Raises a ValueError unless `write_table` knows the ending."""
    _kind(path)


def _kind(path: Path) -> Callable[[Sequence[Row]], str]:
    if path.suffix not in _KINDS:
        raise ValueError(f"table: {path} ends in none of {', '.join(_KINDS)}, which say the kind")
    return _KINDS[path.suffix]


def _words(cell: Any) -> str:
    if isinstance(cell, Mapping):
        return ", ".join(f"{name}={value}" for name, value in cell.items()) or "-"
    return str(cell)


def _column(cells: Iterable[str], width: int | None) -> list[list[str]]:
    """Each cell as its lines, none of which breaks a word or a number."""
    if width is None:
        return [[cell] for cell in cells]
    kept = (re.sub(" ± ", f"{_NO_BREAK}±{_NO_BREAK}", cell) for cell in cells)
    wrapped = (textwrap.wrap(cell, max(width, 1), break_long_words=False) for cell in kept)
    return [[line.replace(_NO_BREAK, " ") for line in lines] or [""] for lines in wrapped]


def _width(column: Sequence[Sequence[str]]) -> int:
    return max(len(line) for lines in column for line in lines)


def _lines(columns: Sequence[Sequence[Sequence[str]]]) -> str:
    widths, found = [_width(column) for column in columns], []
    for cells in zip(*columns, strict=True):
        for number in range(max(map(len, cells))):
            parts = [lines[number] if number < len(lines) else "" for lines in cells]
            padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
            found.append(_GAP.join(padded).rstrip())
    return "\n".join(found)


def _csv(rows: Sequence[Row]) -> str:
    file = io.StringIO()
    columns = [_for_programs(column) for column in zip(*rows, strict=True)]
    csv.writer(file, lineterminator="\n").writerows(
        zip(*(part for parts in columns for part in parts), strict=True)
    )
    return file.getvalue()


def _for_programs(column: Sequence[Any]) -> list[list[Any]]:
    """The columns that a column becomes, each with its title; what is not known is empty."""
    title, *cells = column
    if any(isinstance(cell, Mapping) for cell in cells):
        names = dict.fromkeys(name for cell in cells for name in cell)
        return [[name, *(cell.get(name, "") for cell in cells)] for name in names]
    if not any(isinstance(cell, Spread) for cell in cells):
        return [[title, *("" if cell == "-" else cell for cell in cells)]]
    spreads = [cell if isinstance(cell, Spread) else Spread(None, unit=cell) for cell in cells]
    known = lambda value: "" if value is None else value
    parts = [[title, *(known(spread.mean) for spread in spreads)]]
    if any(spread.std is not None for spread in spreads):
        parts.append([f"{title} std", *(known(spread.std) for spread in spreads)])
    if any(spread.unit for spread in spreads):
        parts.append([f"{title} unit", *(spread.unit for spread in spreads)])
    return parts


def _markdown(rows: Sequence[Row]) -> str:
    head, *body = [[_escape_markdown(_words(cell)) for cell in row] for row in rows]
    rule = ["---:" if right else "---" for right in _right(rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *body))


def _escape_markdown(text: str) -> str:
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(text.split()))


def _latex(rows: Sequence[Row]) -> str:
    head, *body = [" & ".join(_escape_latex(_words(c)) for c in row) + r" \\" for row in rows]
    kinds = "".join("r" if right else "l" for right in _right(rows))
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\hline", head, r"\hline", *body, r"\hline"]
    return "\n".join([*lines, r"\end{tabular}", ""])


_LATEX = {
    **{letter: rf"\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$"},
    # A bracket behind a row's end would be read as the space below it.
    **{"[": "{[}", "]": "{]}"},
}


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def _right(rows: Sequence[Row]) -> list[bool]:
    """Which columns are of numbers, which stand at the right."""
    number = lambda cell: isinstance(cell, Spread) or re.fullmatch(r"[\d.,-]+", _words(cell))
    return [all(map(number, cells)) for _, *cells in zip(*rows, strict=True)]


_KINDS: Mapping[str, Callable[[Sequence[Row]], str]] = {
    **{".csv": _csv, ".md": _markdown, ".tex": _latex},
}
