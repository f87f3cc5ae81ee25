"""Loss and accuracy against forward passes: every method at equal budgets, rates tuned alike.

Six settings, one a command; rows go to `results/queries_to_target.jsonl`, and what is there is
not run again. `python -m benchmarks tables` makes the tables and pictures of them.

* head: MiniLM on SST-2 and CoLA, protocol `clean`, the head alone. The encoder is frozen, so its
  features are computed once: the losses are those of the whole forward pass to rounding, which is
  checked and recorded. Batches of 32.
* close: the head on SST-2 again, a few methods, ten seeds, scored every 24 passes: what is reached
  within a few hundred passes. `along the inputs` sees all training rows once before it starts,
  without their labels: these passes count.
* race: the same, but the rate is the one with the fewest passes to a dev loss of 0.54 on the tuning
  seeds (about 60 % of AdamW's fall): how soon each method can be there, not how well it ends.
* language: a language model of 260,000 parameters that has read stories, on sentences of SST-2;
  all parameters, rank-1 directions where a method has the choice, batches of 8 x 32 tokens.
* prompted: SmolLM2 (135 million parameters) with the prompt of SST-2, protocol `clean`; trained is
  what follows the last attention, 3 million numbers, as two vectors a text are then all that a loss
  needs: they are computed once, and the difference from the whole forward pass is recorded.
  Rank-1 directions where a method has the choice, batches of 16.
* encoder: MiniLM on SST-2, protocol `clean`, all parameters, the same directions, batches of
  16 x 32 tokens.

Learning rates: `evidence.tuning`, with the seeds 100, 101, ... of their own: they draw training and
dev rows, the head, batches and noise anew. Reported seeds count from 0. Tuning runs are as long as
reported ones: a rate that is best for a third of the budget is too large for all of it (MeZO in
`language`: 3.80 nats instead of 3.61). `--tuning-share` makes them shorter all the same.

    python -m benchmarks queries_to_target head --data-dir DIR
    python -m benchmarks queries_to_target close --data-dir DIR
    python -m benchmarks queries_to_target race --data-dir DIR
    python -m benchmarks queries_to_target language --data-dir DIR --model-file stories260K.bin
    python -m benchmarks queries_to_target prompted --data-dir DIR
    python -m benchmarks queries_to_target encoder --data-dir DIR
"""

import argparse
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from benchmarks.evidence.methods import Method, methods
from benchmarks.evidence.prompted import difference, prompted_task
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.runs import Run, alone, together
from benchmarks.evidence.tasks import Task, encoder_task, head_task, language_task
from benchmarks.evidence.tuning import choose
from benchmarks.record import RESULTS

FILE = RESULTS / "queries_to_target.jsonl"


HEADS = {"head": "", "close": ", scored closely", "race": ", rates for the target"}
"""Settings that train the head alone, and what they add to the task's name."""


class Setting(NamedTuple):
    """What differs between the settings; the options replace the numbers.

    Attributes:
      tasks: names of the data.
      rank: of the directions, where a method has the choice.
      budget: forward passes of a reported run.
      evaluations: of a run.
      tuning_share: share of the budget that a tuning run gets.
      tuning_seeds: how many.
      seeds: how many are reported.
      low, high: first range of the grid, by method; numbers as in `evidence.tuning`.
      stacked: whether runs go side by side.
      names: methods; None for all that make sense.
      target: a dev loss; if given, the rate is chosen by the passes to it.
    """

    tasks: tuple[str, ...]
    rank: int | None
    budget: int
    evaluations: int
    tuning_share: float
    tuning_seeds: int
    seeds: int
    ranges: Mapping[str, tuple[int, int]]
    stacked: bool
    names: tuple[str, ...] | None = None
    target: float | None = None

    def judged(self, run: Run) -> float:
        """What a rate is chosen by; less is better."""
        if self.target is None:
            return run.mean_loss
        reached = run.dev["loss"] <= self.target
        return float(run.passes[np.argmax(reached)]) if reached.any() else 2.0 * self.budget


LARGE = (
    "mezo", "loren", "loren, no momentum", "loren, along the inputs", "mezo_adam", "zo_muon",
    "hizoo", "r_adazo", "lozo", "tezo", "subzero", "kerzoo", "lozo_m", "mezo_bcd", "mezo_svrg",
    "adamw, gradients",
)  # fmt: skip
"""Methods on matrices; of a head there are further settings of the same."""

