"""Makes the tables and pictures of the evidence from its rows, and prints the tables.

    python -m benchmarks tables

reads the rows of `queries_to_target`, `ablations`, `defaults`, `peers`, `low_bit_learning` and of
runs without a learning rate in `results/`, writes `.md` and `.png` beside them, the tables that
`docs/evidence.md` shows of them, and README's picture.
"""

import json

from benchmarks.catalogue import listed
from benchmarks.evidence.ablation_tables import ablations
from benchmarks.evidence.defaults_tables import defaults
from benchmarks.evidence.low_bit_learning import table as low_bit
from benchmarks.evidence.page_tables import filled
from benchmarks.evidence.peer_tables import peers
from benchmarks.evidence.pictures import draw_peers
from benchmarks.evidence.queries_tables import by_task, queries_to_target
from benchmarks.evidence.rows import Rows
from benchmarks.record import RESULTS
from benchmarks.research.no_rate_tables import tables as no_rate

PICTURED = "large"
"""Of the sizes of `peers.py`, the one in README's picture."""


def main() -> None:
    """Writes and prints all tables of which there are rows."""
    picture = RESULTS / "queries_to_target.png"
    makers = {
        "queries_to_target": lambda rows: queries_to_target(rows, picture),
        "ablations": ablations,
        "defaults": defaults,
        "peers": peers,
        "low_bit_learning": low_bit,
    }
    for name, make in makers.items():
        path = RESULTS / f"{name}.jsonl"
        if path.exists():
            text = make(Rows(path))
            path.with_suffix(".md").write_text(text + "\n")
            print(text, end="\n\n")
    rows, docs = Rows(RESULTS / "queries_to_target.jsonl"), RESULTS.parents[1] / "docs"
    untuned, sentences = (
        Rows(RESULTS / f"research_{name}.jsonl") for name in ("untuned", "no_rate")
    )
    confirm = json.loads((RESULTS / "research_confirm.json").read_text())["rows"]
    (RESULTS / "no_rate.md").write_text(no_rate(untuned, sentences, confirm, rows) + "\n")
    page = docs / "evidence.md"
    page.write_text(filled(page.read_text(), rows))
    costs = Rows(RESULTS / "peers.jsonl").where(kind="cost", size=PICTURED)
    index = RESULTS.parent / "README.md"
    index.write_text(catalogued(index.read_text()))
    draw_peers(costs, by_task(rows)["sst2, head"], docs / "pictures" / "peers.svg")


def catalogued(text: str) -> str:
    """The index with its table as the catalogue has it."""
    first, last = "<!-- list: made by python -m benchmarks tables -->", "<!-- end of list -->"
    before, _, rest = text.partition(first)
    return f"{before}{first}\n\n{listed()}\n\n{last}{rest.partition(last)[2]}"


if __name__ == "__main__":
    main()
