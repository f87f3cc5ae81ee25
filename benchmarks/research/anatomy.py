r"""What a step of forward passes can gain, leaf by leaf: signal, spread and curvature.

With d the difference of the two logits, the loss of an example has the gradient (p - y) grad d and
the Gauss-Newton curvature p (1 - p) grad d grad d^T. So one gradient of d for each of M examples
gives, for every leaf l,

    G_l = |mean gradient|^2          without bias, from pairs of different examples
    S_l = E |gradient of one example|^2
    T_l = trace of the Gauss-Newton matrix

A step of K directions N(0, Sigma) on a batch of B changes the loss by about

    - eta g^T Sigma g + eta^2 / 2  tr(H Sigma) / K  (g^T Sigma g + spread / B)

and the best eta gains  (g^T Sigma g)^2 / (2 tr(H Sigma) (g^T Sigma g + spread / B)) a pass. With a
scale s_l for each leaf, Sigma = diag(s), this is (sG)^2 / (2 (sT) (s(G + (S - G) / B))).

    python benchmarks/research/anatomy.py --data-dir DIR --at start probe
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import problem as problems
from inputs import matrix_inputs

sys.path.append(str(Path(__file__).parents[1]))
from record import save, table

BATCH = 16
DIRECTIONS = 64
"""Principal directions of a matrix's inputs, beside their mean, that are looked at."""
POWERS = (-0.5, 0.25, 0.5, 1.0)
"""Of the inputs' covariance, as the covariance of directions; the rest counts as its mean."""


def measure(problem: problems.Problem, params: Any, examples: int) -> list[dict[str, Any]]:
    """One row for every leaf of every layer."""
    vector, unravel, spans = problems.flat(params)
    rows = problem.train.rows(slice(examples))
    starts = np.asarray([start for _, start, _ in spans])
    bases = _input_bases(params, problem.train)
    shapes = _matrix_shapes(params)

    @jax.jit
    def gradient(vector: jax.Array, row: problems.Data) -> tuple[jax.Array, jax.Array]:
        def difference(vector: jax.Array) -> jax.Array:
            logits = problem.logits(unravel(vector), row)[0]
            return logits[1] - logits[0]

        return jax.value_and_grad(difference)(vector)

    mean, squares = np.zeros_like(vector), np.zeros((examples, len(spans)))
    weights = np.zeros((examples, 2))
    along = {name: np.zeros((3, DIRECTIONS + 1)) for name in bases}  # square, |sum|^2, curvature
    sums = dict.fromkeys(bases, 0.0)
    for i in range(examples):
        value, g = gradient(vector, rows.rows(slice(i, i + 1)))
        g, p = np.asarray(g), 1 / (1 + np.exp(-float(value)))
        residual = p - rows.labels[i]
        weights[i] = residual, p * (1 - p)
        mean += residual * g / examples
        squares[i] = np.add.reduceat(g * g, starts)
        for name, start, end in spans:
            if name in bases:
                projected = bases[name][0] @ g[start:end].reshape(shapes[name])
                square = np.square(projected).sum(-1)
                sums[name] = sums[name] + residual * projected
                along[name][0] += residual**2 * square / examples
                along[name][2] += p * (1 - p) * square / examples
    spread = (weights[:, :1] ** 2 * squares).mean(0)
    trace = (weights[:, 1:] * squares).mean(0)
    total = np.add.reduceat(mean.astype(np.float64) ** 2, starts)
    signal = _unbiased(total, spread, examples)
    found = []
    for j, (name, start, end) in enumerate(spans):
        row = {"leaf": name, "N": end - start, "G": signal[j], "S": spread[j], "T": trace[j]}
        if name in bases:
            along[name][1] = np.square(sums[name] / examples).sum(-1)
            row |= _directions(row, along[name], bases[name][1], examples)
        found.append({k: float(v) if isinstance(v, np.floating) else v for k, v in row.items()})
    return found


