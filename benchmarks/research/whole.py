"""Whole models by forward passes: every parameter of MiniLM, and of SmolLM2 with a prompt.

SST-2, 512 training rows of protocol `clean`, without a learning rate (`loren_jax.fit`), or with the
`--walks` that are given instead of those that it finds. Six passes a step, directions of rank 1 for
every matrix. MiniLM: 12.4 million numbers in use, 16 texts of 16 tokens a batch, 12,000 passes, or
3,000 for the new head alone, whose inputs are computed once, and 9,000 then. SmolLM2: 135 million,
8 texts of 24 tokens, 3,000 passes. Each run has a directory of its own and goes on there after an
interruption; seconds are those of its steps, with whatever else the machine did beside them.

    python -m benchmarks whole minilm --data-dir DIR
    python -m benchmarks whole minilm_head_first --data-dir DIR
    python -m benchmarks whole smollm2 --data-dir DIR --methods loren mezo
"""

import argparse
import functools
import itertools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import loren_jax
from benchmarks.evidence.prompted import prompted
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.tasks import Task, blocks, classification, division
from benchmarks.fetched import RUNS
from benchmarks.record import RESULTS
from benchmarks.research import problem
from loren_jax.tasks import batch_indices, tokenize

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


def _minilm(seed: int, data_dir: Path, head: Any = None) -> Task:
    found = problem.load(data_dir, seed)
    if head is not None:
        found = found._replace(params={**found.params, "classifier": head})
    rows = [part.batch() for part in (found.train, found.dev, found.test)]

    def logits(params: Any, inputs: Any) -> jax.Array:
        return found.logits(params, problem.Data(*inputs, labels=None))

    return _task("all-MiniLM-L6-v2", found.params, logits, rows, 16)


def _head_first(seed: int, data_dir: Path) -> Task:
    """MiniLM after 3,000 passes of its head alone, whose inputs are computed once."""
    found = problem.load(data_dir, seed, "head")
    steps = 3000 // PASSES
    batch = lambda step: found.train.rows(batch_indices(seed, step, 512, 16))
    walk = loren_jax.measure_walk(found.loss, found.params, batch, loren_jax.loren, key=seed).walk
    optimizer = loren_jax.automatic(loren_jax.loren, steps, walk=walk, key=seed)
    step = loren_jax.train_step(found.loss, optimizer)
    params = jax.tree.map(jnp.array, found.params)
    state = optimizer.init(params)
    for number in range(steps):
        params, state = step(params, state, batch(number))
    return _minilm(seed, data_dir, params["classifier"])


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


SETTINGS = {
    "minilm": Setting(_minilm, 12_000, 25),
    "minilm_head_first": Setting(_head_first, 9_000, 25),
    "smollm2": Setting(_smollm2, 3_000, 10),
}


def run(
    name: str, method: str, walk: float | None, seed: int, passes: int, data_dir: Path
) -> dict[str, Any]:
    """One run, or the rest of it.

    Args:
      name: of the setting.
      method: see `METHODS`.
      walk: as `loren_jax.automatic` takes it; None for what is found.
      seed: of rows, head, batches and noise.
      passes: of the run, beside those that find the walk.
      data_dir: the folder with `sst2`.

    Returns:
      Dev scores by forward passes, the test scores of the last parameters, and what it cost.
    """
    setting = SETTINGS[name]
    task, steps = setting.make(seed, data_dir), passes // PASSES
    factory, knobs = METHODS[method][0], dict(METHODS[method][1])
    optimizer = functools.partial(factory, **knobs, chunk_size=1, key=seed)
    known = {"chance": math.log(2)}
    if walk is not None:
        knobs |= known | {"chunk_size": 1, "key": seed}
        optimizer, known = loren_jax.automatic(factory, steps, walk=walk, **knobs), {}
    score = jax.jit(task.score)

    def scores(params: Any) -> dict[str, float]:
        return jax.tree.map(float, score(params, task.dev))

    directory = RUNS / "whole" / f"{name}-{method}-{walk}-{seed}-{passes}"
    fitted = loren_jax.fit(
        task.loss,
        task.params,
        functools.partial(task.batch, seed),
        optimizer=optimizer,
        directory=directory,
        steps=steps,
        evaluate=scores,
        **known,
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
    parser.add_argument("--walks", nargs="+", type=float, default=[None])
    parser.add_argument("--passes", type=int, help="of a run; as it is described by default")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    rows, passes = Rows(FILE), options.passes or SETTINGS[options.setting].passes
    for seed, method, walk in itertools.product(options.seeds, options.methods, options.walks):
        own = {"setting": options.setting, "method": method, "walk": walk, "seed": seed}
        own |= {"planned": passes}
        if not rows.has(**own):
            rows.add(own | run(options.setting, method, walk, seed, passes, options.data_dir))
            print(rows.rows[-1], flush=True)


if __name__ == "__main__":
    main()
