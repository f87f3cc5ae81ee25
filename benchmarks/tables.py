"""Makes the tables and pictures of the evidence from its rows, and prints the tables.

    python benchmarks/tables.py

reads `results/{queries_to_target,ablations,defaults,peers}.jsonl` and writes `.md` and `.png`
beside them, and the tables that the README shows of them.
"""

from evidence.ablation_tables import ablations
from evidence.defaults_tables import defaults
from evidence.peer_tables import peers
from evidence.queries_tables import queries_to_target
from evidence.readme_tables import filled
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
    readme = RESULTS.parents[1] / "README.md"
    readme.write_text(filled(readme.read_text(), Rows(RESULTS / "queries_to_target.jsonl")))


if __name__ == "__main__":
    main()
