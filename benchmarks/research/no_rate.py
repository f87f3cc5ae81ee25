"""A head on sentences that nothing was tuned on, with and without a learning rate.

Reviews of films and of products, tweets and editorials, each rated by twenty people: MiniLM's head
on 512 of them, `clean` protocol. The recipe of `loren-jax train --data` with its rate, the same at
rates in factors of three, constant and falling, and `loren_jax.automatic` at the walk that
`measure_walk` finds; so do six passes a step of three methods. The tuned rate is the best of its
grid on the seeds that are reported, which favours it.

python -m benchmarks no_rate
"""

import argparse
import itertools
from functools import partial
from typing import Any

import numpy as np
import optax

import loren_jax
from benchmarks.evidence.methods import Method, along_inputs
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.runs import Run, alone, together
from benchmarks.evidence.tasks import Task, head_task
from benchmarks.fetched import snippets
from benchmarks.record import RESULTS
from loren_jax.train.recipe import HEAD_RECIPE
from loren_jax.walk import SHARE

FILE = RESULTS / "research_no_rate.jsonl"
DATA = {
    "films": "movieReviewSnippets",
    "products": "amazonReviewSnippets",
    "tweets": "tweets",
    "editorials": "nytEditorialSnippets",
}
PASSES, EVALUATIONS = 6400, 20
LENGTH = {"budget": PASSES, "evaluations": EVALUATIONS}
BATCHES = 16
"""Of 32 rows, that hold the 512 of training."""
_KNOBS = ("num_directions", "perturbation_scale")
RECIPE = {name: HEAD_RECIPE[name] for name in _KNOBS}
INPUTS = {"num_directions": 6, "factors": {}}
MOPI = {"num_directions": 5, "orthogonalise": "power", "power_rank": 1}
METHODS: dict[str, tuple[Any, dict[str, Any], tuple[float, ...]]] = {
    "recipe": (loren_jax.loren, RECIPE, (0.013, 0.04, 0.13, 0.4, 1.3, 4.0)),
    "loren": (loren_jax.loren, {}, (0.001, 0.003, 0.01, 0.03, 0.1)),
    "mezo": (loren_jax.mezo, {"num_directions": 3}, (0.001, 0.003, 0.01, 0.03)),
    "zo_muon": (loren_jax.zo_muon, {"num_directions": 5}, (0.003, 0.01, 0.03, 0.1, 0.3)),
    "inputs": (loren_jax.input_subspace, INPUTS, (0.01, 0.03, 0.1, 0.3, 1.0)),
    "adamezo": (loren_jax.adamezo, {"num_directions": 3}, (0.001, 0.003, 0.01, 0.03)),
    "mopi": (loren_jax.zo_muon, MOPI, (0.003, 0.01, 0.03, 0.1, 0.3)),
}
"""By name: the factory, its knobs, and the rates of the grid; ZO-Muon's vectors keep 0.01."""
LEADING = ("recipe", "loren", "mezo", "zo_muon")


def with_rate(name: str, falling: bool, steps: int) -> Method:
    """The method at a rate, constant or falling to zero over the run."""
    factory, knobs, _ = METHODS[name]
    more = {"vector_learning_rate": 0.01} if factory is loren_jax.zo_muon else {}

    def make(rate: Any, key: Any, **found: Any) -> Any:
        schedule = optax.linear_schedule(rate, 0.0, steps) if falling else rate
        return factory(schedule, key=key, **{**knobs, **more, **found})

    return method_of(name, make)


def method_of(name: str, make: Any) -> Method:
    """What trains; along the inputs it first looks at them, in as many passes as hold all rows."""
    if name == "inputs":
        return along_inputs(METHODS[name][1]["num_directions"], BATCHES)._replace(make=make)
    cost = make(0.1, 0).passes
    return Method(make, lambda step: cost)


def without_rate(name: str, steps: int, **more: Any) -> Method:
    """The method with steps of a planned length; what a run calls its rate is the walk."""
    factory, knobs, _ = METHODS[name]

    def make(walk: Any, key: Any, **found: Any) -> Any:
        return loren_jax.automatic(factory, steps, walk=walk, key=key, **{**knobs, **found}, **more)

    return method_of(name, make)


def with_rates(name: str, tasks: list[Task], seeds: list[int], falling: bool) -> list[Any]:
    """Rows of one method on one data set: each rate."""
    method, grid = with_rate(name, falling, steps_of(name)), METHODS[name][2]
    found = together(tasks, method, grid, seeds, **LENGTH)
    return [{"rate": r, "falling": falling} | scores(f) for r, f in zip(grid, found, strict=True)]


def with_none(
    name: str, tasks: list[Task], seeds: list[int], share: float = SHARE
) -> list[dict[str, Any]]:
    """The row without a rate."""
    factory, knobs, _ = METHODS[name]
    runs, found = [], []
    for task, seed in zip(tasks, seeds, strict=True):
        batch = partial(task.batch, seed)
        planned = {"steps": steps_of(name), "key": seed, "share": share, **knobs}
        prepare = without_rate(name, steps_of(name)).prepare
        planned |= prepare(task) if prepare else {}
        found.append(loren_jax.measure_walk(task.loss, task.params, batch, factory, **planned))
        method = without_rate(name, steps_of(name), longest=found[-1].longest)
        runs.append(alone(task, method, found[-1].walk, seed, **LENGTH))
    own = {"walks": rounded([f.walk for f in found], 4), "extra passes": found[0].passes}
    own["longest"] = rounded([f.longest for f in found], 3)
    return [{"rate": None, "falling": True} | own | scores(runs)]


def steps_of(name: str) -> int:
    """Steps of a run."""
    return with_rate(name, False, 1).steps_for(PASSES / EVALUATIONS) * EVALUATIONS


def scores(runs: list[Run]) -> dict[str, Any]:
    """What a row says of the runs of all seeds."""
    return {
        "start": rounded([r.dev["loss"][0] for r in runs]),
        "mean": rounded([r.mean_loss for r in runs]),
        "last": rounded([r.dev["loss"][-1] for r in runs]),
        "last accuracy": rounded([r.dev["accuracy"][-1] for r in runs]),
    }


def main() -> None:
    """Measures what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=DATA, default=list(DATA))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(LEADING))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    rows = Rows(FILE)
    for data in options.data:
        tasks: list[Task] = []
        for name, (kind, more) in itertools.product(options.methods, KINDS.items()):
            own = {"data": data, "method": name, "kind": kind}
            if rows.has(**own):
                continue
            path = str(snippets(DATA[data]))
            tasks = tasks or [head_task(path, seed, data_dir=None) for seed in options.seeds]
            for row in more(name, tasks, options.seeds):
                rows.add(own | {"seeds": options.seeds} | row)
                mean, last = np.mean(row["mean"]), np.mean(row["last"])
                print(data, name, kind, row["rate"], f"mean {mean:.4f} last {last:.4f}", flush=True)


KINDS: dict[str, Any] = {
    "constant": partial(with_rates, falling=False),
    "falling": partial(with_rates, falling=True),
    "none": with_none,
}
"""What is done with the rate."""


if __name__ == "__main__":
    main()
