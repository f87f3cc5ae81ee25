"""Real forward passes through the package: what `law.py` screened, on all parameters or a tail.

Every method takes `--passes` forward passes a step on the same batches of 16. `inputs` asks
`loren_jax.inputs.input_factors` once, on 64 training rows without their labels, for the
directions that the inputs of every matrix vary along: four forward passes more, which are counted.

With `--tuning-seed` the rate is chosen first: of those given, the one with the least mean dev loss
on that seed; while it is the first or the last, the range is extended by its own ratio. Without
`--rates` steps are as long as `loren_jax.measure_walk` finds, its forward passes counted. With
`--answers` that is told what noise costs of the model's own answers, `objectives.new_head`: alone,
or with what the slopes of the labels say of how much of it a run corrects.

    python -m benchmarks confirm --data-dir DIR --method mezo --rates 1e-3 --seeds 0
    python -m benchmarks confirm --data-dir DIR --trained tail --method inputs \
        --rates 6e-3 1.2e-2 2.4e-2 --tuning-seed 100 --seeds 0 1 2 3 4
"""

import argparse
import fcntl
import functools
import itertools
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import loren_jax
from benchmarks.record import RESULTS, save
from benchmarks.research import problem as problems
from loren_jax.inputs import input_factors
from loren_jax.objectives.new_head import answering
from loren_jax.tasks import batch_indices
from loren_jax.walk import SEARCHED_BATCHES

BATCH, FACTOR_ROWS = 16, 64
SCORED = 120
"""Forward passes between two evaluations."""
METHODS = ("mezo", "loren", "inputs")


class Run(NamedTuple):
    """One run.

    Attributes:
      method: see `METHODS`.
      rate: learning rate; None for what `loren_jax.measure_walk` finds.
      seed: of rows, head, batches and noise.
      trained: `all` or `tail`.
      passes: forward passes a step.
      budget: forward passes of the run.
      power: of the inputs' variance, see `input_factors`.
      answers: how the walk is measured on the model's own answers, "" if on the loss.
    """

    method: str
    rate: float | None
    seed: int
    trained: str
    passes: int
    budget: int
    power: float
    answers: str = ""


