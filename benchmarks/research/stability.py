"""Steps without a learning rate, each constant of `loren_jax.pacing` a tenth and ten times.

MiniLM's head on sentences, as in `no_rate`: the mean dev loss of a run and its last one, less those
with the constants as they are, paired by seed. Counts, `LONGEST`, `MOST` and `RAISED` are one at
least, directions two.

python -m benchmarks stability
"""

import argparse
import contextlib
import itertools
import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any

import loren_jax
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.runs import alone
from benchmarks.evidence.tasks import Task, head_task
from benchmarks.fetched import snippets
from benchmarks.record import RESULTS, table
from benchmarks.research.no_rate import DATA, LENGTH, METHODS, scores, steps_of, without_rate
from loren_jax import pacing

FILE = RESULTS / "research_stability.jsonl"
COUNTS = ("SEARCHED", "MEASURED", "SOME", "BEGINNING")
CONSTANTS = ("SHARE", "FIRST", "MOST", "RAISED", *COUNTS, "FORGETTING", "LONGEST", "TRUST")
FACTORS = (0.1, 10.0)


@contextlib.contextmanager
def changed(constant: str | None, factor: float) -> Iterator[float | None]:
    """With a constant multiplied; yields what it is."""
    if constant is None:
        yield None
        return
    own = getattr(pacing, constant)
    value = own * factor
    if constant in COUNTS:
        value = max(2 if constant == "SOME" else 1, round(value))
    elif constant in ("LONGEST", "MOST", "RAISED"):
        value = max(1.0, value)
    both = pacing.SEARCHED_BATCHES
    try:
        setattr(pacing, constant, value)
        pacing.SEARCHED_BATCHES = pacing.SEARCHED + pacing.MEASURED
        yield value
    finally:
        setattr(pacing, constant, own)
        pacing.SEARCHED_BATCHES = both


def row(name: str, tasks: list[Task], seeds: list[int]) -> dict[str, Any]:
    """Runs of a method, one a seed, with the constants as they are now."""
    factory, knobs, _ = METHODS[name]
    runs, walks = [], []
    for task, seed in zip(tasks, seeds, strict=True):
        batch, own = partial(task.batch, seed), {"share": pacing.SHARE, "key": seed}
        found = loren_jax.measure_walk(task.loss, task.params, batch, factory, **own, **knobs)
        make = partial(loren_jax.automatic, factory, steps_of(name), longest=pacing.LONGEST)
        method = without_rate(name, steps_of(name))
        method = method._replace(make=lambda walk, key, m=make: m(walk=walk, key=key, **knobs))
        runs.append(alone(task, method, found.walk, seed, **LENGTH))
        walks.append(found.walk)
    return {"walks": rounded(walks, 4)} | scores(runs)


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
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["recipe", "mezo"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    rows = Rows(FILE)
    cases = [(None, 1.0), *itertools.product(CONSTANTS, FACTORS)]
    for data in options.data:
        path = str(snippets(DATA[data]))
        tasks = [head_task(path, seed, data_dir=None) for seed in options.seeds]
        for name, (constant, factor) in itertools.product(options.methods, cases):
            own = {"data": data, "method": name, "constant": constant, "factor": factor}
            if rows.has(**own):
                continue
            with changed(constant, factor) as value:
                rows.add(own | {"value": value} | row(name, tasks, options.seeds))
            print(*own.values(), flush=True)
    print(table(summary(list(rows))))


if __name__ == "__main__":
    main()
