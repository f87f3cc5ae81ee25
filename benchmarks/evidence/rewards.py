"""Language models that learn from what their answers are worth, by LOREN, by pairs and by MeZO.

* style: stories260K goes on with the beginning of a story; the reward is 1 where a park occurs.
* brevity: SmolLM2-135M-Instruct is to say in one word whether a real movie review is positive; the
  reward is one over the number of its words.
* countdown: SmolLM2-135M-Instruct makes a number of three others; the reward is 0.1 for the form,
  and 1 more if it is right.

The methods have the same rollouts: LOREN asks 16 models some prompts, pairs ask 8 models and their
mirror images as many, MeZO asks one pair eight times as many. All perturb by rank 1. In style the
rate of each is the best of a grid by one run of another seed; SmolLM2 has one rate, which LOREN was
seen to learn with, and of which MeZO has a third, as in style. Each run begins with the untrained
model's greedy answers to prompts that are never trained on, and ends with the trained one's. Beside
them stands the best of many models that LOREN would ask, at its scale and at thrice that, for as
many answers, and the vote of the best five; and LOREN and MeZO without a learning rate.

    python -m benchmarks rewards style --stories stories260K     # as llama2c.py writes it
    python -m benchmarks rewards brevity --seconds 200           # again and again, until it is done
    python -m benchmarks rewards table

A call takes up what the last one left: runs go on where they stopped (`--seconds`), rows that are
there are not made again. Speed and memory are in `reward_speed.py`, what common noise gains in
`reward_noise.py`.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.evidence.reward_tables import rewards as reward_table
from benchmarks.evidence.rows import Rows
from benchmarks.fetched import RUNS, reviews, smollm2
from benchmarks.record import RESULTS
from loren_jax.reports import read_metrics
from loren_jax.tasks.countdown import puzzles
from loren_jax.train import LorenOptions, MezoOptions, TrainRewardConfig, resume, train

FILE = RESULTS / "rewards.jsonl"
METHODS = ("LOREN", "pairs", "MeZO")
SEARCHES = {"best of many": 1, "best of many, farther": 3}
"""And how far they go, in scales of the methods."""

NO_RATE = ", no rate"
UNTUNED = tuple(f"{method}{NO_RATE}" for method in ("LOREN", "MeZO"))
"""Without a learning rate."""

SEEDS, TUNING = (0, 1, 2), 100
NAMES = (
    *("Lily", "Tim", "Ben", "Sue", "Tom", "Mia", "Max", "Anna", "Sam", "Jack", "Lucy", "Amy"),
    *("Bob", "Jane", "Leo", "Ella", "Dan", "Kate", "Fred", "Rose", "Nick", "Emma", "Joe", "Zoe"),
)
KINDS = ("girl", "boy", "bear", "cat", "bird")
OPENINGS = (
    "Once upon a time, there was a little {0} named {1}.",
    "One day, a {0} named {1} was very happy.",
    "{1} was a happy {0}.",
    "There was a {0} who liked to play. The {0} was called {1}.",
    "One sunny day, {1} the {0} woke up.",
)


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        rows: Its prompts, as rows of a data set.
        reward: As `--reward` takes it.
        options: Of a `TrainRewardConfig`.
        prompts: A step of LOREN.
        steps: Of each run.
        scale: Of the perturbations.
        grid: Rates to choose from, by method.
        looks: Evaluations of each run behind the first.
        seeds: Of the runs.
    """

    rows: Callable[[], list[dict[str, Any]]]
    reward: str
    options: dict[str, Any]
    prompts: int
    steps: int
    scale: float
    grid: dict[str, tuple[float, ...]]
    looks: int = 5
    seeds: tuple[int, ...] = SEEDS


def stories() -> list[dict[str, Any]]:
    """600 beginnings of stories."""
    return [
        {"prompt": opening.format(kind, name)}
        for opening in OPENINGS
        for kind in KINDS
        for name in NAMES
    ]


def questions() -> list[dict[str, Any]]:
    """Short reviews with what is asked about them."""
    lines = [line.split("\t") for line in reviews(RUNS).read_text().splitlines()[1:]]
    short = [text for text, _ in lines if 10 <= len(text) <= 24]
    system = {"role": "system", "content": "Answer in one word."}
    asked = lambda text: {"role": "user", "content": f"{text} Positive or negative?"}
    return [{"messages": [system, asked(text)]} for text in short]


def games() -> list[dict[str, Any]]:
    """Countdown puzzles of three numbers."""
    return [
        {"prompt": puzzle.prompt, "numbers": list(puzzle.numbers), "target": puzzle.target}
        for puzzle in puzzles(600, numbers=3)
    ]


STORIES: dict[str, Any] = {
    "max_new_tokens": 32,
    "template": "none",
    "temperature": 1.0,
    "held_out_examples": 200,
    "eval_batch_size": 100,
}
CHAT: dict[str, Any] = {"max_new_tokens": 8, "held_out_examples": 64, "eval_batch_size": 64}
TASKS = {
    "style": Task(
        stories,
        r"regex:\b[Pp]ark\b",
        STORIES,
        prompts=8,
        steps=150,
        scale=0.01,
        grid=dict.fromkeys(METHODS, (3e-5, 1e-4, 3e-4)),
    ),
    "brevity": Task(
        questions,
        "length:1",
        CHAT,
        prompts=4,
        steps=10,
        scale=2e-3,
        grid={"LOREN": (4e-5,), "pairs": (4e-5,), "MeZO": (1.3e-5,)},
        looks=1,
    ),
    "countdown": Task(
        games,
        "countdown",
        CHAT | {"max_new_tokens": 32},
        prompts=4,
        steps=10,
        scale=2e-3,
        grid={"LOREN": (1e-5,), "pairs": (1e-5,), "MeZO": (3e-6,)},
        looks=1,
        seeds=(0,),
    ),
}
"""By name."""


