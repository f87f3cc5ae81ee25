"""Along which directions of its inputs does a prompted decoder learn? As `anatomy.py`, for SmolLM2.

Every matrix after the last attention (`evidence.prompted`), per-example gradients of 768 rows, with
the preference for one answer taken off by a bias that fits the labels' prior: else most of the
signal is that. Along the principal directions of a matrix's inputs: G, the squared mean gradient
(unbiased), and S, the mean square of one example's. A covariance with weights q gains
(qG)^2 / (qS)^2 relative to equal ones; see RESEARCH.md.

    python -m benchmarks prompted_inputs --data-dir DIR
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.evidence.prompted import prompted, prompted_task
from benchmarks.record import save, table
from loren_jax.objectives import cross_entropy

MATRICES = ("output", "gate", "up", "down")
FIRST = (4, 16, 64, 256)


def recorded(model: Any, inputs: Any) -> dict[str, np.ndarray]:
    """The inputs of every matrix, (N, fan-in)."""
    params = model.trained
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


def anatomy(data_dir: Path, seed: int, size: int = 16) -> dict[str, Any]:
    """G and S along the principal directions of every matrix, and the mean's share."""
    task, model = prompted_task("sst2", seed, data_dir=data_dir), prompted("sst2")
    dev = jax.tree.map(lambda x: x[0], task.dev[0])
    inputs = jax.tree.map(lambda a, b: np.concatenate([a, b]), task.train, dev)
    labels, count = inputs["labels"], len(inputs["labels"])
    bias = prior_bias(model.logits(model.trained, inputs["inputs"]), labels)

    def one(kernels: Any, rows: Any) -> jax.Array:
        params = {k: {"kernel": kernels[k]} if k in MATRICES else v for k, v in task.params.items()}
        logits = model.logits(params, jax.tree.map(lambda x: x[None], rows["inputs"]))
        return jnp.mean(cross_entropy(logits + jnp.array([0.0, bias]), rows["labels"][None]))

    bases, shares = {}, {}
    for name, x in recorded(model, inputs["inputs"]).items():
        mean = x.mean(0)
        values, vectors = np.linalg.eigh((x - mean).T @ (x - mean) / count)
        bases[name] = jnp.asarray(vectors[:, ::-1].T)
        shares[name] = float(mean @ mean / np.mean(np.sum(x * x, 1))), values[::-1]
    kernels = {name: task.params[name]["kernel"] for name in MATRICES}

    @jax.jit
    def chunk(rows: Any) -> tuple[Any, Any]:
        gradients = jax.vmap(jax.grad(one), (None, 0))(kernels, rows)
        along = {name: jnp.einsum("ij,bjm->bim", bases[name], g) for name, g in gradients.items()}
        return jax.tree.map(lambda g: g.sum(0), along), jax.tree.map(
            lambda g: jnp.sum(g * g, (0, 2)), along
        )

    total: Any = None
    for start in range(0, count, size):
        part = chunk(jax.tree.map(lambda x: x[start : start + size], inputs))  # noqa: B023
        total = part if total is None else jax.tree.map(jnp.add, total, part)
    means, squares = jax.tree.map(lambda x: np.asarray(x, float) / count, total)
    found = {}
    for name in MATRICES:
        spread = squares[name]
        signal = (np.square(means[name]).sum(1) - spread / count) * count / (count - 1)
        found[name] = {"mean share": shares[name][0], "values": shares[name][1]}
        found[name] |= {"signal": signal, "spread": spread}
    return found


def weights_of(values: np.ndarray) -> dict[str, np.ndarray]:
    """Covariances, by the inputs' variances."""
    relative = np.maximum(values, 0) / values[0]
    found = {"isotropic": np.ones_like(values), "C^1/2": relative**0.5, "C": relative}
    return found | {f"first {k}": (np.arange(len(values)) < k).astype(float) for k in FIRST}


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    sums: dict[str, list[np.ndarray]] = {}
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        for name, part in anatomy(options.data_dir, seed).items():
            rows.append({"seed": seed, "matrix": name, "share of the mean": part["mean share"]})
            for covariance, q in weights_of(part["values"]).items():
                own = np.array([q @ part["signal"], q @ part["spread"]])
                sums.setdefault(covariance, []).append(own)
                rows[-1][covariance] = float(own[1] / own[0])
    count = len(options.seeds)
    totals = {name: np.sum(parts, 0) / count for name, parts in sums.items()}
    signal, spread = totals["isotropic"]
    gains = [
        {"covariance": name, "S / G": float(s / g), "gain": float((g / s * spread / signal) ** 2)}
        for name, (g, s) in totals.items()
    ]
    print(table(rows), table(gains), sep="\n")
    save("research_prompted_inputs", rows + gains, seeds=options.seeds)


if __name__ == "__main__":
    main()