CLOSE = Setting(
    ("sst2",), None, 3000, 125, 1.0, 3, 10, {"": (-7, 0)}, True,
    (
        "adamw, gradients", "mezo", "mezo, one pair", "loren, no momentum",
        "loren, along the inputs", "loren, along the inputs, K 4",
    ),
)  # fmt: skip
SETTINGS = {
    # All rates of the range run at once and cost little, so it is wide.
    "head": Setting(("sst2", "cola"), None, 6000, 40, 1.0, 3, 5, {"": (-8, 1)}, True),
    "close": CLOSE,
    "race": CLOSE._replace(target=0.54),
    "language": Setting(
        ("sst2",), 1, 1800, 24, 1.0, 1, 3,
        {
            "": (-9, -7), "loren": (-11, -9), "mezo_adam": (-8, -6), "zo_muon": (-6, -4),
            "lozo": (-10, -8), "adamw, gradients": (-9, -7), "loren, no momentum": (-9, -7),
            "r_adazo": (-10, -8),
        },
        False,
        LARGE,
    ),
    "prompted": Setting(
        ("sst2",), 1, 2400, 40, 1.0, 2, 5,
        {
            "": (-7, -5), "loren": (-9, -7), "mezo_adam": (-8, -6), "zo_muon": (-5, -3),
            "adamw, gradients": (-9, -7), "r_adazo": (-10, -8),
        },
        False,
        LARGE,
    ),
    "encoder": Setting(
        ("sst2",), 1, 360, 4, 1.0, 1, 3,
        {
            "": (-7, -5), "loren": (-9, -7), "mezo_adam": (-10, -8), "zo_muon": (-6, -4),
            "adamw, gradients": (-10, -8),
        },
        False,
        ("mezo", "loren", "adamw, gradients", "zo_muon", "lozo", "mezo_adam"),
    ),
}  # fmt: skip


def measure(options: argparse.Namespace, setting: Setting, rows: Rows) -> None:
    """All methods on all tasks of a setting, as far as they are not in the rows yet."""
    made: dict[tuple[str, int], Task] = {}

    def task_of(data: str, seed: int) -> Task:
        if (data, seed) not in made:
            made[data, seed] = _task(options, data, seed)
        return made[data, seed]

    tables: dict[float, Mapping[str, Method]] = {}
    for name in options.methods or setting.names or methods(1, 1.0):
        for data in setting.tasks:
            task = task_of(data, 0)
            _describe(options, task, rows)
            vector_rate = _rate_of(rows, task.name, "mezo") if name == "zo_muon" else 1.0
            batches = task.examples // task.batch_size
            table = tables.setdefault(vector_rate, methods(batches, vector_rate, setting.rank))
            one = functools.partial(task_of, data)
            run = _stacked if setting.stacked else _one_by_one
            run(setting, rows, task.name, name, table[name], one)


def _stacked(
    setting: Setting,
    rows: Rows,
    task_name: str,
    name: str,
    method: Method,
    task_of: Callable[[int], Task],
) -> None:
    """Every rate with every seed at once; the tuning seeds choose, the others are reported."""
    if len(rows.where(task=task_name, method=name, kind="run")) >= setting.seeds:
        return
    tuning = [100 + i for i in range(setting.tuning_seeds)]
    seeds = [*tuning, *range(setting.seeds)]
    tasks, runs = [task_of(seed) for seed in seeds], {}

    def scores(rates: Sequence[float]) -> dict[float, float]:
        length = {"budget": setting.budget, "evaluations": setting.evaluations}
        for rate, own in zip(rates, together(tasks, method, rates, seeds, **length), strict=True):
            runs[rate] = dict(zip(seeds, own, strict=True))
        judged = lambda rate, seed: setting.judged(runs[rate][seed])
        return {r: statistics.fmean(judged(r, seed) for seed in tuning) for r in rates}

    low, high = setting.ranges.get(name, setting.ranges[""])
    start = float("inf") if setting.target else _start(tasks[: len(tuning)])
    rate, found = choose(scores, low, high, start=start)
    _choice(rows, task_name, name, rate, found)
    for seed in range(setting.seeds):
        _add(rows, task_name, name, method, rate, seed, runs[rate][seed], tasks[0].metric)


def _one_by_one(
    setting: Setting,
    rows: Rows,
    task_name: str,
    name: str,
    method: Method,
    task_of: Callable[[int], Task],
) -> None:
    """One run after another, each a row."""

    def score(rate: float, seed: int) -> float:
        share = setting.tuning_share
        length = {"budget": round(setting.budget * share)}
        fields = {"task": task_name, "method": name, "kind": "tuning", "rate": rate, "seed": seed}
        fields |= length
        if not rows.has(**fields):
            evaluations = max(1, round(setting.evaluations * share))
            run = alone(task_of(seed), method, rate, seed, **length, evaluations=evaluations)
            rows.add(fields | {"mean loss": run.mean_loss, "seconds": run.seconds})
            print(f"{task_name}: {name}, rate {rate:g}: {run.mean_loss:.4f}", flush=True)
        return rows.where(**fields)[0]["mean loss"]

    def scores(rates: Sequence[float]) -> dict[float, float]:
        tuning = range(100, 100 + setting.tuning_seeds)
        return {r: statistics.fmean(score(r, seed) for seed in tuning) for r in rates}

    low, high = setting.ranges.get(name, setting.ranges[""])
    tuning = [task_of(100 + i) for i in range(setting.tuning_seeds)]
    rate, found = choose(scores, low, high, start=_start(tuning))
    if not rows.has(task=task_name, method=name, kind="choice", rate=rate):
        _choice(rows, task_name, name, rate, found)
    for seed in range(setting.seeds):
        if rows.has(task=task_name, method=name, kind="run", seed=seed, rate=rate):
            continue
        length = {"budget": setting.budget, "evaluations": setting.evaluations}
        task = task_of(seed)
        run = alone(task, method, rate, seed, **length)
        _add(rows, task_name, name, method, rate, seed, run, task.metric)


