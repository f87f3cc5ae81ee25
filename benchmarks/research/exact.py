"""Exact where it is free: gradients of the last parts beside forward passes for the rest.

Two problems (`exact_tasks`): `language`, a language model of 260,000 parameters on sentences of
SST-2, 8 x 32 tokens a batch, whose last block and norm are the last part; `tail`, two layers of
MiniLM and a new head on SST-2, 16 x 16 tokens, whose last part is the head, or a layer and the
head. Ways (`exact_ways`): forward passes for all parameters; the last part by AdamW on its gradient
and the rest by forward passes; the last part alone, the rest as it is; gradients of everything.

Directions are of rank 1. Every rate is looked for on seed 100 in factors of three, for the least
dev loss of a run of the whole budget; where there are two rates, first the one of the forward
passes, beside the best one of the last part alone, then that of the gradients.

Equal passes: a gradient of everything counts as three, with `remat` as four, one of the last part
as one and what its backward pass multiplies. Equal time: seconds a step are medians of turns that
all ways take in one process, without the compilation; the time is that of the first way's budget.
Memory: `memory_analysis().temp_size_in_bytes` of one step, parameters and state donated, and the
state.

    python -m benchmarks exact language --data-dir DIR --model-file stories260K.bin
    python -m benchmarks exact tail --data-dir DIR
    python -m benchmarks exact table
"""

import argparse
import functools
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.tuning import choose
from benchmarks.record import RESULTS
from benchmarks.research.exact_table import table
from benchmarks.research.exact_tasks import PROBLEMS, Parted
from benchmarks.research.exact_ways import ALL, Rates, Way, start_of, step_of, steps_of
from benchmarks.timers import Timers

FILE = RESULTS / "research_exact.jsonl"
TUNING, TURNS, STEPS_A_TURN = 100, 9, 4


class Setting(NamedTuple):
    """What differs between the problems.

    Attributes:
      budget: forward passes of a run.
      evaluations: within the budget.
      ways: the first is the one whose time is given to all; the last parts alone come before what
        has other parts beside them.
      exact: numbers of the middle rates of AdamW's first grids, see `evidence.tuning`.
      forward: the same of the forward passes.
      both: whether gradients beside forward passes have a rate of their own; else it is the best
        one of the last part alone.
    """

    budget: int
    evaluations: int
    ways: tuple[Way, ...]
    exact: Mapping[str, int]
    forward: Mapping[str, int]
    both: bool = True


SETTINGS = {
    "language": Setting(
        3600,
        24,
        (
            Way("mezo"),
            Way("loren"),
            Way(exact=ALL),
            Way(exact="block"),
            Way("loren", "block"),
            Way("mezo, one pair", "block"),
        ),
        {ALL: -7, "block": -7},
        {"mezo": -8, "loren": -7, "mezo, one pair": -9},
    ),
    "tail": Setting(
        960,
        12,
        (
            Way("loren"),
            Way(exact="head"),
            Way("loren", "head"),
            Way(exact=ALL),
        ),
        {ALL: -8, "head": -6},
        {"loren": -6},
        both=False,
    ),
}


def frugal(setting: Setting) -> list[Way]:
    """The same trajectories in less memory, of which only the costs are measured."""
    first = setting.ways[0]
    plain = [first._replace(chunk=1, rows=True)]
    gradients = [Way(exact=ALL, remat=True), Way(exact=ALL, remat=True, rows=True)]
    alone = [way for way in setting.ways if way.exact not in (None, ALL) and not way.forward]
    pairs = {way.exact: way for way in setting.ways[::-1] if way.exact and way.forward}
    beside = [pairs[way.exact] for way in alone if way.exact in pairs]
    mixed = [way._replace(chunk=1, rows=True) for way in beside]
    mixed += [way._replace(within=True) for way in beside]
    return plain + gradients + mixed + [way._replace(rows=True) for way in alone]


