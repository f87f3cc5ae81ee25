"""Steps of a planned length (`loren_jax.automatic`) over the walk given, or `measure_walk`'s.

Settings, seeds and six passes a step are those of `queries_to_target`; `short` is the head with 600
passes. A variant is a name for what the package did when a row was measured: "four batches" is the
search as it is, RESEARCH.md tells the others. Its tables are made by `python -m benchmarks tables`.

    python -m benchmarks untuned head --data-dir DIR --walks 0.03 0.1 0.3
    python -m benchmarks untuned language --data-dir DIR --model-file stories260K.bin
"""

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import loren_jax
from benchmarks.evidence.methods import DEFAULTS, Method, along_inputs
from benchmarks.evidence.prompted import prompted_task
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.runs import Run, alone, together
from benchmarks.evidence.tasks import Task, head_task, language_task
from benchmarks.record import RESULTS

FILE = RESULTS / "research_untuned.jsonl"


class Setting(NamedTuple):
    """What is trained, and for how long.

    Attributes:
      data: names of its data sets.
      rank: of directions where a method leaves the choice.
      budget: forward passes of a run.
      evaluations: of a run, beside that of the start.
      chance: what knowing nothing costs.
    """

    data: tuple[str, ...]
    rank: int | None
    budget: int
    evaluations: int
    chance: float = math.log(2)

    @property
    def length(self) -> dict[str, int]:
        """Of a run."""
        return {"budget": self.budget, "evaluations": self.evaluations}


SETTINGS = {
    "head": Setting(("sst2", "cola"), None, 6000, 40),
    "close": Setting(("sst2",), None, 3000, 40),
    "short": Setting(("sst2",), None, 600, 20),
    "language": Setting(("sst2",), 1, 1800, 24, math.inf),
    "prompted": Setting(("sst2",), 1, 2400, 40),
}
DIRECTIONS = {
    "mezo": 3,
    "loren": 6,
    "zo_muon": 5,
    "mezo_adam": 3,
    "lozo": 3,
    "hizoo": 2,
    "tezo": 3,
    "subzero": 3,
    "r_adazo": 3,
    "one pair": 1,
    "inputs": 6,
    "first 16": 6,
}
"""Of a step of each method: six passes or, of `zo_muon` and one pair of `mezo`, five and two."""
RANKED = ("mezo", "loren", "mezo_adam", "r_adazo")
"""Methods that take a rank."""
ALONG: Mapping[str, dict[str, Any]] = {
    "inputs": {"count": 64, "power": 1.0},
    "first 16": {"count": 16},
}
"""Directions along the inputs of large matrices; of a head they are ten alike."""


class Untuned(NamedTuple):
    """A method without a rate.

    Attributes:
      factory: of the method.
      knobs: its arguments.
      inputs: what first looks at the inputs and gives more of them, if it is along these.
    """

    factory: Callable[..., Any]
    knobs: dict[str, Any]
    inputs: Method | None = None

    def prepared(self, task: Task) -> dict[str, Any]:
        """Arguments that a task's data give."""
        prepare = self.inputs and self.inputs.prepare
        return prepare(task) if prepare else {}

    def planned(self, setting: Setting, steps: int, longest: float) -> Method:
        """With steps of a planned length; what a run calls its rate is the walk."""
        plan = {"longest": longest, "chance": setting.chance}

        def make(walk: Any, key: Any, **found: Any) -> Any:
            knobs = {**self.knobs, **plan, **found}
            return loren_jax.automatic(self.factory, steps, walk=walk, key=key, **knobs)

        cost = make(1.0, 0).passes
        if self.inputs is None:
            return Method(make, lambda step: cost)
        return self.inputs._replace(make=make)

    def steps(self, setting: Setting) -> int:
        """Of a run."""
        each = setting.budget / setting.evaluations
        return self.planned(setting, 1, 1.0).steps_for(each) * setting.evaluations