def optimizer(task: Task, method: str, rate: float | None) -> tuple[Any, int]:
    """A method's options, and its prompts a step, for as many answers as the others'."""
    scale = task.scale * SEARCHES.get(method, 1)
    rate = None if method in UNTUNED else rate or 1.0
    method = method.removesuffix(NO_RATE)
    common: dict[str, Any] = {"perturbation_scale": scale, "learning_rate": rate, "rank": 1}
    if method == "LOREN" or method in SEARCHES:
        return LorenOptions(num_directions=16, **common), task.prompts
    directions = {"pairs": 8, "MeZO": 1}[method]
    return MezoOptions(num_directions=directions, **common), 8 * task.prompts // directions


def run(
    name: str, source: str, method: str, rate: float | None, seed: int, seconds: float | None
) -> Any:
    """A run from where it stopped, for so many seconds; what it left, or None if it is not done."""
    task, folder = TASKS[name], RUNS / "rewards"
    data, output = folder / f"{name}.jsonl", folder / f"{name}-{method}-{rate}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    if not data.exists():
        data.write_text("".join(json.dumps(row) + "\n" for row in task.rows()))
    options, prompts = optimizer(task, method, rate)
    with _stopped(seconds):
        if method not in SEARCHES and (output / "config.json").is_file():
            result = resume(output, steps=task.steps)
        else:
            config = TrainRewardConfig(
                optimizer=options,
                model=source,
                data=str(data),
                reward=task.reward,
                output=output,
                overwrite=True,
                batch_size=prompts,
                steps=task.steps,
                eval_every=task.steps // task.looks,
                checkpoint_every=max(1, task.steps // 4),
                seed=seed,
                baseline="best-of" if method in SEARCHES else None,
                **task.options,
            )
            result = train(config)
    return None if result.summary.interrupted else result


@contextlib.contextmanager
def _stopped(seconds: float | None) -> Iterator[None]:
    """Stops a run as Ctrl-C does."""
    timer = threading.Timer(seconds or 0, os.kill, (os.getpid(), signal.SIGINT))
    if seconds is not None:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def row_of(result: Any, prompts: int) -> dict[str, Any]:
    """What is kept of a run."""
    summary, events = result.summary, read_metrics(result.directory)
    curve = [
        [event["forward_passes"] * prompts, event["reward"]]
        for event in events
        if event["event"] == "evaluation"
    ]
    before, after = summary.before, summary.after
    answers = [part["answers"]["said"][:3] for part in (before, after)]
    return {
        "before": before["reward"],
        "after": after["reward"],
        "error": after["reward_error"],
        "changed": after.get("changed"),
        "tied": after.get("tied"),
        "vote": after.get("vote_reward"),
        "steps": summary.steps,
        "answers": summary.forward_passes * prompts,
        "seconds": summary.training_seconds,
        "curve": curve,
        "said before": answers[0],
        "said after": answers[1],
    }


def learn(name: str, source: str, seconds: float | None, rows: Rows) -> bool:
    """The next run that there is no row of; whether there was one."""
    task = TASKS[name]
    wanted = [
        (method, rate, TUNING)
        for method, grid in task.grid.items()
        for rate in grid
        if len(grid) > 1
    ]
    if all(rows.has(task=name, method=m, rate=r, seed=s) for m, r, s in wanted):
        best: dict[str, float | None] = {
            method: _best(rows, name, method, grid) for method, grid in task.grid.items()
        }
        best |= dict.fromkeys((*SEARCHES, *UNTUNED))
        wanted = [(method, best[method], seed) for seed in task.seeds for method in best]
    for method, rate, seed in wanted:
        where = {"kind": "learning", "task": name, "method": method, "rate": rate, "seed": seed}
        if rows.has(**where):
            continue
        result = run(name, source, method, rate, seed, seconds)
        if result is not None:
            _, prompts = optimizer(task, method, rate)
            rows.add(
                {**where, "scale": task.scale * SEARCHES.get(method, 1), **row_of(result, prompts)}
            )
            print(rows.rows[-1], flush=True)
        return True
    return False


def _best(rows: Rows, name: str, method: str, grid: tuple[float, ...]) -> float:
    if len(grid) == 1:
        return grid[0]
    found = {rate: rows.where(task=name, method=method, rate=rate, seed=TUNING) for rate in grid}
    return max(grid, key=lambda rate: found[rate][0]["after"])


def main() -> None:
    """Learns, or writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*TASKS, "table"])
    parser.add_argument("--stories", help="directory of stories260K, for style")
    parser.add_argument("--seconds", type=float, help="stop the run after so many, to go on later")
    parser.add_argument("--runs", type=int, default=1, help="runs to begin or go on with")
    options = parser.parse_args()
    rows = Rows(FILE)
    if options.what == "table":
        FILE.with_suffix(".md").write_text(reward_table(rows) + "\n")
        print(reward_table(rows))
        return
    source = options.stories if options.what == "style" else str(smollm2())
    for _ in range(options.runs):
        if not learn(options.what, source, options.seconds, rows):
            print("all rows are there")
            return


if __name__ == "__main__":
    main()