def costs(name: str, setting: Setting, parted: Parted, rows: Rows) -> None:
    """A row a way: seconds a step in turns with all others, and memory."""
    flags = os.environ.get("XLA_FLAGS", "")
    known = [row["way"] for row in rows.where(problem=name, kind="cost", flags=flags)]
    ways = [way for way in (*setting.ways, *frugal(setting)) if way.name not in known]
    if not ways:
        return
    first = setting.ways[0]
    timers, task = Timers(), parted.task
    forward = jax.jit(task.loss)
    timers.add(None, lambda: [forward(task.params, task.batch(0, 0)) for _ in range(STEPS_A_TURN)])
    for way in dict.fromkeys((first, *ways)):
        _add_steps(timers, way, parted)
    timers.run(TURNS)
    pass_of = statistics.median(timers.seconds[None]) / STEPS_A_TURN
    for way in ways:
        rows.add(
            {
                "problem": name, "kind": "cost", "flags": flags, "way": way.name,
                "passes a step": way.passes(parted),
                "seconds a step": statistics.median(timers.seconds[way]) / STEPS_A_TURN,
                "seconds a pass": pass_of,
                "steps of the first": timers.ratio(way, first, 1)[0],
                "measured passes a step": timers.ratio(way, None, 1)[0],
                **memory(way, parted),
            }
        )  # fmt: skip
        print(rows.rows[-1], flush=True)


def memory(way: Way, parted: Parted) -> dict[str, int]:
    """Bytes of a step beside the parameters."""
    params = parted.task.params
    state = jax.eval_shape(lambda: start_of(way, parted, params, 0))
    batch, rates = parted.task.batch(0, 0), {"exact": 1e-4, "forward": 1e-4}
    step = functools.partial(step_of(way, parted), rates)
    planned = jax.jit(step, donate_argnums=(0, 1)).lower(params, state, batch)
    planned = planned.compile().memory_analysis()
    size = lambda tree: sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
    return {
        "temporary": planned.temp_size_in_bytes,
        "state": size(state),
        "parameters": size(params),
    }


def _add_steps(timers: Timers, way: Way, parted: Parted) -> None:
    """A few steps in one program, each time from where the last ones ended."""
    task, advance = parted.task, _program(way, parted)[0]
    held = {"at": _start(way, parted, 0)}
    rates = {"exact": jnp.float32(1e-5), "forward": jnp.float32(1e-6)}
    order = task.rows(0, 0, STEPS_A_TURN)

    def call() -> Any:
        held["at"] = advance(rates, *held["at"], task.train, order)
        return held["at"]

    timers.add(way, call)


_PROGRAMS: dict[Any, Any] = {}
"""What was compiled, by loss and way, and the problem that keeps the loss alive."""


def _program(way: Way, parted: Parted) -> tuple[Any, Any]:
    key = id(parted.task.score), way
    if key not in _PROGRAMS:
        advance = jax.jit(steps_of(way, parted), donate_argnums=(1, 2))
        _PROGRAMS[key] = advance, jax.jit(parted.task.score), parted
    return _PROGRAMS[key][:2]


def _start(way: Way, parted: Parted, seed: int) -> tuple[Any, Any]:
    params = jax.tree.map(jnp.array, parted.task.params)
    return params, jax.jit(lambda p: start_of(way, parted, p, seed))(params)


def train(
    way: Way, parted: Parted, rates: Rates, seed: int, *, every: int, counted: int, further: int = 0
) -> dict[str, Any]:
    """A run.

    Args:
      way: how.
      parted: the problem of this seed.
      rates: of gradients and of forward passes.
      seed: of batches and noise.
      every: steps between two evaluations.
      counted: evaluations within the budget, beside the one before the start.
      further: evaluations behind it.

    Returns:
      Steps and dev losses at every evaluation, and the test loss where the first of the least
      dev losses within the budget is.
    """
    task, (advance, score) = parted.task, _program(way, parted)
    params, state = _start(way, parted, seed)
    traced = {name: jnp.float32(rate) for name, rate in rates.items()}
    dev, best = [], None
    for number in range(counted + further + 1):
        if number:
            order = task.rows(seed, (number - 1) * every, number * every)
            params, state = advance(traced, params, state, task.train, order)
        dev.append(float(score(params, task.dev)["loss"]))
        if number <= counted and not dev[-1] >= min([math.inf, *dev[:-1]]):
            best = jax.tree.map(np.asarray, params)
    return {
        "steps": [every * i for i in range(counted + further + 1)],
        "dev loss": rounded(dev),
        "test": rounded(jax.tree.map(float, score(best, task.test)).values()),
        "test names": sorted(score(best, task.test)),
    }


