"""Every default that changes what a method learns, against other values: is it a good one?

One knob at a time is moved from its default, the learning rate tuned anew for each value
(`evidence.tuning`, in steps of 1.8 and with seeds of its own), and the mean dev loss over the run
compared with that of the default, seed by seed, at equal forward passes. What changes only where or
how fast a step is computed (`chunk_size`, `evaluation`), what tells a matrix from a vector
(`matrix_axes`) and the key have no best value and are not here.

* head: MiniLM's head on SST-2 on cached features (`evidence.tasks.head_task`), 770 numbers; knobs
  that do not depend on the shapes of matrices.
* prompted: SmolLM2 with a prompt (`evidence.prompted`), matrices of 576 x 576 and 576 x 1536; knobs
  of rank and of how long a subspace lasts. LOREN and MeZO have rank-1 directions there; for rank-1
  against full Gaussian ones see `ablations.py ranks`.
* language: a language model of 260,000 parameters; the order of blocks.

    python -m benchmarks defaults head --data-dir DIR
    python -m benchmarks defaults prompted --data-dir DIR
    python -m benchmarks defaults language --data-dir DIR --model-file stories260K.bin
"""

import argparse
import functools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.evidence.cells import ablated
from benchmarks.evidence.methods import Method, along_inputs, method, svrg
from benchmarks.evidence.prompted import prompted_task
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.runs import Run, alone, together
from benchmarks.evidence.tasks import Task, head_task, language_task
from benchmarks.evidence.tuning import choose, fine_rate
from benchmarks.record import RESULTS

FILE = RESULTS / "defaults.jsonl"
NEVER = 10**6
"""Steps, more than any run has."""

Values = Mapping[str, Sequence[Any]]

SCALES = {"perturbation_scale": (1e-4, 1e-2, 0.1)}
DECAYS = {"weight_decay": (1e-3, 1e-2, 0.1)}
ADAM = {"b1": (0.0, 0.99), "b2": (0.9, 0.99, 0.9999), "eps": (1e-6, 1e-4, 1e-2)}

HEAD: Mapping[str, Values] = {
    "loren": {
        "num_directions": (2, 4, 16),
        "damping": (0.01, 1.0, 10.0),
        "covariance_learning_rate": (0.0, 0.1, 10.0),
        "covariance": ("frozen", "isotropic"),  # this and the next are no knobs: see `ablated`
        "structure": ("tiled",),
        "momentum": (None, 0.5, 0.99),
        **SCALES,
        **DECAYS,
    },
    "mezo": {"num_directions": (3, 8), "momentum": (0.9,), **SCALES, **DECAYS},
    "mezo_adam": ADAM,
    "r_adazo": ADAM,
    "mezo_svrg": {"every": (5, 10), "full_learning_rate": (1.0, 30.0)},
    "hizoo": {
        "smoothing": (1e-6, 1e-4, 1e-2),
        "bounds": ((0.1, 10.0), (1e-6, 1e6)),
        "use_same_diagonal": (True,),
    },
    "kerzoo": {
        "half_width": (0.25, 1.0),
        "kernel": ("linear", "quintic"),
        "constant": (0.5, 2.0),
    },
    "loren, along the inputs": {"count": (2, 5, 20, 64), "power": (0.5, 1.0)},
}
PROMPTED: Mapping[str, Values] = {
    "loren": {"rank": (4,), "num_directions": (2, 16), "perturbation_scale": (1e-4, 1e-2)},
    "mezo": {"rank": (4,), "num_directions": (3,)},
    "lozo": {"rank": (1, 8), "every": (10, 200), "factor_scale": ("rank",)},
    "lozo_m": {"momentum": (0.5, 0.99)},
    "subzero": {"rank": (8, 64), "every": (100, NEVER)},
    "tezo": {"rank": (8, 128), "momentum": (0.9,)},
    "zo_muon": {
        "rank": (16,),
        "every": (20,),
        "num_directions": (8,),
        "vector_learning_rate": (1e-3,),
    },
    "loren, along the inputs": {"count": (16, 128), "power": (0.0, 0.5)},
}
LANGUAGE: Mapping[str, Values] = {"mezo_bcd": {"order": ("cyclic", "ascending")}}


class Setting(NamedTuple):
    """A problem, and the knobs that are moved on it.

    Attributes:
      knobs: values by method and knob.
      budget: forward passes of a run.
      evaluations: of a run.
      tuning: seeds that choose rates.
      seeds: seeds that are reported.
      low: number of the first rate, by method.
      rates: how many are run first.
      stacked: whether all rates and seeds run side by side.
    """

    knobs: Mapping[str, Values]
    budget: int
    evaluations: int
    tuning: Sequence[int]
    seeds: Sequence[int]
    low: Mapping[str, int]
    rates: int
    stacked: bool


SETTINGS = {
    "head": Setting(HEAD, 3000, 40, (100, 101, 102), range(5), {"": -15}, 16, True),
    "prompted": Setting(
        PROMPTED, 1200, 20, (100,), range(3),
        {"": -13, "loren": -17, "zo_muon": -8, "loren, along the inputs": -13}, 4, False,
    ),
    "language": Setting(LANGUAGE, 1200, 20, (100,), range(3), {"": -17}, 4, False),
}  # fmt: skip


