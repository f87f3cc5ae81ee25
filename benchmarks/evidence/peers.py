"""LOREN beside what one would use instead, in one run and on the same function.

* cost: time and temporary memory of a step of six forward passes, on transformers of three sizes:
  the forward passes alone, LOREN and MeZO (rank 1 and full Gaussian), Open-ES and SNES of evosax
  with a population of six, and for comparison one step of Optax's Adam with gradients. Steps take
  turns; each turn gives the ratio to the bare passes of that turn, and the median of the ratios is
  kept. Memory is what XLA plans (`temp_size_in_bytes`), in units of the parameters.
* quality: MiniLM's head on SST-2, as in `queries_to_target.py head`, at equal forward passes, what
  each has to be tuned in is tuned alike: learning rates, and for SNES its first spread. SNES also
  runs with the population that is usual for the size, in fewer generations.

evosax is no dependency: without it (`pip install evosax`) its rows are skipped, and a line says so.

    python -m benchmarks peers cost
    python -m benchmarks peers quality --data-dir DIR
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks.evidence.evolution import POPULATION, evolution_methods, installed, usual_snes
from benchmarks.evidence.methods import Method, adamw, method
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
PASSES = "six forward passes"


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
    for name in options.sizes:
        model = SIZES[name]
        if rows.has(kind="cost", size=name):
            continue
        for row in _costs(model, options):
            row = {"kind": "cost", "size": name, "evosax": _evosax(), **row}
            rows.add(row)
            print(row, flush=True)


def _costs(model: Transformer, options: argparse.Namespace) -> list[dict[str, Any]]:
    batch, length = map(int, options.tokens.split("x"))
    params, ids = model.params(), model.tokens(batch, length)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(params))
    programs: dict[str, tuple[Any, tuple[Any, ...]]] = {}
    bare = lambda params, ids: jax.lax.map(
        lambda shift: model.loss(params, (ids + shift) % model.vocabulary), jnp.arange(POPULATION)
    )
    programs[PASSES] = jax.jit(bare).lower(params, ids).compile(), (params, ids)
    for name, contestant in contestants().items():
        optimizer = contestant.make(1e-6, key=0)
        state = jax.jit(optimizer.init)(params)
        step = _step(model, optimizer, contestant.gradient)
        programs[name] = jax.jit(step).lower(params, state, ids).compile(), (params, state, ids)
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(options.turns):
        for name, (program, arguments) in programs.items():
            seconds[name].append(_seconds(program, arguments))
    return [
        {
            "parameters": numbers,
            "tokens": options.tokens,
            "method": name,
            "seconds": statistics.median(seconds[name]),
            "times the passes": statistics.median(
                own / passes for own, passes in zip(seconds[name], seconds[PASSES], strict=True)
            ),
            "temporary / parameters": program.memory_analysis().temp_size_in_bytes / (4 * numbers),
        }
        for name, (program, _) in programs.items()
    ]


def _step(model: Transformer, optimizer: Any, gradient: bool) -> Callable[..., Any]:
    def step(params: Any, state: Any, ids: jax.Array) -> Any:
        value_fn = lambda params: model.loss(params, ids)
        if gradient:
            updates, state = optimizer.update(jax.grad(value_fn)(params), state, params)
        else:
            updates, state = optimizer.update(None, state, params, value_fn=value_fn)
        return optax.apply_updates(params, updates), state

    return step


def _seconds(program: Any, arguments: tuple[Any, ...], least: float = 0.2) -> float:
    """Time of a call, over as many calls as fill a moment."""
    calls, start = 0, time.perf_counter()
    while not calls or time.perf_counter() - start < least:
        jax.block_until_ready(program(*arguments))
        calls += 1
    return (time.perf_counter() - start) / calls


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
        rows.add(row)
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
