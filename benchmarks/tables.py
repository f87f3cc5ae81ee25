"""Makes the tables and pictures of the evidence from its rows, and prints the tables.

    python benchmarks/tables.py

reads `results/{queries_to_target,ablations,defaults,peers}.jsonl` and writes `.md` and `.png`
beside them, the tables that `docs/evidence.md` shows of them, and README's picture.
"""

from evidence.ablation_tables import ablations
from evidence.defaults_tables import defaults
from evidence.page_tables import filled
from evidence.peer_tables import peers
from evidence.pictures import draw_peers
from evidence.queries_tables import by_task, queries_to_target
from evidence.rows import Rows
from record import RESULTS


def main() -> None:
    """Writes and prints all tables of which there are rows."""
    picture = RESULTS / "queries_to_target.png"
    makers = {
        "queries_to_target": lambda rows: queries_to_target(rows, picture),
        "ablations": ablations,
        "defaults": defaults,
        "peers": peers,
    }
    for name, make in makers.items():
        path = RESULTS / f"{name}.jsonl"
        if path.exists():
            text = make(Rows(path))
            path.with_suffix(".md").write_text(text + "\n")
            print(text, end="\n\n")
    rows, docs = Rows(RESULTS / "queries_to_target.jsonl"), RESULTS.parents[1] / "docs"
    page = docs / "evidence.md"
    page.write_text(filled(page.read_text(), rows))
    costs = Rows(RESULTS / "peers.jsonl").where(kind="cost")
    draw_peers(costs, by_task(rows)["sst2, head"], docs / "pictures" / "peers.svg")


if __name__ == "__main__":
    main()
