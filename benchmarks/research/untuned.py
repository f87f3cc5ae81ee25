"""Steps of a planned length (`loren_jax.automatic`) over the walk given, or `measure_walk`'s.

Settings, seeds and six passes a step are those of `queries_to_target.py`, `short` is the head with
600 passes. Rows with the variant `watched` are of a rule that was dropped, see RESEARCH.md.

python -m benchmarks.research.untuned head --data-dir DIR --walks 0.03 0.1 0.3
"""

import argparse
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import loren_jax
from benchmarks.evidence.methods import DEFAULTS, Method, along_inputs
from benchmarks.evidence.prompted import prompted_task
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.runs import alone, together
from benchmarks.evidence.tasks import head_task, language_task
from benchmarks.record import RESULTS
from loren_jax.pacing import automatic
from loren_jax.walk import LONGEST

FILE = RESULTS / "research_untuned.jsonl"
SETTINGS = {
    "head": (("sst2", "cola"), None, 6000, 40),
    "close": (("sst2",), None, 3000, 40),
    "short": (("sst2",), None, 600, 20),
    "language": (("sst2",), 1, 1800, 24),
    "prompted": (("sst2",), 1, 2400, 40),
}
DIRECTIONS = {
    "mezo": 3,
    "loren": 6,
    "inputs": 6,
    "first 16": 6,
    "zo_muon": 5,
    "mezo_adam": 3,
    "lozo": 3,
    "hizoo": 2,
    "tezo": 3,
    "subzero": 3,
    "r_adazo": 3,
    "one pair": 1,
}


ALONG: dict[str, dict[str, Any]] = {
    "inputs": {"count": 64, "power": 1.0},
    "first 16": {"count": 16},
}
"""Directions along the inputs of large matrices."""


def chance_of(setting: str) -> float:
    """What knowing nothing costs: of two classes, but of the language model."""
    return math.inf if setting == "language" else math.log(2)


def contestant(
    name: str,
    rank: Any,
    steps: int,
    batches: int,
    chance: float = math.inf,
    longest: float = LONGEST,
) -> Method:
    """The method at an automatic rate; what a run calls its rate is the walk."""
    count = DIRECTIONS[name]
    factory = {"one pair": "mezo"}.get(name, name)
    if name in ALONG:
        inputs = {} if (name, rank) == ("inputs", None) else {"rank": rank, **ALONG[name]}
        base = along_inputs(count, batches, **inputs)
        knobs = {"num_directions": count, "rank": rank}
        CONTESTANTS[name, rank] = loren_jax.input_subspace, knobs

        def make(walk: Any, key: Any, factors: Any = MappingProxyType({})) -> Any:
            given = lambda rate, **knobs: loren_jax.input_subspace(rate, factors, **knobs)
            return automatic(
                given,
                steps,
                walk=walk,
                chance=chance,
                longest=longest,
                num_directions=count,
                rank=rank,
                key=key,
                perturbation_scale=1e-3,
            )

        return base._replace(make=make)
    knobs = {"num_directions": count, **DEFAULTS.get(factory, {})}
    if name == "loren":
        knobs["momentum"] = None
    if factory in ("mezo", "loren", "mezo_adam", "r_adazo"):
        knobs["rank"] = rank
    knobs.pop("vector_learning_rate", None)

    CONTESTANTS[name, rank] = getattr(loren_jax, factory), knobs

    def make(walk: Any, key: Any) -> Any:
        make = getattr(loren_jax, factory)
        return automatic(make, steps, walk=walk, chance=chance, longest=longest, key=key, **knobs)

    cost = make(1.0, 0).passes
    return Method(make, lambda step: cost)