def _directions(
    row: dict[str, Any], along: np.ndarray, values: np.ndarray, examples: int
) -> dict[str, Any]:
    """Along the inputs' mean and principal directions, and with powers of their covariance."""
    spread, total, trace = along
    signal = _unbiased(total, spread, examples)
    parts = {"G": signal, "S": spread, "T": trace}
    found: dict[str, Any] = {f"{k} along directions": v.round(6).tolist() for k, v in parts.items()}
    n = len(values)
    for power in POWERS:
        scaled = np.maximum(values, 1e-9) ** power
        scaled /= scaled[:DIRECTIONS].max()
        weights = np.concatenate([scaled[: DIRECTIONS + 1][:1] * 0, scaled[:DIRECTIONS]])
        rest = scaled[DIRECTIONS:n].mean()
        for k, v in parts.items():
            left = row[k] - v.sum()
            found[f"{k}, power {power:g}"] = float(weights @ v + rest * left)
    for count in (4, 16, 64):
        for k, v in parts.items():
            found[f"{k}, first {count}"] = float(v[1 : count + 1].sum())
    for k, v in parts.items():
        found[f"{k}, without mean"] = float(row[k] - v[0])
    return found


def gain(signal: Any, trace: Any, spread: Any, scales: Any, batch: int = BATCH) -> float:
    """Nats a forward pass at the best learning rate, with a scale for each part."""
    noise = signal + (spread - signal) / batch
    return float((scales @ signal) ** 2 / (2 * (scales @ trace) * (scales @ noise)))


def best_scales(signal: Any, trace: Any, spread: Any, batch: int = BATCH) -> np.ndarray:
    """Scales that gain most, by multiplicative ascent from equal ones; the largest is 1."""
    logs = jnp.zeros(len(signal))
    signal, trace, spread = (jnp.asarray(x) for x in (signal, trace, spread))
    noise = signal + (spread - signal) / batch

    def objective(logs: jax.Array) -> jax.Array:
        s = jnp.exp(logs)
        parts = 2 * jnp.log(jnp.maximum(s @ signal, 1e-12))
        return parts - jnp.log(s @ trace) - jnp.log(s @ noise)

    ascend = jax.jit(lambda logs: logs + 0.5 * jnp.sign(slope(logs)) * jnp.abs(slope(logs)) ** 0.5)
    slope = jax.grad(objective)
    for _ in range(2000):
        logs = jnp.clip(ascend(logs), -12, 12)
    return np.asarray(jnp.exp(logs - logs.max()))


def _unbiased(total: Any, spread: Any, examples: int) -> Any:
    """|E g|^2 from |mean g|^2 and E |g|^2."""
    return (total - spread / examples) * examples / (examples - 1)


def _matrix_shapes(params: Any) -> dict[str, tuple[int, int]]:
    layers = params["layers"]
    shapes = {}
    for block in ("up", "down"):
        shapes[block] = layers[block]["kernel"].shape[1:]
    for block in ("query", "key", "value", "output"):
        shapes[f"attention/{block}"] = layers["attention"][block]["kernel"].shape[1:]
    count = layers["up"]["kernel"].shape[0]
    named = {f"{i}/{name}/kernel": shape for i in range(count) for name, shape in shapes.items()}
    return named | {"classifier/kernel": params["classifier"]["kernel"].shape}


