"""Whole models by forward passes: every parameter of MiniLM, and of SmolLM2 with a prompt.

SST-2, 512 training rows of protocol `clean`, without a learning rate (`loren_jax.fit`), or at
`--rates`, which fall to zero over the run. MiniLM: 12.4 million numbers in use, 16 texts of 16
tokens a batch, 12,000 passes. SmolLM2: 135 million, 8 texts of 24 tokens, 3,000 passes. Six passes
a step, directions of rank 1 for every matrix. No part of a model is frozen, so that no part of its
work can be done once. Each run has a directory of its own and goes on there after an interruption;
seconds are those of its steps, with whatever else the machine did beside them.

    python -m benchmarks whole minilm --data-dir DIR
    python -m benchmarks whole smollm2 --data-dir DIR --methods loren mezo
"""

import argparse
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import loren_jax
from benchmarks.evidence.prompted import prompted
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.tasks import Task, blocks, classification, division
from benchmarks.fetched import RUNS
from benchmarks.record import RESULTS
from benchmarks.research import problem
from loren_jax.tasks import tokenize

FILE = RESULTS / "research_whole.jsonl"
METHODS: Mapping[str, tuple[Any, dict[str, Any]]] = {
    "loren": (loren_jax.loren, {"rank": 1}),
    "mezo": (loren_jax.mezo, {"num_directions": 3, "rank": 1}),
    "zo_muon": (loren_jax.zo_muon, {"num_directions": 5}),
}
PASSES = 6
"""Forward passes a step of all methods."""


class Setting(NamedTuple):
    """What differs between the models.

    Attributes:
      make: `(seed, data_dir) -> Task`.
      passes: of a run.
      evaluations: within it.
    """

    make: Callable[[int, Path], Task]
    passes: int
    evaluations: int


def _minilm(seed: int, data_dir: Path) -> Task:
    found = problem.load(data_dir, seed)
    rows = [
        {"inputs": (np.asarray(d.inputs), np.asarray(d.mask)), "labels": np.asarray(d.labels)}
        for d in (found.train, found.dev, found.test)
    ]

    def logits(params: Any, inputs: Any) -> jax.Array:
        return found.logits(params, problem.Data(*inputs, labels=None))

    return _task("all-MiniLM-L6-v2", found.params, logits, rows, 16)


def _smollm2(seed: int, data_dir: Path) -> Task:
    parts, model = division("sst2", seed, data_dir), prompted("sst2")
    rows = []
    for part in (parts.train, parts.validation, parts.test):
        tokens = tokenize(model.tokenizer, part, 24, prompt=model.prompt)
        inputs = np.asarray(tokens.input_ids), np.asarray(tokens.attention_mask)
        rows.append({"inputs": inputs, "labels": np.asarray(tokens.labels)})
    rows[1] = jax.tree.map(lambda x: x[:128], rows[1])
    apply = model.classifier.apply
    logits = lambda params, inputs: apply(params, *inputs)
    return _task("SmolLM2-135M-Instruct, from 4 bits", model.classifier.params, logits, rows, 8)


def _task(model: str, params: Any, logits: Any, rows: list[Any], batch_size: int) -> Task:
    loss, score = classification(logits)
    numbers = sum(leaf.size for leaf in jax.tree.leaves(params))
    facts = {"model": model, "numbers": numbers, "rows": [len(r["labels"]) for r in rows]}
    return Task(
        name=model,
        params=params,
        loss=loss,
        score=score,
        metric="accuracy",
        train=rows[0],
        dev=blocks(rows[1], 32),
        test=blocks(rows[2], 32),
        batch_size=batch_size,
        facts=facts,
    )


SETTINGS = {"minilm": Setting(_minilm, 12_000, 25), "smollm2": Setting(_smollm2, 3_000, 10)}


def run(name: str, method: str, rate: float | None, seed: int, data_dir: Path) -> dict[str, Any]:
    """One run, or the rest of it.

    Args:
      name: of the setting.
      method: see `METHODS`.
      rate: where it begins to fall; None for `fit` without one.
      seed: of rows, head, batches and noise.
      data_dir: the folder with `sst2`.

    Returns:
      Dev scores by forward passes, the test scores of the last parameters, and what it cost.
    """
    setting = SETTINGS[name]
    task, steps = setting.make(seed, data_dir), setting.passes // PASSES
    factory, knobs = METHODS[method]
    optimizer = functools.partial(factory, **knobs, chunk_size=1, key=seed)
    if rate is not None:
        optimizer = optimizer(optax.linear_schedule(rate, 0.0, steps))
    score = jax.jit(task.score)

    def scores(params: Any) -> dict[str, float]:
        return jax.tree.map(float, score(params, task.dev))

    directory = RUNS / "whole" / f"{name}-{method}-{rate}-{seed}"
    fitted = loren_jax.fit(
        task.loss,
        task.params,
        functools.partial(task.batch, seed),
        optimizer=optimizer,
        directory=directory,
        steps=steps,
        evaluate=scores,
        eval_every=steps // setting.evaluations,
        checkpoint_every=steps // setting.evaluations,
    )
    if fitted.summary.steps < steps:  # it was asked to stop
        raise SystemExit(f"{directory} is at step {fitted.summary.steps} of {steps}")
    lines = [json.loads(x) for x in (directory / "metrics.jsonl").read_text().splitlines()]
    dev = list({x["step"]: x for x in lines if "accuracy" in x}.values())
    test = jax.tree.map(float, score(fitted.params, task.test))
    return {
        "passes": [PASSES * x["step"] for x in dev],
        "dev loss": rounded(x["loss"] for x in dev),
        "dev accuracy": rounded(x["accuracy"] for x in dev),
        "test loss": test["loss"],
        "test accuracy": test["accuracy"],
        "seconds": round(fitted.summary.training_seconds),
        **task.facts,
    }


def main() -> None:
    """Measures what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("setting", choices=SETTINGS)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["loren", "mezo"])
    parser.add_argument("--rates", nargs="+", type=float, default=[None])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    rows = Rows(FILE)
    for seed in options.seeds:
        for method in options.methods:
            for rate in options.rates:
                own = {"setting": options.setting, "method": method, "rate": rate, "seed": seed}
                if not rows.has(**own):
                    rows.add(own | run(options.setting, method, rate, seed, options.data_dir))
                    print(rows.rows[-1], flush=True)


if __name__ == "__main__":
    main()
