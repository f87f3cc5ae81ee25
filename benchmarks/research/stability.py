"""Steps without a learning rate, each constant a tenth and ten times.

MiniLM's head on sentences, as in `no_rate`: the mean dev loss of a run and its last one, less those
with the constants as they are, paired by seed. `BEGINNING`, `LONGEST` and `CORRECTED` are one at
least, `MOST`, directions and batches two. `CORRECTED` is of steps along the inputs alone.

python -m benchmarks stability
"""

import argparse
import contextlib
import itertools
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.evidence.rows import Rows
from benchmarks.evidence.tasks import head_task
from benchmarks.fetched import snippets
from benchmarks.record import RESULTS, table
from benchmarks.research.no_rate import DATA, METHODS, with_none
from loren_jax import lengths, pacing, walk

FILE = RESULTS / "research_stability.jsonl"
COUNTS = ("SEARCHED_BATCHES", "SOME", "BEGINNING")
CONSTANTS = ("SHARE", "FIRST", "MOST", *COUNTS, "FORGETTING", "LONGEST", "CORRECTED", "TRUST")
FACTORS = (0.1, 10.0)


@contextlib.contextmanager
def changed(constant: str | None, factor: float) -> Iterator[float | None]:
    """With a constant multiplied, wherever it is known by its name; yields what it is."""
    if constant is None:
        yield None
        return
    known = [module for module in (lengths, pacing, walk) if hasattr(module, constant)]
    own = getattr(known[0], constant)
    value = own * factor
    if constant in COUNTS:
        value = max(1 if constant == "BEGINNING" else 2, round(value))
    elif constant in ("LONGEST", "CORRECTED", "MOST"):
        value = max(2.0 if constant == "MOST" else 1.0, value)
    try:
        for module in known:
            setattr(module, constant, value)
        yield value
    finally:
        for module in known:
            setattr(module, constant, own)


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table: differences from the constants as they are."""
    base = {(r["data"], r["method"]): r for r in rows if r["constant"] is None}
    found = []
    for r in rows:
        if r["constant"] is None:
            continue
        other = base[r["data"], r["method"]]
        less = lambda key, r=r, other=other: [
            a - b for a, b in zip(r[key], other[key], strict=True)
        ]
        above = sum(last > start for last, start in zip(r["last"], r["start"], strict=True))
        found.append(
            {"data": r["data"], "method": r["method"], "constant": r["constant"]}
            | {"factor": r["factor"], "value": r["value"]}
            | {"mean": f"{statistics.mean(less('mean')):+.3f}"}
            | {"last": f"{statistics.mean(less('last')):+.3f}", "ends above its start": above}
        )
    return found


def main() -> None:
    """Measures what is not there yet, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=["films", "tweets"])
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=["recipe", "mezo", "inputs"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    rows = Rows(FILE)
    cases = [(None, 1.0), *itertools.product(CONSTANTS, FACTORS)]
    for data in options.data:
        path = str(snippets(DATA[data]))
        tasks = [head_task(path, seed, data_dir=None) for seed in options.seeds]
        for name, (constant, factor) in itertools.product(options.methods, cases):
            own = {"data": data, "method": name, "constant": constant, "factor": factor}
            if rows.has(**own) or (constant == "CORRECTED" and name != "inputs"):
                continue
            with changed(constant, factor) as value:
                (row,) = with_none(name, tasks, options.seeds, share=walk.SHARE)
            rows.add(own | {"value": value} | row)
            print(*own.values(), flush=True)
    print(table(summary(list(rows))))


if __name__ == "__main__":
    main()
