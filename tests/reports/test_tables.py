"""Tables: as wide as a terminal, and of the kinds that other programs read."""

import csv
import re

import pytest

from loren_jax.cli import main
from loren_jax.reports import Spread, text_table, write_table

ROWS = [
    ("run", "data", "varied", "seeds", "kept", "seconds"),
    ("a_1", "50% & more", {"rate": 0.1, "words": ["<s>", "a|b"]}, "0,1", Spread(0.928, 0.01), "7"),
    ("b#2", "c:\\d ~x^2 {$}", {"rate": 0.3}, "2", Spread(0.4, unit="f1"), "12"),
    ("-", "-", {}, "3", Spread(None), "8"),
]


@pytest.mark.parametrize("width", [20, 40, 100])
def test_no_line_is_wider_than_the_terminal_and_no_number_is_broken(width):
    lines = text_table(ROWS, width).splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for cell in ("0.928 ± 0.010", "0.400 f1", "rate=0.1", "a|b", "50% & more", "0,1"):
        assert cell in text
    tables = text.split("\n\n")
    assert [re.split(r"\s{2,}", table)[0] for table in tables] == ["run"] * len(tables)
    assert (len(tables) > 1) == (width < 100)


def test_without_a_width_there_is_one_line_for_a_row():
    assert len(text_table(ROWS).splitlines()) == len(ROWS)
    assert text_table([("run",), ("a",)], 10) == "run\na"


def test_words_longer_than_a_line_stay_whole():
    rows = [("run", "kept"), ("a-name-of-many-parts", "x" * 30)]
    assert text_table(rows, 16).split() == [
        *("run", "kept", "a-name-", "x" * 30, "of-many-", "parts"),
    ]


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_has_a_column_for_each_number(tmp_path):
    write_table(ROWS, tmp_path / "new" / "table.csv")
    first, second, last = read_csv(tmp_path / "new" / "table.csv")
    names = ["run", "data", "rate", "words", "seeds", "kept", "kept std", "kept unit", "seconds"]
    assert list(first) == names
    assert (first["rate"], first["words"], first["seeds"]) == ("0.1", "['<s>', 'a|b']", "0,1")
    assert (float(first["kept"]), float(first["kept std"])) == (0.928, 0.01)
    assert (second["kept"], second["kept std"], second["kept unit"]) == ("0.4", "", "f1")
    assert set(last.values()) == {"", "3", "8"}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["table.csv"]


def test_markdown_has_as_many_cells_in_each_row(tmp_path):
    write_table(ROWS, tmp_path / "table.md")
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {len(ROWS[0]) + 1}
    assert lines[1] == "| --- | --- | --- | ---: | ---: | ---: |"
    assert r"| a\_1 | 50% & more | rate=0.1, words=\['\<s\>', 'a\|b'\] |" in lines[2]


def test_latex_escapes_and_has_as_many_cells_in_each_row(tmp_path):
    write_table(ROWS, tmp_path / "table.tex")
    text = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert text.startswith("\\begin{tabular}{lllrrr}\n\\hline\nrun & data & varied & seeds &")
    assert text.endswith("\\hline\n\\end{tabular}\n")
    rows = [line for line in text.splitlines() if line.endswith(r" \\")]
    assert len(rows) == len(ROWS)
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(ROWS[0]) - 1}
    assert rows[1] == (
        r"a\_1 & 50\% \& more & rate=0.1, words={[}'\textless{}s\textgreater{}', "
        r"'a\textbar{}b'{]} & 0,1 & 0.928 $\pm$ 0.010 & 7 \\"
    )
    assert r"b\#2 & c:\textbackslash{}d \textasciitilde{}x\textasciicircum{}2 \{\$\}" in rows[2]
    # Nothing is left that TeX would take for its own.
    left = re.sub(r"\\[&%$#_{}]|\\text\w+\{\}|\$\\pm\$|\{\[\}|\{\]\}", "", " ".join(rows))
    assert not re.search(r"[%$#_{}~^]|\\(?!\\)(?<!\\\\)", left.replace(r" \\", ""))


def test_the_ending_says_the_kind(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"table: .*x\.xls ends in none of \.csv, \.md, \.tex"):
        write_table(ROWS, tmp_path / "x.xls")
    assert main(["compare", "nowhere", "--table", "x.txt"]) == 2
    assert "table: x.txt ends in none of .csv, .md, .tex" in capsys.readouterr().err


def test_optimizers_fit_a_narrow_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["optimizers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("zo_muon ") for line in lines) == 3
