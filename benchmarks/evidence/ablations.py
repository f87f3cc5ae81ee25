"""What each part of LOREN is worth, at equal forward passes: covariance, momentum, scheme, rank, K.

MiniLM's head on SST-2 on features computed once (`evidence.tasks.head_task`), protocol `clean`.
Cells are points of {isotropic, frozen, learned covariance} x {momentum off, 0.9} x {leave-one-out,
two-sided pairs, one-sided with centre} x {full Gaussian, rank 1, rank 8} x {2, 6, 16} forward
passes a step. The effective rate `learning_rate / (1 - momentum)` is tuned for every cell, on the
grid of `evidence.tuning` from 1e-3 to 0.3 with seeds of their own; reported is the mean over other
seeds. As the seeds draw the same rows, batches and head in all cells, cells are compared seed by
seed. A rank of 8 is more than a matrix of 384 x 2 has, so there it is full Gaussian.

* cells (default): the groups below; `--all` for all 162 points.
* fine: the schemes again, with rates in steps of 1.8 and ten seeds.
* scale: LOREN at the rate that `cells` chose, for perturbation scales from 1e-6 to 1.
* motion: how far the covariance's `a` moves, and towards what.
* watch: what a run shows of itself while its learning rate is right, or too large: the spread of a
  step's losses in units of the perturbation scale, which estimates the gradient's norm.
* ranks: full Gaussian, rank-1 and rank-8 directions on matrices of 64 x 64 and more: a language
  model of 260,000 parameters (`queries_to_target.py language`), all parameters, at equal rates.

    python -m benchmarks ablations cells --data-dir DIR
    python -m benchmarks ablations fine --data-dir DIR
    python -m benchmarks ablations scale --data-dir DIR
    python -m benchmarks ablations motion --data-dir DIR
    python -m benchmarks ablations watch --data-dir DIR
    python -m benchmarks ablations ranks --data-dir DIR --model-file stories260K.bin
"""

import argparse
import itertools
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import loren_jax
from benchmarks.evidence.cells import RANKS, SCHEMES, Cell, every_cell, groups
from benchmarks.evidence.methods import Method
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.runs import alone, stepper, together
from benchmarks.evidence.tasks import Task, head_task, language_task, take
from benchmarks.evidence.tuning import grid
from benchmarks.record import RESULTS

FILE = RESULTS / "ablations.jsonl"
TUNING, SEEDS = (100, 101, 102), (0, 1, 2, 3, 4)
BUDGET, EVALUATIONS = 6000, 40
MOTION_RATE = 0.03
# Effective rates 1e-3 to 0.3.
RANGE = (-6, -1)


def measure_cells(options: argparse.Namespace, rows: Rows) -> None:
    """One row a cell."""
    _measure(options, rows, "cell", every_cell() if options.all else groups(), SEEDS, grid(*RANGE))


def measure_fine(options: argparse.Namespace, rows: Rows) -> None:
    """Schemes with rates in steps of 1.8 and ten seeds: their best rates differ by less than 3."""
    rates = [float(f"{10 ** (i / 4):.2g}") for i in range(-11, -2)]
    cells = [Cell(scheme=scheme) for scheme in SCHEMES]
    cells += [Cell(scheme=scheme, passes=16) for scheme in list(SCHEMES)[:2]]
    _measure(options, rows, "fine", [*cells, Cell(directions="rank 1")], range(10), rates)