def untuned(name: str, setting: Setting, batches: int) -> Untuned:
    """A method by its name; `batches` minibatches hold all training rows."""
    count, rank = DIRECTIONS[name], setting.rank
    if name in ALONG:
        large = {} if name == "inputs" and rank is None else ALONG[name]
        knobs = {"num_directions": count, "rank": rank, "factors": {}}
        inputs = along_inputs(count, batches, rank=rank, **large)
        return Untuned(loren_jax.input_subspace, knobs, inputs)
    factory = "mezo" if name == "one pair" else name
    knobs = {"num_directions": count, **DEFAULTS.get(factory, {})}
    knobs |= {"rank": rank} if factory in RANKED else {}
    knobs |= {"momentum": None} if factory == "loren" else {}
    knobs.pop("vector_learning_rate", None)
    return Untuned(getattr(loren_jax, factory), knobs)


def at_found_walks(
    name: str, setting: Setting, tasks: Sequence[Task], seeds: Sequence[int]
) -> dict[str, Any]:
    """One run a seed, each at the walk that its parameters bear; the fields of its row."""
    method = untuned(name, setting, tasks[0].examples // tasks[0].batch_size)
    steps = method.steps(setting)
    runs, found = [], []
    for task, seed in zip(tasks, seeds, strict=True):
        knobs = {**method.knobs, **method.prepared(task), "key": seed}
        plan = {"steps": steps, "chance": setting.chance, **knobs}
        batch = partial(task.batch, seed)
        found.append(loren_jax.measure_walk(task.loss, task.params, batch, method.factory, **plan))
        planned = method.planned(setting, steps, found[-1].longest)
        runs.append(alone(task, planned, found[-1].walk, seed, **setting.length))
    searched = {
        "walk": "endured",
        "walks": rounded([f.walk for f in found], 3),
        "longest": rounded([f.longest for f in found], 3),
        "extra passes": found[0].passes,
    }
    return searched | scores(runs)


def at_walks(
    name: str,
    setting: Setting,
    tasks: Sequence[Task],
    seeds: Sequence[int],
    walks: Sequence[float],
) -> list[dict[str, Any]]:
    """Runs of all seeds at walks that are given; the fields of a row for each."""
    method = untuned(name, setting, tasks[0].examples // tasks[0].batch_size)
    planned = method.planned(setting, method.steps(setting), loren_jax.walk.LONGEST)
    if setting.rank is None:  # a head, of which all runs fit beside each other
        runs = together(tasks, planned, walks, seeds, **setting.length)
    else:
        pairs = list(zip(tasks, seeds, strict=True))
        runs = [[alone(t, planned, w, s, **setting.length) for t, s in pairs] for w in walks]
    return [{"walk": w} | scores(of) for w, of in zip(walks, runs, strict=True)]


def scores(runs: Sequence[Run]) -> dict[str, Any]:
    """What a row says of the runs of all seeds."""
    return {
        "mean": rounded([r.mean_loss for r in runs]),
        "last": rounded([r.dev["loss"][-1] for r in runs]),
        "curves": [rounded(r.dev["loss"], 4) for r in runs],
        "passes": runs[0].passes.tolist(),
    }


def main() -> None:
    """Measures what is not there yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--model-file", type=Path)
    leading = ["mezo", "loren", "inputs", "zo_muon"]
    parser.add_argument("--methods", nargs="+", choices=DIRECTIONS, default=leading)
    parser.add_argument("--walks", nargs="+", type=float, help="none: what `measure_walk` finds")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--variant", default="four batches")
    options = parser.parse_args()

    @cache
    def task_of(data: str, seed: int) -> Task:
        where = {"data_dir": options.data_dir}
        if options.setting == "language":
            return language_task(options.model_file, seed, **where)
        made = prompted_task if options.setting == "prompted" else head_task
        return made(data, seed, **where)

    rows, setting, seeds = Rows(FILE), SETTINGS[options.setting], options.seeds
    for name in options.methods:
        for data in setting.data:
            own = {"setting": options.setting, "data": data, "method": name}
            own |= {"variant": options.variant}
            missing = [w for w in options.walks or ["endured"] if not rows.has(**own, walk=w)]
            if not missing:
                continue
            tasks = [task_of(data, seed) for seed in seeds]
            found = (
                at_walks(name, setting, tasks, seeds, missing)
                if options.walks
                else [at_found_walks(name, setting, tasks, seeds)]
            )
            for row in found:
                rows.add(own | {"seeds": seeds} | row)
                mean, last = np.mean(row["mean"]), np.mean(row["last"])
                print(*own.values(), row["walk"], f"mean {mean:.4f} last {last:.4f}", flush=True)


if __name__ == "__main__":
    main()