class Bench(NamedTuple):
    """A problem and what is known of it."""

    name: str
    setting: Setting
    parted_of: Any
    rows: Rows

    @property
    def passes_between(self) -> float:
        """Forward passes between two evaluations, up to rounding to steps."""
        return self.setting.budget / self.setting.evaluations

    def every(self, way: Way) -> int:
        """Steps between two evaluations."""
        return max(1, round(self.passes_between / way.passes(self.parted_of(0))))

    def least(self, way: Way, rates: Rates) -> float:
        """The least dev loss of a tuning run, which is a row."""
        fields = {"problem": self.name, "kind": "tuning", "way": way.name, "seed": TUNING, **rates}
        if not self.rows.has(**fields):
            length = {"every": self.every(way), "counted": self.setting.evaluations}
            run = train(way, self.parted_of(TUNING), rates, TUNING, **length)
            losses = [x for x in run["dev loss"][1:] if x is not None]
            self.rows.add(fields | {"least": min(losses, default=math.inf), **run})
            print(way.name, rates, self.rows.rows[-1]["least"], flush=True)
        return self.rows.where(**fields)[0]["least"]

    def choice(self, way: Way) -> Rates:
        """The rates of a way, looked for if they are not there yet."""
        fields = {"problem": self.name, "kind": "choice", "way": way.name}
        if not self.rows.has(**fields):
            rates = self._searched(way)
            self.rows.add(fields | {"rates": rates})
        return self.rows.where(**fields)[0]["rates"]

    def _searched(self, way: Way) -> Rates:
        task = self.parted_of(TUNING).task
        start = float(_program(way, self.parted_of(TUNING))[1](task.params, task.dev)["loss"])
        alone = Way(exact=way.exact)
        rates: Rates = {}
        if way.exact and way.forward:
            rates = {"exact": self.choice(alone)["exact"]}

        def best(which: str, middle: int) -> float:
            one = lambda rate: self.least(way, {**rates, which: rate})
            many = lambda grid: {rate: one(rate) for rate in grid}
            return choose(many, middle - 1, middle + 1, start=start)[0]

        if way.forward:
            rates = {**rates, "forward": best("forward", self.setting.forward[way.forward])}
        if way.exact and (self.setting.both or not way.forward):
            known = rates.get("exact")
            middle = (
                self.setting.exact[way.exact] if known is None else round(2 * math.log10(known))
            )
            rates = {**rates, "exact": best("exact", middle)}
        return rates

    def report(self, way: Way, seeds: Sequence[int]) -> None:
        """The runs that count, long enough for the passes and the time of the first way's."""
        rates, every = self.choice(way), self.every(way)
        cost = self.rows.where(problem=self.name, kind="cost", way=way.name, flags="")[0]
        counted = self.setting.evaluations
        steps = counted * self.every(self.setting.ways[0]) / cost["steps of the first"]
        further = max(0, math.ceil(steps / every) - counted)
        for seed in seeds:
            fields = {"problem": self.name, "kind": "run", "way": way.name, "seed": seed}
            if not self.rows.has(**fields):
                length = {"every": every, "counted": counted, "further": further}
                run = train(way, self.parted_of(seed), rates, seed, **length)
                self.rows.add(fields | {"rates": rates, **run})
                print(way.name, seed, rates, min(run["dev loss"]), run["test"], flush=True)


def main() -> None:
    """Measures what is not there yet, or prints the tables of what is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", choices=[*SETTINGS, "table"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model-file", type=Path, help="language: a llama2.c file")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--costs", action="store_true", help="time and memory alone")
    options = parser.parse_args()
    rows = Rows(FILE)
    if options.problem == "table":
        print(table(rows))
        return
    make = PROBLEMS[options.problem]
    parted_of = functools.cache(lambda seed: make(seed, options.data_dir, options.model_file))
    setting = SETTINGS[options.problem]
    costs(options.problem, setting, parted_of(0), rows)
    bench = Bench(options.problem, setting, parted_of, rows)
    for way in () if options.costs else setting.ways:
        bench.report(way, options.seeds)


if __name__ == "__main__":
    main()
