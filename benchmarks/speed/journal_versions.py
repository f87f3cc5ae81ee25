"""A journal replayed by another version of JAX, or on another processor: how far the ends differ.

Runs of 200 steps of several methods on a small network are recorded here and replayed there. The
difference of each leaf is given as a share of the distance that the run has moved it.

    python -m benchmarks journal_versions write DIRECTORY    # with the one version
    python -m benchmarks journal_versions read DIRECTORY     # with the other

Measured: written with jax 0.10.2 and read with 0.12.0.1 on one processor, the same bits for `loren`
of rank 1, `mezo_adam` and `hizoo`; 5.6e-6 at most for full Gaussian `loren`, 4.5e-5 for `zo_muon`.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import loren_jax
from benchmarks.record import save, table
from loren_jax import journal

STEPS = 200
METHODS = {
    "loren, rank 1": journal.Method("loren", {"learning_rate": 1e-4, "rank": 1, "momentum": 0.9}),
    "loren": journal.Method("loren", {"learning_rate": 1e-4, "rank": None}),
    "mezo_adam": journal.Method("mezo_adam", {"learning_rate": 1e-3}),
    "hizoo": journal.Method("hizoo", {"learning_rate": 1e-5}),
    "zo_muon": journal.Method("zo_muon", {"learning_rate": 1e-3, "rank": 4}),
}


def start() -> dict[str, np.ndarray]:
    """Parameters: a stack of matrices, biases, an embedding."""
    draw = np.random.default_rng(0).normal
    shapes = {"kernel": (4, 64, 96), "embedding": (300, 64)}
    drawn = {name: draw(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return {**drawn, "bias": np.zeros((4, 96), np.float32)}


def loss(params: dict[str, jax.Array], tokens: jax.Array) -> jax.Array:
    """Mean square of what a residual network makes of some tokens."""
    x = params["embedding"][tokens]
    for kernel, bias in zip(params["kernel"], params["bias"], strict=True):
        x = x + jnp.tanh(x @ kernel + bias[None])[:, :64]
    return jnp.mean(x**2)


def write(directory: Path) -> None:
    """Records the runs, and where they ended."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, method in METHODS.items():
        optimizer, tokens = method.build(), np.arange(32)
        step = loren_jax.train_step(loss, optimizer)
        params = jax.tree.map(jnp.array, start())
        state = jax.jit(optimizer.init)(params)
        shape = jax.eval_shape(step.probe, params, state, tokens).shape
        header = journal.header(params, shape, method=method)
        (directory / name).unlink(missing_ok=True)
        with journal.create(directory / name, header) as log:
            for number in range(STEPS):
                losses = step.probe(params, state, tokens)
                log.append(number, losses)
                params, state = step.absorb(params, state, losses)
        np.savez(directory / f"{name}.npz", **params)


def read(directory: Path) -> list[dict[str, Any]]:
    """Replays them: one row a method."""
    rows = []
    for name in METHODS:
        again = journal.replay(start(), directory / name)
        ends, errors = np.load(directory / f"{name}.npz"), {}
        for leaf, begun in start().items():
            moved = np.linalg.norm(ends[leaf] - begun)
            errors[leaf] = float(
                np.linalg.norm(ends[leaf] - np.asarray(again.params[leaf])) / moved
            )
        same = all((ends[leaf] == np.asarray(again.params[leaf])).all() for leaf in ends)
        row = {"method": name, "same bits": "yes" if same else "no", **errors}
        rows.append(row | {"differences": "; ".join(again.differences) or "none"})
    return rows


def main() -> None:
    """Writes, or reads, prints and saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("write", "read"))
    parser.add_argument("directory", type=Path)
    options = parser.parse_args()
    if options.action == "write":
        write(options.directory)
        return
    rows = read(options.directory)
    print(table(rows))
    print("saved", save("journal_versions", rows, steps=STEPS))


if __name__ == "__main__":
    main()
