"""LOREN beside what one would use instead, in one run and on the same function.

* cost: time and memory of a step of six forward passes, on transformers of three sizes: the forward
  passes alone, LOREN and MeZO (rank 1 and full Gaussian), Open-ES and SNES of evosax with a
  population of six; and for comparison one step of Optax's Adam with gradients, of all parameters
  or of LoRA adapters of rank 8 on every matrix of a layer, with and without `jax.checkpoint` around
  each layer. With checkouts of the official repositories also their own loops, in torch.
  `peer_costs.py` says how it is measured.
* quality: MiniLM's head on SST-2, as in `queries_to_target.py head`, at equal forward passes, what
  each has to be tuned in is tuned alike: learning rates, and for SNES its first spread. SNES also
  runs with the population that is usual for the size, in fewer generations.

evosax and torch are no dependencies: without them their rows are skipped, and a line says so. On a
machine that does other work too, threads that wait for each other make times meaningless, torch's
most of all: with `XLA_FLAGS=--xla_cpu_multi_thread_eigen=false OMP_NUM_THREADS=1` each has one.

    python -m benchmarks peers cost --mezo CHECKOUT --loren CHECKOUT
    python -m benchmarks peers quality --data-dir DIR
"""

import argparse
import functools
import importlib.util
import statistics
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import optax

from benchmarks.evidence.evolution import evolution_methods, installed, usual_snes
from benchmarks.evidence.methods import Method, adamw, method
from benchmarks.evidence.peer_costs import Loops, costs
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.runs import together
from benchmarks.evidence.tasks import head_task
from benchmarks.evidence.tuning import choose
from benchmarks.record import RESULTS
from benchmarks.transformer import Transformer

FILE = RESULTS / "peers.jsonl"
TUNING, SEEDS = (100, 101, 102), (0, 1, 2, 3, 4)
SIZES = {
    "small": Transformer(layers=2, width=64, hidden=256, vocabulary=512),
    "middle": Transformer(layers=4, width=256, hidden=1024, vocabulary=4096),
    "large": Transformer(),
}
OFFICIAL = {"mezo": "princeton-nlp/MeZO on GitHub", "loren": "hseung88/loren on GitHub"}


def contestants() -> dict[str, Method]:
    """All that is measured, by name."""
    return {
        "LOREN, rank 1": method("loren", 6, rank=1, momentum=None),
        "LOREN, Gaussian": method("loren", 6, momentum=None),
        "MeZO, rank 1": method("mezo", 3, rank=1),
        "MeZO, Gaussian": method("mezo", 3),
        **evolution_methods(),
        "Adam, gradients": adamw()._replace(make=lambda rate, key: optax.adam(rate)),
    }


def measure_cost(options: argparse.Namespace, rows: Rows) -> None:
    """One row a size and method."""
    loops, facts = _official(options)
    batch, length = map(int, options.tokens.split("x"))
    for name in options.sizes:
        model = SIZES[name]
        if rows.has(kind="cost", size=name):
            continue
        own = {"kind": "cost", "size": name, "tokens": options.tokens, "evosax": _evosax(), **facts}
        found = costs(model, (batch, length), contestants(), loops=loops, turns=options.turns)
        for row in found:
            rows.add(own | row)
            print(row, flush=True)


def _official(options: argparse.Namespace) -> tuple[Loops, dict[str, Any]]:
    """The official loops that can run here, and what a row says of them."""
    checkouts = {"mezo": options.mezo, "loren": options.loren}
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed (the extra 'oracle'): the official loops are skipped")
        return (lambda model, tokens: {}), {}
    for name in [name for name, folder in checkouts.items() if folder is None]:
        print(f"no --{name}: a git clone of {OFFICIAL[name]} there, and its loop is measured too")
    from benchmarks.evidence import official_loops

    commits = {f"{k} commit": official_loops.version(v) for k, v in checkouts.items() if v}
    return functools.partial(official_loops.loops, **checkouts), official_loops.facts() | commits


def measure_quality(options: argparse.Namespace, rows: Rows) -> None:
    """Loss and accuracy at equal forward passes."""
    seeds = (*TUNING, *SEEDS)
    tasks = [head_task("sst2", seed, data_dir=options.data_dir) for seed in seeds]
    losses = [float(task.score(task.params, task.dev)["loss"]) for task in tasks]
    start = statistics.fmean(losses[: len(TUNING)])
    size = sum(leaf.size for leaf in jax.tree.leaves(tasks[0].params))
    for name, contestant in (contestants() | usual_snes(size)).items():
        if rows.has(kind="quality", method=name) or name.endswith("rank 1"):
            continue
        runs: dict[float, dict[int, Any]] = {}

        def scores(rates: Sequence[float], own: Any = contestant, runs: Any = runs) -> Any:
            found = together(tasks, own, rates, seeds, budget=options.budget, evaluations=60)
            for rate, of_rate in zip(rates, found, strict=True):
                runs[rate] = dict(zip(seeds, of_rate, strict=True))
            return {r: statistics.fmean(runs[r][s].mean_loss for s in TUNING) for r in rates}

        rate, _ = choose(scores, -10, 1, start=start)
        best = [runs[rate][seed] for seed in SEEDS]
        row = {
            "kind": "quality", "task": tasks[0].name, "method": name, "tuned": rate,
            "evosax": _evosax(), "budget": options.budget, "seeds": SEEDS,
            "mean dev loss": rounded([run.mean_loss for run in best]),
            "test accuracy": rounded([run.test["accuracy"] for run in best]),
        }  # fmt: skip
        curves = [rounded(run.dev["loss"]) for run in best]
        rows.add(row | {"passes": best[0].passes, "dev loss": curves})
        print(row, flush=True)


def _evosax() -> str | None:
    return metadata.version("evosax") if installed() else None


def main() -> None:
    """Measures one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"cost": measure_cost, "quality": measure_quality}
    parser.add_argument("part", choices=parts)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--mezo", type=Path, help=f"a checkout of {OFFICIAL['mezo']}")
    parser.add_argument("--loren", type=Path, help=f"a checkout of {OFFICIAL['loren']}")
    parser.add_argument("--tokens", default="8x64", help="batch x length")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--budget", type=int, default=9000, help="forward passes of quality")
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    if not installed():
        print("evosax is not installed (pip install evosax): its rows are skipped")
    parts[options.part](options, Rows(options.out))


if __name__ == "__main__":
    main()
