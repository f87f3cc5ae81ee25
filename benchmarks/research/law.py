r"""Zeroth-order training in law: the same distribution of runs at the price of a gradient.

Where the loss is linear over a perturbation (`limits.py` measures that it is), the losses of K
directions u_k ~ N(0, I) are f + eps |g| w_k with w ~ N(0, I_K), and given w the estimate is

    sum_k c_k u_k = |g| / K (|w|^2 e + |w| z),     e = g / |g|,  z ~ N(0, I - e e^T)

for pairs, and the same with w minus its mean and K - 1 in place of K for leave-one-out. So one
gradient and one normal vector make a step of any number of forward passes with exactly the law
that the forward passes would give. `confirm.py` runs the package itself.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import problem as problems
from inputs import matrix_inputs

from loren_jax.tasks import batch_indices

KEPT = 64
"""Principal directions that a covariance tells apart."""


class Settings(NamedTuple):
    """One run.

    Attributes:
      trained: `all`, `tail` or `head`.
      scheme: `pairs` or `loo`.
      passes: forward passes a step.
      batch: examples.
      steps: of the run.
      rate: learning rate at the start.
      schedule: `constant`, or `linear` to zero.
      step_rule: `plain`; `standardised`, the coefficients divided by the root of their mean square;
        `clipped`, at `clip` times the running median of that root.
      clip: see `step_rule`.
      pull: share of the way back to the starting point, a step, at the full learning rate.
      average: share of the latest iterates whose mean is scored; 0 for the last one.
      scales: pairs `(end of the leaf's name, factor of its directions)`.
      covariance: of every matrix's fan-in side: `none`; `mean`, LOREN's with the mean input as
        `a`; `inputs^p`, a power of the inputs' covariance; `first k`, its leading directions alone.
      floor: least factor of a direction.
      test: whether the last parameters are scored on the test set.
      seed: of everything.
    """

    trained: str = "tail"
    scheme: str = "loo"
    passes: int = 16
    batch: int = 16
    steps: int = 150
    rate: float = 1e-3
    schedule: str = "constant"
    step_rule: str = "plain"
    clip: float = 1.0
    pull: float = 0.0
    average: float = 0.0
    scales: tuple[tuple[str, float], ...] = ()
    covariance: str = "none"
    floor: float = 0.0
    test: bool = False
    seed: int = 0


class Shape(NamedTuple):
    """What the directions are multiplied with, on both sides of the estimate.

    Attributes:
      scale: of every parameter, or None.
      roots: `(start, end, basis (64, n), its factors, factor of the rest)` of matrices.
    """

    scale: Any
    roots: tuple[Any, ...]

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """Sigma^1/2 times the vector; overwrites it."""
        if self.scale is not None:
            vector *= self.scale
        for start, end, basis, factors, rest in self.roots:
            matrix = vector[start:end].reshape(basis.shape[1], -1)
            inside = basis @ matrix
            matrix *= rest
            matrix += basis.T @ ((factors - rest)[:, None] * inside)
        return vector


def estimate(
    gradient: np.ndarray, scheme: str, passes: int, shape: Shape, random: np.random.Generator
) -> tuple[np.ndarray, float]:
    """An estimate with the law of one from forward passes, and the coefficients' root mean square.

    The mean square is that of the slopes: of the losses over the perturbation scale.
    """
    if scheme == "pairs":
        count, freedom = passes // 2, passes // 2
    else:
        count, freedom = passes, passes - 1
    bent = shape(gradient.copy())
    norm = float(np.linalg.norm(bent))
    weight = math.sqrt(random.chisquare(freedom))
    z = random.standard_normal(len(bent), dtype=np.float32)
    along = (weight**2 - weight * float(z @ bent) / norm) * norm / freedom
    z *= np.float32(norm * weight / freedom)
    z += np.float32(along / norm) * bent
    return shape(z), norm * weight / math.sqrt(count)


def run(settings: Settings, data_dir: Any, report: Callable[[str], None] = print) -> dict[str, Any]:
    """Trains, and scores every 400 passes.

    Returns:
      `passes`, and `dev loss`, `dev accuracy`, `train loss` at each.
    """
    problem, vector, unravel, spans, gradient_of = _prepared(
        data_dir, settings.seed, settings.trained
    )
    vector = vector.copy()
    shape = _shape(settings, problem, spans)
    random = np.random.default_rng([settings.seed, 1])
    start, mean, averaged = vector.copy(), np.zeros_like(vector), 0
    curve: dict[str, list[float]] = {"passes": [], "distance": []}
    median, losses = 0.0, []
    every = max(1, 400 // settings.passes)
    for step in range(settings.steps):
        rows = problem.train.rows(batch_indices(settings.seed, step, 512, settings.batch))
        loss, gradient = gradient_of(vector, rows)
        losses.append(float(loss))
        if not math.isfinite(losses[-1]) or losses[-1] > 20:
            break
        estimated, spread = estimate(
            np.asarray(gradient), settings.scheme, settings.passes, shape, random
        )
        factor, median = _factor(settings, spread, median, step)
        rate = settings.rate * _schedule(settings, step)
        if settings.pull:
            vector -= np.float32(settings.pull * rate / settings.rate) * (vector - start)
        vector -= np.float32(rate * factor) * estimated
        if settings.average and step >= settings.steps * (1 - settings.average):
            averaged += 1
            mean += (vector - mean) / averaged
        if (step + 1) % every == 0 or step + 1 == settings.steps:
            scored = unravel(mean if averaged else vector)
            _record(curve, problem, scored, (step + 1) * settings.passes, losses[-every:])
            curve["distance"].append(float(np.linalg.norm(vector - start)))
    if curve["passes"]:
        last = {k: round(v[-1], 4) for k, v in curve.items()}
        report(f"{_label(settings)}: {last}")
    test: dict[str, float] = {}
    if settings.test and curve["passes"]:
        scored = unravel(mean if averaged else vector)
        test = dict(
            zip(("test loss", "test accuracy"), problem.score(scored, problem.test), strict=True)
        )
    return {**settings._asdict(), "diverged": len(losses) < settings.steps, **curve, **test}


@functools.lru_cache(maxsize=2)
def _prepared(data_dir: Any, seed: int, trained: str) -> tuple[Any, ...]:
    problem = problems.load(data_dir, seed, trained)
    vector, unravel, spans = problems.flat(problem.params)
    loss = lambda vector, rows: problem.loss(unravel(vector), rows)
    return problem, vector, unravel, spans, jax.jit(jax.value_and_grad(loss))


def _record(
    curve: dict[str, list[float]], problem: Any, params: Any, passes: int, losses: list[float]
) -> None:
    loss, accuracy = problem.score(params, problem.dev)
    found = {"passes": passes, "dev loss": loss, "dev accuracy": accuracy}
    for name, value in {**found, "train loss": float(np.mean(losses))}.items():
        curve.setdefault(name, []).append(value)


def _schedule(settings: Settings, step: int) -> float:
    return 1.0 if settings.schedule == "constant" else 1 - step / settings.steps


def _factor(settings: Settings, spread: float, median: float, step: int) -> tuple[float, float]:
    """The factor of the coefficients, and a running median of their spread."""
    if settings.step_rule == "standardised":
        return 1 / spread, median
    if settings.step_rule == "clipped":
        median = spread if step == 0 else median * math.exp(0.1 * np.sign(spread - median))
        return min(1.0, settings.clip * median / spread), median
    return 1.0, median


def _shape(settings: Settings, problem: Any, spans: list[tuple[str, int, int]]) -> Shape:
    scale = None
    if settings.scales:
        scale = np.ones(spans[-1][2], np.float32)
        for end_of_name, factor in settings.scales:
            for name, start, end in spans:
                if name.endswith(end_of_name) or name.startswith(end_of_name):
                    scale[start:end] = factor
    if settings.covariance == "none":
        return Shape(scale, ())
    found = matrix_inputs(problem.params, problem.train.rows(slice(256)))
    roots = []
    for name, start, end in spans:
        if name in found:
            roots.append((start, end, *_root(found[name], settings)))
    return Shape(scale, tuple(roots))


def _root(inputs: np.ndarray, settings: Settings) -> tuple[np.ndarray, np.ndarray, np.float32]:
    """Sigma^1/2 of the fan-in side by its eigenvectors; the largest factor is 1."""
    mean = inputs.mean(0)
    if settings.covariance == "mean":
        square = np.square(inputs).mean(0).sum()
        level = (square - mean @ mean) / len(mean)
        factor = math.sqrt(level / (level + mean @ mean))
        basis, factors, rest = mean[None] / np.linalg.norm(mean), np.asarray([factor]), 1.0
    else:
        centred = inputs - mean
        values, vectors = np.linalg.eigh(centred.T @ centred / len(inputs))
        values = np.maximum(values[::-1], 0)
        basis, values = vectors[:, ::-1][:, :KEPT].T, values / values[0]
        if settings.covariance.startswith("first"):
            factors = (np.arange(KEPT) < int(settings.covariance[6:])).astype(float)
            rest = 0.0
        else:
            power = float(settings.covariance.split("^")[1]) / 2
            factors, rest = values[:KEPT] ** power, float((values[KEPT:] ** power).mean())
    if settings.floor:
        factors, rest = np.maximum(factors, settings.floor), max(rest, settings.floor)
    return basis.astype(np.float32), factors.astype(np.float32), np.float32(rest)


def _label(settings: Settings) -> str:
    given = settings._asdict()
    default = Settings()._asdict()
    return " ".join(f"{k}={v}" for k, v in given.items() if v != default[k])