def _measure(
    options: argparse.Namespace,
    rows: Rows,
    kind: str,
    cells: Iterable[Cell],
    reported: Sequence[int],
    rates: Sequence[float],
) -> None:
    seeds = (*TUNING, *reported)
    tasks = [head_task("sst2", seed, data_dir=options.data_dir) for seed in seeds]
    for cell in dict.fromkeys(cells):
        fields = {"kind": kind, "task": tasks[0].name, **cell._asdict()}
        if rows.has(**fields):
            continue
        length = {"budget": options.budget, "evaluations": EVALUATIONS}
        found = together(tasks, cell.method(), rates, seeds, **length)
        runs = {
            rate: dict(zip(seeds, own, strict=True)) for rate, own in zip(rates, found, strict=True)
        }
        chosen = {r: statistics.fmean(runs[r][s].mean_loss for s in TUNING) for r in rates}
        rate = min(rates, key=chosen.__getitem__)
        best = [runs[rate][seed] for seed in reported]
        rows.add(
            fields
            | {
                "effective rate": rate,
                "budget": options.budget,
                "seeds": list(reported),
                "mean dev loss": rounded([run.mean_loss for run in best]),
                "last dev loss": rounded([run.dev["loss"][-1] for run in best]),
                "test accuracy": rounded([run.test["accuracy"] for run in best]),
                "rates": rates,
                "mean dev losses by rate": [
                    rounded([runs[r][seed].mean_loss for seed in reported]) for r in rates
                ],
                "evaluated at": best[0].passes,
                "dev loss": rounded(np.mean([run.dev["loss"] for run in best], 0)),
            }
        )
        losses = [run.mean_loss for run in best]
        print(kind, *cell, f"rate {rate:g}: {statistics.fmean(losses):.4f}", flush=True)


def measure_scales(options: argparse.Namespace, rows: Rows) -> None:
    """LOREN, its learning rate fixed, for several perturbation scales at once."""
    chosen = rows.where(kind="cell", **Cell("learned", 0.9)._asdict())
    if not chosen:
        raise SystemExit("run the cells first: their learning rate is needed")
    rate = chosen[-1]["effective rate"]
    tasks = [head_task("sst2", seed, data_dir=options.data_dir) for seed in SEEDS]
    scales = tuple(float(f"1e{i}") for i in range(-6, 1))
    common = {"momentum": 0.9, "rank": None}
    make = lambda scale, key: loren_jax.loren(
        rate / 10, perturbation_scale=scale, key=key, **common
    )
    method = Method(make, lambda step: 6)
    length = {"budget": options.budget, "evaluations": EVALUATIONS}
    for scale, runs in zip(scales, together(tasks, method, scales, SEEDS, **length), strict=True):
        row = {"kind": "scale", "task": tasks[0].name, "perturbation scale": scale}
        if not rows.has(**row):
            rows.add(
                row
                | {
                    "effective rate": rate,
                    "budget": options.budget,
                    "seeds": SEEDS,
                    "mean dev loss": rounded([run.mean_loss for run in runs]),
                    "test accuracy": rounded([run.test["accuracy"] for run in runs]),
                }
            )


def measure_motion(options: argparse.Namespace, rows: Rows) -> None:
    """How far `a` moves in a run, and the share of it along the steepest curvature."""
    task, steps = head_task("sst2", 0, data_dir=options.data_dir), options.budget // 6
    steepest = _steepest(task)
    method = Method(_learning_covariance, lambda step: 6)
    run = jax.jit(stepper(task, method))
    for rate, seed in itertools.product((1e-3, 1e-1, 1.0, 10.0), SEEDS):
        fields = {"kind": "motion", "task": task.name, "rate": rate, "seed": seed}
        if rows.has(**fields):
            continue
        state = method.make(rate, key=seed).init(task.params)
        before = np.asarray(_vector(state))
        params = jax.tree.map(jnp.array, task.params)
        _, state = run(rate, params, state, task.train, task.rows(seed, 0, steps))
        after = np.asarray(_vector(state))
        rows.add(
            fields
            | {
                "steps": steps,
                "effective rate": MOTION_RATE,
                "moved": float(np.linalg.norm(after - before) / np.linalg.norm(before)),
                "squared cosine with the steepest direction": rounded(
                    [_share(before, steepest), _share(after, steepest)]
                ),
                "expected of a random one": 1 / len(before),
            }
        )


def _learning_covariance(rate: Any, key: Any) -> Any:
    """LOREN without momentum, of whose covariance the learning rate may be traced."""
    return loren_jax.loren(MOTION_RATE, covariance_learning_rate=rate, momentum=None, key=key)