def _start(tasks: Sequence[Task]) -> float:
    """Mean dev loss of the untrained parameters."""
    return statistics.fmean(float(jax.jit(t.score)(t.params, t.dev)["loss"]) for t in tasks)


def _choice(rows: Rows, task: str, name: str, rate: float, found: Mapping[float, float]) -> None:
    rates = sorted(found)
    row = {"task": task, "method": name, "kind": "choice", "rate": rate, "rates": rates}
    rows.add(row | {"mean losses": rounded([found[r] for r in rates])})


def _add(
    rows: Rows, task: str, name: str, method: Method, rate: float, seed: int, run: Run, metric: str
) -> None:
    curves = {f"dev {key}": rounded(run.dev[key]) for key in dict.fromkeys(("loss", metric))}
    rows.add(
        {
            "task": task, "method": name, "kind": "run", "rate": rate, "seed": seed,
            "metric": metric,
            "passes a step": method.mean_passes,
            "test": {key: rounded([value])[0] for key, value in run.test.items()},
            "selected at": run.passes[run.best],
            "seconds": run.seconds,
            "passes": run.passes, **curves,
        }
    )  # fmt: skip
    print(f"{task}: {name}, rate {rate:g}, seed {seed}: test {run.test}", flush=True)


def _rate_of(rows: Rows, task: str, name: str) -> float:
    chosen = rows.where(task=task, method=name, kind="choice")
    if not chosen:
        raise SystemExit(f"{task}: run {name} first, its learning rate is needed")
    return chosen[-1]["rate"]


def _describe(options: argparse.Namespace, task: Task, rows: Rows) -> None:
    """A row about the task, and for the head how far cached features are from the whole pass."""
    if rows.has(task=task.name, kind="task"):
        return
    floor = jax.tree.map(float, jax.jit(task.score)(task.params, task.test))
    row = {"task": task.name, "kind": "task", "untrained test": floor, **task.facts}
    if options.setting in HEADS:
        row["largest difference of a loss"] = _difference(options, task)
    if options.setting == "prompted":
        data = task.name.split(",")[0]
        row["largest difference of a loss"] = difference(data, 0, task, options.data_dir)
    rows.add(row)


def _difference(options: argparse.Namespace, task: Task) -> float:
    """The largest difference between losses of batches, features cached or not."""
    data = task.name.split(",")[0]
    whole = encoder_task(data, 0, data_dir=options.data_dir, batch_size=32, max_length=128)
    pairs = [
        (float(jax.jit(whole.loss)(whole.params, whole.batch(0, step))),
         float(task.loss(task.params, task.batch(0, step))))
        for step in range(8)
    ]  # fmt: skip
    return float(np.max(np.abs(np.subtract(*zip(*pairs, strict=True)))))


def _task(options: argparse.Namespace, data: str, seed: int) -> Task:
    if options.setting in HEADS:
        task = head_task(data, seed, data_dir=options.data_dir)
        return task._replace(name=task.name + HEADS[options.setting])
    if options.setting == "prompted":
        return prompted_task(data, seed, data_dir=options.data_dir)
    if options.setting == "encoder":
        return encoder_task(data, seed, data_dir=options.data_dir)
    return language_task(options.model_file, seed, data=data, data_dir=options.data_dir)


def main() -> None:
    """Measures one setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--model-file", type=Path, help="language: a llama2.c file")
    parser.add_argument("--methods", nargs="+", help="instead of the setting's")
    parser.add_argument("--out", type=Path, default=FILE)
    numbers = ("budget", "evaluations", "seeds", "tuning_seeds")
    for number in numbers:
        parser.add_argument(f"--{number.replace('_', '-')}", type=int)
    parser.add_argument("--tuning-share", type=float)
    options = parser.parse_args()
    given = {k: v for k, v in vars(options).items() if k in (*numbers, "tuning_share") and v}
    measure(options, SETTINGS[options.setting]._replace(**given), Rows(options.out))


if __name__ == "__main__":
    main()
