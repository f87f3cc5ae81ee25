r"""What limits the learning rate: each term of a step's expected change, measured.

    E f(x - eta g_hat) - f(x) = - eta |g|^2 + eta^2 / 2 ( tr(H) / K + curvature along g ) E |g_B|^2

* `linearity`: the odd and the even part of the loss along random directions, over the scale.
* `walk`: loss, curvature and |g_B|^2 where the weights have noise of a given size in every
  direction, as a random walk leaves it.
* `step`: the change of one step over the learning rate, against the formula.

    python benchmarks/research/limits.py --data-dir DIR
"""

import argparse
import functools
import math
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import problem as problems
from law import Shape, estimate

sys.path.append(str(Path(__file__).parents[1]))
from record import save, table

BATCH = 64


class Measured:
    """The loss and the gradient of a problem as functions of one vector."""

    def __init__(self, problem: problems.Problem):
        self.problem = problem
        self.vector, self.unravel, self.spans = problems.flat(problem.params)
        loss = lambda vector, rows: problem.loss(self.unravel(vector), rows)
        self.loss = jax.jit(loss)
        self.value_and_grad = jax.jit(jax.value_and_grad(loss))
        self.random = np.random.default_rng(0)

    def direction(self) -> np.ndarray:
        """A standard normal vector."""
        return self.random.standard_normal(len(self.vector), dtype=np.float32)

    def batch(self, size: int) -> problems.Data:
        """Rows drawn at random."""
        return self.problem.train.rows(self.random.choice(512, size, replace=False))


def _mean(values: Any) -> tuple[float, float]:
    values = np.asarray(values, np.float64)
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def linearity(m: Measured, draws: int) -> list[dict[str, Any]]:
    """Root mean square of the odd part, its excess over the gradient's, and the even part."""
    rows = m.batch(BATCH)
    value, gradient = m.value_and_grad(m.vector, rows)
    value, gradient = float(value), np.asarray(gradient)
    found = []
    for scale in (1e-4, 1e-3, 3e-3, 1e-2, 3e-2):
        odd, rest, even = [], [], []
        for _ in range(draws):
            u = m.direction()
            plus, minus = (float(m.loss(m.vector + s * scale * u, rows)) for s in (1, -1))
            slope = float(u @ gradient)
            odd.append((plus - minus) / (2 * scale))
            rest.append(odd[-1] - slope)
            even.append((plus + minus - 2 * value) / scale**2)
        trace, error = _mean(even)
        found.append(
            {
                "scale": scale,
                "slope, rms": float(np.sqrt(np.mean(np.square(odd)))),
                "slope beyond the gradient's, rms": float(np.sqrt(np.mean(np.square(rest)))),
                "trace from the even part": trace,
                "its standard error": error,
                "even part's spread in losses": float(np.std(even) * scale**2 / 2),
                "odd part's spread in losses": float(np.std(odd) * scale),
            }
        )
    return found


def walk(m: Measured, draws: int) -> list[dict[str, Any]]:
    """Where every weight has noise of a size: loss, curvature, a batch's squared gradient."""
    found = []
    for size in (0.0, 1e-3, 3e-3, 1e-2, 2e-2, 3e-2):
        values, squares, even = [], [], []
        for _ in range(draws):
            at = m.vector + np.float32(size) * m.direction()
            rows, probe = m.batch(16), m.direction()
            value, gradient = m.value_and_grad(at, rows)
            values.append(float(value))
            squares.append(float(np.sum(np.square(np.asarray(gradient, np.float64)))))
            both = [float(m.loss(at + s * np.float32(1e-3) * probe, rows)) for s in (1, -1)]
            even.append((sum(both) - 2 * float(value)) / 1e-6)
        row: dict[str, Any] = {"noise of a weight": size}
        for name, numbers in (("loss", values), ("|g_B|^2", squares), ("trace", even)):
            row[name], row[f"{name}, error"] = _mean(numbers)
        found.append(row)
    return found


def step(m: Measured, draws: int, passes: int = 16) -> list[dict[str, Any]]:
    """Change of the loss of the step's own batch over one step; the trace explains it or not."""
    rates = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    changes: dict[float, list[float]] = {rate: [] for rate in rates}
    squares = []
    for _ in range(draws):
        rows = m.batch(16)
        value, gradient = m.value_and_grad(m.vector, rows)
        gradient = np.asarray(gradient)
        squares.append(float(np.sum(np.square(gradient, dtype=np.float64))))
        estimated, _ = estimate(gradient, "loo", passes, Shape(None, ()), m.random)
        for rate in rates:
            moved = m.vector - np.float32(rate) * estimated
            changes[rate].append(float(m.loss(moved, rows)) - float(value))
    found = []
    for rate in rates:
        change, error = _mean(changes[rate])
        found.append({"rate": rate, "change": change, "error": error, "|g_B|^2": _mean(squares)[0]})
    return found


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--trained", nargs="+", default=["all"])
    options = parser.parse_args()
    parts = {"linearity": linearity, "walk": walk, "step": step}
    rows = []
    for trained in options.trained:
        measured = Measured(problems.load(options.data_dir, trained=trained))
        for name, part in parts.items():
            new = functools.partial(part, measured)(options.draws)
            print(trained, name)
            print(table(new), flush=True)
            rows += [{"trained": trained, "part": name, **row} for row in new]
    print("saved", save("research_limits", rows, draws=options.draws))


if __name__ == "__main__":
    main()
