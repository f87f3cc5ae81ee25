"""Along which directions of its inputs does a prompted decoder learn, and until when?

Every matrix after the last attention (`evidence.prompted`), per-example gradients of 768 rows, with
the preference for one answer taken off by a bias that fits the labels' prior: else most of the
signal is that. Along the principal directions of a matrix's inputs, those of the start and those of
the moment: G, the squared mean gradient (unbiased), and S, the mean square of one example's. With
covariance weights q, `(qG)^2 / (2 qS (qG + qS / B))` is what a pass can gain (RESEARCH.md).
Parameters are those of the start and after so many passes of `mezo` and along the inputs.

    python -m benchmarks prompted_inputs --data-dir DIR
"""

import argparse
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import loren_jax
from benchmarks.evidence.methods import along_inputs, method
from benchmarks.evidence.prompted import prompted, prompted_task
from benchmarks.record import save, table
from loren_jax import noise
from loren_jax.objectives import cross_entropy

MATRICES = ("output", "gate", "up", "down")
FIRST = (4, 16, 64, 256)
PASSES = 6
RUNS = {
    "mezo": (lambda batches: method("mezo", 3, rank=1), 0.001),
    "inputs": (lambda batches: along_inputs(6, batches, rank=1, count=64, power=1.0), 0.003),
}
"""Runs by name: the method and its tuned rate."""


def recorded(model: Any, params: Any, inputs: Any) -> dict[str, np.ndarray]:
    """The inputs of every matrix, (N, fan-in)."""
    epsilon = model.classifier.config.rms_norm_eps
    x = inputs["state"] + inputs["gathered"] @ params["output"]["kernel"]
    normed = x / np.sqrt(np.mean(x * x, -1, keepdims=True) + epsilon) * params["mlp_norm"]["scale"]
    gate, up = (normed @ params[name]["kernel"] for name in ("gate", "up"))
    found = (inputs["gathered"], normed, normed, jax.nn.silu(gate) * up)
    return dict(zip(MATRICES, map(np.asarray, found), strict=True))


def prior_bias(logits: jax.Array, labels: np.ndarray) -> float:
    """What the second logit needs so that the mean answer is the mean label."""
    low, high = -20.0, 20.0
    margin = np.asarray(logits[:, 1] - logits[:, 0], np.float64)
    for _ in range(60):
        middle = (low + high) / 2
        if np.mean(1 / (1 + np.exp(-(margin + middle)))) < labels.mean():
            low = middle
        else:
            high = middle
    return low


class Signals(NamedTuple):
    """Along the principal directions of one matrix's inputs.

    Attributes:
      signal: squared mean gradient, unbiased.
      spread: mean square of one example's.
      values: variances of the inputs.
      mean_share: of the second moment, what the mean input is.
    """

    signal: np.ndarray
    spread: np.ndarray
    values: np.ndarray
    mean_share: float


def rows_of(task: Any) -> Any:
    """All training and dev rows."""
    dev = jax.tree.map(lambda x: x[0], task.dev[0])
    return jax.tree.map(lambda a, b: np.concatenate([a, b]), task.train, dev)


def gradients(params: Any, rows: Any, size: int = 32) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of every matrix the inputs and the gradients at the outputs, example by example.

    A text is one token here, so that the gradient of a kernel is the product of these two.
    """
    model, labels = prompted("sst2"), rows["labels"]
    bias = prior_bias(model.logits(params, rows["inputs"]), labels)

    def one(kernels: Any, row: Any) -> jax.Array:
        whole = {k: {"kernel": kernels[k]} if k in MATRICES else v for k, v in params.items()}
        logits = model.logits(whole, jax.tree.map(lambda x: x[None], row["inputs"]))
        return jnp.mean(cross_entropy(logits + jnp.array([0.0, bias]), row["labels"][None]))

    kernels = {name: params[name]["kernel"] for name in MATRICES}
    inputs = recorded(model, params, rows["inputs"])

    @jax.jit
    def chunk(part: Any, inputs: Any) -> Any:
        found = jax.vmap(jax.grad(one), (None, 0))(kernels, part)
        back = lambda x, g: jnp.einsum("bi,bim->bm", x, g) / jnp.sum(x * x, 1)[:, None]
        return {name: back(inputs[name], found[name]) for name in MATRICES}

    parts = []
    for start in range(0, len(labels), size):
        some = lambda x: x[start : start + size]  # noqa: B023
        parts.append(chunk(jax.tree.map(some, rows), jax.tree.map(some, inputs)))
    outputs = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    return {name: (inputs[name], outputs[name]) for name in MATRICES}


def signals(x: np.ndarray, at_outputs: np.ndarray, basis: Any = None) -> tuple[Signals, Any]:
    """Along the principal directions of inputs, or a basis that is given; and that basis."""
    mean, count = x.mean(0), len(x)
    values, vectors = np.linalg.eigh((x - mean).T @ (x - mean) / count)
    own = values[::-1], vectors[:, ::-1]
    values, vectors = own if basis is None else basis
    along = np.float64(x @ vectors)
    squares = np.square(np.float64(at_outputs)).sum(1)
    spread = np.mean(np.square(along) * squares[:, None], 0)
    whole = np.square(along.T @ np.float64(at_outputs) / count).sum(1)
    signal = (whole - spread / count) * count / (count - 1)
    share = float(mean @ mean / np.mean(np.sum(x * x, 1)))
    return Signals(signal, spread, values, share), own


def weights_of(values: np.ndarray) -> dict[str, np.ndarray]:
    """Covariances, by the inputs' variances."""
    relative = np.maximum(values, 0) / values[0]
    found = {"isotropic": np.ones_like(values), "C^1/2": relative**0.5, "C": relative}
    return found | {f"first {k}": (np.arange(len(values)) < k).astype(float) for k in FIRST}