def variants(setting: Setting, only: Sequence[str] | None) -> Iterator[tuple[str, str, Any]]:
    """Method, knob and value: of each method first the default alone, with no knob."""
    for name, knobs in setting.knobs.items():
        if only and name not in only:
            continue
        yield name, "", None
        for knob, values in knobs.items():
            yield from ((name, knob, value) for value in values)


BASES: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("prompted", "loren"): {"rank": 1},
    ("prompted", "mezo"): {"rank": 1},
    ("prompted", "loren, along the inputs"): {"count": 64, "power": 1.0},
}
"""What a setting has in place of a default."""


def contestant(name: str, knobs: Mapping[str, Any], batches: int) -> Method:
    """A method with everything at its default but `knobs`.

    Args:
      name: of the method.
      knobs: what is moved.
      batches: minibatches that hold all training rows.
    """
    if name == "loren, along the inputs":
        return along_inputs(6, batches, **knobs)
    if name == "mezo_svrg":
        return _svrg(knobs, batches)
    own = dict(knobs)
    if covariance := own.pop("covariance", None) or own.pop("structure", None):
        return ablated(covariance)
    number = own.pop("num_directions", {"loren": 6, "zo_muon": 4}.get(name, 1))
    return method(name, number, **own)


def _svrg(knobs: Mapping[str, Any], batches: int) -> Method:
    """`full_learning_rate` is a multiple of the learning rate here, as the default is one (10)."""
    own = dict(knobs)
    share = own.pop("full_learning_rate", None)
    plain = svrg(own.pop("every", 2), batches, **own)
    if share is None:
        return plain
    make = lambda rate, key: plain.make(rate, full_learning_rate=share * rate, key=key)
    return plain._replace(make=make)


def measure(options: argparse.Namespace, setting: Setting, rows: Rows) -> None:
    """One row a variant."""

    @functools.cache
    def task_of(seed: int) -> Task:
        return _task(options, seed)

    name = task_of(setting.seeds[0]).name
    for own, knob, value in variants(setting, options.methods):
        fields = {"task": name, "method": own, "knob": knob, "value": _written(value)}
        if rows.has(**fields):
            continue
        task = task_of(setting.seeds[0])
        moved = {**BASES.get((options.setting, own), {}), **({knob: value} if knob else {})}
        made = contestant(own, moved, task.examples // task.batch_size)
        run = _side_by_side if setting.stacked else _one_by_one
        rate, runs = run(setting, own, made, task_of)
        losses = [run.mean_loss for run in runs]
        last = [run.dev["loss"][-1] for run in runs]
        found = {
            "rate": rate, "seeds": list(setting.seeds), "budget": setting.budget,
            "mean dev loss": rounded(losses), "last dev loss": rounded(last),
        }  # fmt: skip
        rows.add(fields | found)
        print(*fields.values(), f"rate {rate:g}: {statistics.fmean(losses):.4f}", flush=True)


def _written(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else "never" if value == NEVER else value


def _low(setting: Setting, name: str) -> int:
    return setting.low.get(name, setting.low[""])


def _start(tasks: Sequence[Task]) -> float:
    return statistics.fmean(float(jax.jit(t.score)(t.params, t.dev)["loss"]) for t in tasks)


def _side_by_side(
    setting: Setting, name: str, made: Method, task_of: Callable[[int], Task]
) -> tuple[float, list[Run]]:
    seeds = (*setting.tuning, *setting.seeds)
    tasks, runs = [task_of(seed) for seed in seeds], {}

    def scores(rates: Sequence[float]) -> dict[float, float]:
        length = {"budget": setting.budget, "evaluations": setting.evaluations}
        for rate, own in zip(rates, together(tasks, made, rates, seeds, **length), strict=True):
            runs[rate] = dict(zip(seeds, own, strict=True))
        return {r: statistics.fmean(runs[r][s].mean_loss for s in setting.tuning) for r in rates}

    low, start = _low(setting, name), _start(tasks[: len(setting.tuning)])
    rate, _ = choose(scores, low, low + setting.rates - 1, start=start, rate=fine_rate)
    return rate, [runs[rate][seed] for seed in setting.seeds]


def _one_by_one(
    setting: Setting, name: str, made: Method, task_of: Callable[[int], Task]
) -> tuple[float, list[Run]]:
    length = {"budget": setting.budget, "evaluations": setting.evaluations}

    def scores(rates: Sequence[float]) -> dict[float, float]:
        one = lambda r, seed: alone(task_of(seed), made, r, seed, **length).mean_loss
        return {r: statistics.fmean(one(r, s) for s in setting.tuning) for r in rates}

    low, start = _low(setting, name), _start([task_of(seed) for seed in setting.tuning])
    rate, _ = choose(scores, low, low + setting.rates - 1, start=start, rate=fine_rate)
    return rate, [alone(task_of(s), made, rate, s, **length) for s in setting.seeds]


def _task(options: argparse.Namespace, seed: int) -> Task:
    if options.setting == "head":
        return head_task("sst2", seed, data_dir=options.data_dir)
    if options.setting == "prompted":
        return prompted_task("sst2", seed, data_dir=options.data_dir)
    return language_task(options.model_file, seed, data_dir=options.data_dir)


def main() -> None:
    """Measures one setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model-file", type=Path, help="language: a llama2.c file")
    parser.add_argument("--methods", nargs="+", help="instead of all")
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args()
    measure(options, SETTINGS[options.setting], Rows(options.out))


if __name__ == "__main__":
    main()