def _input_bases(params: Any, data: problems.Data) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Of every matrix the mean input, the principal directions around it, and their variances."""
    bases = {}
    for name, inputs in matrix_inputs(params, data.rows(slice(256))).items():
        mean = inputs.mean(0)
        mean /= np.linalg.norm(mean)
        rest = inputs - np.outer(inputs @ mean, mean)
        values, vectors = np.linalg.eigh(rest.T @ rest / len(rest))
        basis = np.concatenate([mean[None], vectors[:, ::-1][:, :DIRECTIONS].T])
        bases[name] = basis.astype(np.float32), values[::-1]
    return bases


def probed(problem: problems.Problem, steps: int = 300) -> Any:
    """The parameters with the head trained by gradients, on features of the rest."""
    params = problem.params
    learn = jax.jit(jax.grad(lambda head, rows: problem.loss({**params, "classifier": head}, rows)))
    head = params["classifier"]
    for step in range(steps):
        rows = problem.train.rows(slice((step % 8) * 64, (step % 8) * 64 + 64))
        head = jax.tree.map(lambda x, g: x - 0.5 * g, head, learn(head, rows))
    return {**params, "classifier": head}


def at_prior(problem: problems.Problem) -> Any:
    """The parameters with the bias that predicts the share of each label, which takes few steps."""
    params = problem.params
    logits = np.concatenate(
        [
            np.asarray(problem.logits(params, problem.train.rows(slice(i, i + 64))))
            for i in range(0, 512, 64)
        ]
    )
    share = problem.train.labels.mean()
    shift = np.log(share / (1 - share)) - (logits[:, 1] - logits[:, 0]).mean()
    head = params["classifier"]
    bias = head["bias"] + np.asarray([-shift / 2, shift / 2], np.float32)
    return {**params, "classifier": {**head, "bias": bias}}


def summary(rows: Sequence[dict[str, Any]], at: str) -> dict[str, Any]:
    """What all leaves together can gain, with equal and with the best scales."""
    g, s, t = (np.asarray([row[k] for row in rows]) for k in "GST")
    equal = gain(g, t, s, np.ones(len(rows)))
    kinds = sorted({row["leaf"].lstrip("0123456789/") for row in rows})
    sums = lambda x: np.asarray(
        [
            sum(v for v, row in zip(x, rows, strict=True) if row["leaf"].endswith(kind))
            for kind in kinds
        ]
    )
    by_kind = [sums(x) for x in (g, s, t)]
    best = best_scales(np.maximum(by_kind[0], 0), by_kind[2], by_kind[1])
    return {
        "at": at,
        "G": g.sum(),
        "S": s.sum(),
        "T": t.sum(),
        "S / G": s.sum() / g.sum(),
        "gain a pass": equal,
        "gain, best scale for each kind": gain(by_kind[0], by_kind[2], by_kind[1], best),
        "scales": dict(zip(kinds, np.round(best, 4).tolist(), strict=True)),
    }


POINTS = {"start": lambda problem: problem.params, "prior": at_prior, "probe": probed}


def covariances(rows: Sequence[dict[str, Any]], at: str) -> list[dict[str, Any]]:
    """What each covariance of the matrices' inputs makes of S / G, all matrices together."""
    matrices = [row for row in rows if "S, without mean" in row]
    names = ["", ", without mean", *(f", power {p:g}" for p in POWERS)]
    found = []
    for name in [*names, *(f", first {count}" for count in (4, 16, 64))]:
        g, s, t = (sum(row[k + name] for row in matrices) for k in "GST")
        found.append({"at": at, "covariance": name[2:] or "isotropic", "G": g, "S": s, "T": t})
        found[-1]["S / G"] = s / g
    return found


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--at", nargs="+", choices=POINTS, default=["start", "probe"])
    options = parser.parse_args()
    problem = problems.load(options.data_dir, trained="all")
    rows, summaries, inputs = [], [], []
    for at in options.at:
        params = POINTS[at](problem)
        found = measure(problem, params, options.examples)
        rows += [{"at": at, **row} for row in found]
        inputs += covariances(found, at)
        print(table(inputs))
        summaries.append(summary(found, at))
        print(table([{k: v for k, v in summaries[-1].items() if k != "scales"}]))
        print(summaries[-1]["scales"], flush=True)
    name = "research_anatomy_" + "_".join(options.at)
    print(
        "saved",
        save(name, rows, examples=options.examples, summaries=summaries, covariances=inputs),
    )


if __name__ == "__main__":
    main()