def measure_watch(options: argparse.Namespace, rows: Rows) -> None:
    """The spread of a step's losses over a run, at several learning rates."""
    task, parts = head_task("sst2", 0, data_dir=options.data_dir), 10
    steps = options.budget // 6 // parts * parts
    rates = jnp.array([0.003, 0.01, 0.03, 0.1, 0.3, 1.0])
    train = jax.tree.map(jnp.asarray, task.train)
    make = lambda rate, key: loren_jax.loren(rate, momentum=None, key=key)

    def spreads(rate: Any, seed: Any, indices: Any) -> tuple[Any, Any]:
        optimizer = make(rate, seed)

        def step(carry: Any, chosen: Any) -> tuple[Any, Any]:
            batch = take(train, chosen)
            params, state = optimizer.apply(*carry, value_fn=lambda p: task.loss(p, batch))
            return (params, state), jnp.std(optax.tree.get(state, "losses"), ddof=1) / 1e-3

        start = task.params, optimizer.init(task.params)
        (params, _), found = jax.lax.scan(step, start, indices)
        parts_of = jnp.median(found.reshape(parts, -1), axis=1)
        return parts_of, task.score(params, task.dev)["loss"]

    run = jax.jit(jax.vmap(spreads, (0, None, None)))
    for seed in SEEDS:
        if rows.has(kind="watch", seed=seed):
            continue
        found, losses = run(rates, seed, task.rows(seed, 0, steps))
        for rate, own, loss in zip(rates, found, losses, strict=True):
            fields = {"kind": "watch", "task": task.name, "rate": rounded([rate])[0], "seed": seed}
            medians = {"spread / scale, medians of tenths": rounded(own)}
            rows.add(fields | medians | {"last dev loss": rounded([loss])[0], "steps": steps})


def measure_ranks(options: argparse.Namespace, rows: Rows) -> None:
    """One row a kind of directions, rate and seed."""
    tasks = {
        seed: language_task(options.model_file, seed, data_dir=options.data_dir)
        for seed in SEEDS[:3]
    }
    for kind in RANKS:
        method = Cell(directions=kind).method()
        for rate, (seed, task) in itertools.product(options.rates, tasks.items()):
            fields = {"kind": "ranks", "directions": kind, "effective rate": rate, "seed": seed}
            if rows.has(**fields):
                continue
            run = alone(task, method, rate, seed, budget=options.budget, evaluations=10)
            found = {"mean dev loss": run.mean_loss, "last dev loss": run.dev["loss"][-1]}
            rows.add(fields | {"task": task.name, "budget": options.budget} | found)
            print(kind, rate, seed, found, flush=True)


def _vector(state: Any) -> Any:
    """The kernel's `a`, of an optimiser's state."""
    return optax.tree.get(state, "directions").covariance["kernel"].reshape(-1)


def _steepest(task: Task) -> np.ndarray:
    """The largest eigenvector of the features' second moment: the head's steepest curvature."""
    features = np.asarray(task.train["inputs"], np.float64)
    return np.linalg.eigh(features.T @ features)[1][:, -1]


def _share(vector: np.ndarray, unit: np.ndarray) -> float:
    return float((vector @ unit) ** 2 / (vector @ vector))


def main() -> None:
    """Measures one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {
        "cells": measure_cells,
        "fine": measure_fine,
        "scale": measure_scales,
        "motion": measure_motion,
        "watch": measure_watch,
        "ranks": measure_ranks,
    }
    parser.add_argument("part", choices=parts, nargs="?", default="cells")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model-file", type=Path, help="ranks: a llama2.c file")
    parser.add_argument("--rates", type=float, nargs="+", help="ranks: effective rates")
    parser.add_argument("--all", action="store_true", help="all 162 points")
    parser.add_argument("--budget", type=int, default=BUDGET)
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    parts[options.part](options, Rows(options.out))


if __name__ == "__main__":
    main()