def snapshots(way: str, task: Any, seed: int, passes: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Parameters after so many passes of a run of `queries_to_target.py` at its tuned rate."""
    make, rate = RUNS[way]
    batches = task.examples // task.batch_size
    method = make(batches)
    given = method.prepare(task) if method.prepare else {}
    optimizer = method.make(rate, key=noise.run_key(seed), **given)
    step = loren_jax.train_step(task.loss, optimizer)
    params = jax.tree.map(jnp.array, task.params)
    state, taken = optimizer.init(params), 0
    for wanted in passes:
        for number in range(taken, wanted // PASSES):
            params, state = step(params, state, task.batch(seed, number))
        taken = max(taken, wanted // PASSES)
        yield wanted, jax.tree.map(np.asarray, params)


def anatomy(data_dir: Path, seed: int, way: str, passes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Rows of one run: each matrix, and all, at each snapshot, along inputs then and now."""
    task = prompted_task("sst2", seed, data_dir=data_dir)
    rows, began = rows_of(task), {}
    score = jax.jit(task.score)
    for taken, params in snapshots(way, task, seed, passes):
        own = {"seed": seed, "run": way, "passes": taken}
        own["dev loss"] = round(float(score(params, task.dev)["loss"]), 4)
        sums: dict[tuple[str, str], Any] = {}
        for name, (x, at_outputs) in gradients(params, rows).items():
            now, basis = signals(x, at_outputs)
            began.setdefault(name, basis)
            then, _ = signals(x, at_outputs, began[name])
            parts = {"now": now, "at the start": then}
            row = own | {"matrix": name, "share of the mean": now.mean_share}
            row["overlap"] = overlap(began[name], basis)
            for inputs, part in parts.items():
                for covariance, q in weights_of(part.values).items():
                    found = np.array([q @ part.signal, q @ part.spread])
                    key = inputs, covariance
                    sums[key] = sums.get(key, 0.0) + found
                    row[f"{covariance}, {inputs}"] = float(found[1] / found[0])
            yield row
        for (inputs, covariance), (signal, spread) in sums.items():
            fall = signal * abs(signal) / (2 * spread * (max(signal, 0) + spread / task.batch_size))
            yield own | {"matrix": "all", "inputs": inputs, "covariance": covariance} | {
                "S": float(spread), "G": float(signal), "S / G": float(spread / signal),
                "nats in 100 passes": float(100 * fall),
            }  # fmt: skip


def overlap(one: Any, other: Any) -> float:
    """Cosine of two covariances of inputs, 1 where they have not moved."""
    product = lambda a, b: float(a[0] @ np.square(a[1].T @ b[1]) @ b[0])
    return product(one, other) / math.sqrt(product(one, one) * product(other, other))


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--passes", type=int, nargs="+", default=[0, 300, 600, 1200, 2400])
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed, way in itertools.product(options.seeds, options.runs):
        for row in anatomy(options.data_dir, seed, way, options.passes):
            rows.append(row)
            if row["matrix"] == "all":
                print(*row.values(), flush=True)
    print(table(averaged(rows)))
    save("research_prompted_inputs", rows, seeds=options.seeds)


def averaged(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the seeds: S and G, and what follows from them."""
    groups: dict[Any, list[Any]] = {}
    for row in rows:
        if row["matrix"] == "all":
            key = row["run"], row["passes"], row["inputs"], row["covariance"]
            groups.setdefault(key, []).append(row)
    mean = lambda part, name: float(np.mean([row[name] for row in part]))
    return [
        dict(zip(("run", "passes", "inputs", "covariance"), key, strict=True))
        | {"dev loss": mean(part, "dev loss"), "S / G": mean(part, "S") / mean(part, "G")}
        | {"nats in 100 passes": mean(part, "nats in 100 passes")}
        for key, part in groups.items()
    ]


if __name__ == "__main__":
    main()
