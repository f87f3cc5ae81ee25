"""Along which directions of its inputs does the head learn? Signal and spread, from features alone.

With the labels' prior taken off, the gradient of the head is (mean of y - y) x. For every direction
of the features: G, the squared mean of that (unbiased, from pairs of examples), and S, its mean
square. A covariance with the weights q of the directions gains (qG)^2 / (qS)^2, relative to equal
ones, where noise dominates; see RESEARCH.md.

    python benchmarks/research/directions.py --data-dir DIR --cache FILE
"""

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from head import pooled

sys.path.append(str(Path(__file__).parents[1]))
from record import save, table

EDGES = (0, 1, 2, 5, 10, 20, 50, 384)
POWERS = (-1.0, -0.5, 0.25, 0.5, 1.0, 2.0)
FIRST = (5, 10, 20, 50)


def of_seed(features: np.ndarray, labels: np.ndarray) -> tuple[Any, Any, Any]:
    """G, S and the variance along the mean and then along each principal direction."""
    x, y, count = features.astype(float), labels.astype(float), len(labels)
    mean = x.mean(0)
    values, vectors = np.linalg.eigh((x - mean).T @ (x - mean) / count)
    basis = np.concatenate([mean[:, None] / np.linalg.norm(mean), vectors[:, ::-1]], 1)
    gradients = (y.mean() - y)[:, None] * (x @ basis)
    spread = np.square(gradients).mean(0)
    signal = (np.square(gradients.mean(0)) - spread / count) * count / (count - 1)
    return signal, spread, np.maximum(values[::-1], 1e-9)


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="a file for the features, .npz")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    rows, _ = pooled(options.data_dir, options.seeds, options.cache)
    features = np.concatenate([rows.train, rows.dev], 1)
    labels = np.concatenate([rows.train_labels, rows.dev_labels], 1)
    each = [of_seed(x, y) for x, y in zip(features, labels, strict=True)]
    signal, spread, values = (np.mean(parts, 0) for parts in zip(*each, strict=True))
    g, s = signal[1:], spread[1:]
    shares = [{"directions": "mean", "S": spread[0] / s.sum(), "G": signal[0] / g.sum()}]
    for low, high in itertools.pairwise(EDGES):
        part = slice(low, high)
        share = {"S": s[part].sum() / s.sum(), "G": g[part].sum() / g.sum()}
        shares.append({"directions": f"{low + 1} to {high}", **share})
    weights = {f"C^{p:g}": values**p / values[0] ** p for p in POWERS}
    weights |= {f"first {k}": (np.arange(len(g)) < k).astype(float) for k in FIRST}
    isotropic = g.sum() / s.sum()
    gains = [
        {"covariance": name, "S / G": q @ s / (q @ g), "gain": (q @ g / (q @ s) / isotropic) ** 2}
        for name, q in weights.items()
    ]
    plain = lambda rows: [
        {k: v if isinstance(v, str) else float(v) for k, v in r.items()} for r in rows
    ]
    print(table(plain(shares)), table(plain(gains)), sep="\n")
    save("research_directions", plain(shares) + plain(gains), seeds=options.seeds)


if __name__ == "__main__":
    main()