def found_walks(
    options: Any, name: str, rank: Any, budget: int, evaluations: int, data: str, task_of: Any
) -> dict[str, Any]:
    """One run a seed, each at the walk that its parameters bear."""
    runs, walks, longest, cost = [], [], [], 0
    steps = batches = None
    chance = chance_of(options.setting)
    for seed in options.seeds:
        task = task_of(data, seed)
        if steps is None:
            batches = task.examples // task.batch_size
            steps = contestant(name, rank, 1, batches).steps_for(budget / evaluations) * evaluations
            method = contestant(name, rank, steps, batches, chance)
        given = method.prepare(task) if method.prepare else {}
        made = CONTESTANTS[name, rank]
        batch = lambda number, task=task, seed=seed: task.batch(seed, number)
        found = loren_jax.measure_walk(
            task.loss,
            task.params,
            batch,
            made[0],
            steps=steps,
            key=seed,
            chance=chance,
            **made[1],
            **given,
        )
        walks.append(found.walk)
        longest.append(found.longest)
        method = contestant(name, rank, steps, batches, chance, found.longest)
        cost = found.passes
        length = {"budget": budget, "evaluations": evaluations}
        runs.append(alone(task, method, found.walk, seed, **length))
    return {
        "walk": "endured", "seeds": options.seeds, "walks": rounded(walks, 3),
        "longest": rounded(longest, 3), "extra passes": cost,
        "mean": rounded([r.mean_loss for r in runs]),
        "last": rounded([r.dev["loss"][-1] for r in runs]),
        "curves": [rounded(r.dev["loss"], 4) for r in runs],
        "passes": runs[0].passes.tolist(),
    }  # fmt: skip


CONTESTANTS: dict[Any, Any] = {}
"""Factory and knobs by method and rank."""


def main() -> None:
    """Measures what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model-file", type=Path)
    parser.add_argument(
        "--methods", nargs="+", default=["mezo", "loren", "inputs", "zo_muon", "mezo_adam"]
    )
    parser.add_argument("--walks", nargs="+", type=float, help="none: what `measure_walk` finds")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--variant", default="")
    options = parser.parse_args()
    names, rank, budget, evaluations = SETTINGS[options.setting]
    rows, made = Rows(FILE), {}

    def task_of(data, seed):
        if (data, seed) not in made:
            if options.setting == "language":
                made[data, seed] = language_task(
                    options.model_file, seed, data_dir=options.data_dir
                )
            elif options.setting == "prompted":
                made[data, seed] = prompted_task(data, seed, data_dir=options.data_dir)
            else:
                made[data, seed] = head_task(data, seed, data_dir=options.data_dir)
        return made[data, seed]

    length = {"budget": budget, "evaluations": evaluations}
    for name in options.methods:
        for data in names:
            fields = {
                "setting": options.setting,
                "data": data,
                "method": name,
                "variant": options.variant,
            }
            if not options.walks:
                if not rows.has(**fields, walk="endured"):
                    row = found_walks(options, name, rank, budget, evaluations, data, task_of)
                    rows.add(fields | row)
                    print({k: v for k, v in (fields | row).items() if k != "curves"}, flush=True)
                continue
            walks = [w for w in options.walks if not rows.has(**fields, walk=w)]
            if not walks:
                continue
            tasks = [task_of(data, s) for s in options.seeds]
            batches = tasks[0].examples // tasks[0].batch_size
            cost = contestant(name, rank, 1, batches)
            steps = cost.steps_for(budget / evaluations) * evaluations
            method = contestant(name, rank, steps, batches, chance_of(options.setting))
            if options.setting in ("head", "close", "short"):
                found = together(tasks, method, walks, options.seeds, **length)
            else:
                pairs = list(zip(tasks, options.seeds, strict=False))
                found = [[alone(t, method, w, s, **length) for t, s in pairs] for w in walks]
            for walk, runs in zip(walks, found, strict=False):
                means = [r.mean_loss for r in runs]
                last = [float(r.dev["loss"][-1]) for r in runs]
                rows.add(
                    fields
                    | {
                        "walk": walk,
                        "seeds": options.seeds,
                        "mean": rounded(means),
                        "last": rounded(last),
                        "curves": [rounded(r.dev["loss"], 4) for r in runs],
                        "passes": runs[0].passes,
                    }
                )
                print(
                    options.setting,
                    data,
                    name,
                    options.variant,
                    walk,
                    f"mean {np.mean(means):.4f} last {np.mean(last):.4f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