def factory_of(settings: Run, problem: problems.Problem) -> tuple[Any, dict[str, Any]]:
    """The method and its knobs, rank-1 directions where it has no fan-in vectors of its own."""
    passes = settings.passes
    common = {"chunk_size": passes, "key": settings.seed, "rank": 1}
    if settings.method == "mezo":
        return loren_jax.mezo, common | {"num_directions": passes // 2}
    common |= {"num_directions": passes}
    if settings.method == "loren":  # its scheme alone, without a covariance
        return functools.partial(loren_jax.input_subspace, factors={}), common
    rows = problem.train.rows(slice(FACTOR_ROWS))
    factors = input_factors(
        lambda params: problem.loss(params, rows),
        problem.params,
        power=settings.power,
        weights=rows.mask,
    )
    return functools.partial(loren_jax.input_subspace, factors=factors), common


def optimizer_of(
    settings: Run, problem: problems.Problem, batch: Callable[[int], Any]
) -> tuple[Any, int]:
    """The method at its rate, or that of the walk which is found, and the passes of that."""
    factory, knobs = factory_of(settings, problem)
    if settings.rate is not None:
        return factory(settings.rate, **knobs), 0
    steps, known = settings.budget // settings.passes, {"chance": math.log(2)}
    loss, params, batches = problem.loss, problem.params, batch
    if settings.answers:
        loss, params, batches = answering(problem.logits, problem.params, batch, "classifier")
    known |= {"steps": None if settings.answers == "alone" else steps} | knobs
    found = loren_jax.measure_walk(loss, params, batches, factory, **known)
    known |= {"walk": found.walk, "longest": found.longest, "steps": steps}
    passes = found.passes + (SEARCHED_BATCHES + 1 if settings.answers else 0)
    return loren_jax.automatic(factory, **known), passes


def run(settings: Run, data_dir: Path) -> dict[str, Any]:
    """Trains with real forward passes and scores every 120 of them."""
    problem = problems.load(data_dir, settings.seed, settings.trained)
    batch = lambda step: problem.train.rows(batch_indices(settings.seed, step, 512, BATCH))
    optimizer, extra = optimizer_of(settings, problem, batch)
    step = loren_jax.train_step(problem.loss, optimizer)
    params = jax.tree.map(jnp.array, problem.params)
    state = jax.jit(optimizer.init)(params)
    extra += FACTOR_ROWS // BATCH if settings.method == "inputs" else 0
    curve: dict[str, list[float]] = {"at": [], "dev loss": [], "dev accuracy": []}
    every = max(1, SCORED // settings.passes)
    for number in range(settings.budget // settings.passes):
        params, state = step(params, state, batch(number))
        if (number + 1) % every == 0:
            loss, accuracy = problem.score(params, problem.dev)
            found = ((number + 1) * settings.passes + extra, loss, accuracy)
            for values, value in zip(curve.values(), found, strict=True):
                values.append(value)
            print(settings.method, settings.rate, settings.seed, *found, flush=True)
            if not np.isfinite(loss) or loss > 2:
                break
    test, accuracy = problem.score(params, problem.test)
    return {**settings._asdict(), **curve, "test loss": test, "test accuracy": accuracy}


def main() -> None:
    """Runs what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--rates", type=float, nargs="+", default=[None])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tuning-seed", type=int)
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--budget", type=int, default=1200)
    parser.add_argument("--trained", default="all")
    parser.add_argument("--power", type=float, default=1.0)
    parser.add_argument("--answers", choices=["alone", "corrected"], default="")
    options = parser.parse_args()
    if options.tuning_seed is not None and len(options.rates) < 2:
        parser.error("--tuning-seed chooses among --rates: give two or more.")
    settings = Run(
        options.method, None, 0, options.trained, options.passes, options.budget, options.power,
        options.answers,
    )  # fmt: skip
    rates = options.rates
    if options.tuning_seed is not None:
        rates = [chosen(settings._replace(seed=options.tuning_seed), rates, options.data_dir)]
    for seed, rate in itertools.product(options.seeds, rates):
        row = kept(settings._replace(rate=rate, seed=seed), options.data_dir)
        print({k: v for k, v in row.items() if not isinstance(v, list)}, flush=True)


def kept(settings: Run, data_dir: Path) -> dict[str, Any]:
    """The row of a run, from the file if it is there."""
    name = "research_confirm"
    path = RESULTS / f"{name}.json"

    def rows() -> list[dict[str, Any]]:
        return json.loads(path.read_text())["rows"] if path.exists() else []

    for row in rows():
        if [row.get(field, "") for field in Run._fields] == list(settings):
            return row
    row = run(settings, data_dir)
    folder = os.open(RESULTS, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # several of these programs may run side by side
        save(name, [*rows(), row])
    finally:
        os.close(folder)
    return row


def chosen(settings: Run, rates: list[float], data_dir: Path) -> float:
    """The best rate on one seed."""
    rates = sorted(rates)
    ratio = rates[1] / rates[0]

    def score(rate: float) -> float:
        row = kept(settings._replace(rate=rate), data_dir)
        bound = 2 * np.log(2)  # a run that diverged stops early and counts as twice the start
        losses = np.minimum(np.nan_to_num(row["dev loss"], nan=bound), bound)
        missing = settings.budget // SCORED - len(losses)
        return float(np.mean([*losses, *[bound] * max(0, missing)]))

    while True:
        best = min(rates, key=score)
        if best == rates[0]:
            rates.insert(0, float(f"{best / ratio:.2g}"))
        elif best == rates[-1]:
            rates.append(float(f"{best * ratio:.2g}"))
        else:
            return best


if __name__ == "__main__":
    main()
