r"""Which covariance helps where everything is fast: the head of MiniLM on cached features.

770 parameters, a convex loss, real forward passes. Every method is tried at every learning rate of
one grid with all seeds (rows, head and noise differ); a method's rate is the one with the fewest
forward passes to the target on average. The target is a dev loss. All seeds and rates run at once.

Covariances of the kernel's fan-in side (the bias stays isotropic):

* `isotropic`; `random`, a rank-one covariance at its random start, never learned.
* `published`: `a` learned by LOREN's score at its rate, 1e-3; `adam`: by Adam instead.
* `even`: the same from the even part of mirrored pairs, which has no first-order noise.
* `mean input`: `a` is the mean input, damped by the mean square of the other directions. `moment`:
  whitened by the second moment of the inputs. `diagonal`: by its diagonal.
* `inputs`: the covariance of the inputs itself, so that directions lie *along* the inputs; and its
  powers. `first 10`: its ten leading directions alone.

    python benchmarks/research/head.py --data-dir DIR --cache FILE
"""

import argparse
import functools
import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import problem as problems

from loren_jax.covariance import DampedRankOne
from loren_jax.objectives import cross_entropy
from loren_jax.schemes import leave_one_out, two_sided
from loren_jax.tasks import batch_indices

sys.path.append(str(Path(__file__).parents[1]))
from record import RESULTS, save, table

RATES = tuple(10 ** (i / 4) for i in range(-9, 1))
"""For 16 passes a step, in proportion for others."""
TARGETS = (0.66, 0.62, 0.58)
DAMPING = 0.1
SCORED = 64
"""Forward passes between two evaluations."""


class Method(NamedTuple):
    """A point of the comparison.

    Attributes:
      scheme: `loo` or `pairs`.
      covariance: see the module.
      epsilon: perturbation scale.
      batch: examples.
      passes: forward passes a step.
      rule: `plain`, or `standardised` coefficients.
      schedule: `constant` or `linear`.
      momentum: of heavy-ball, rate divided by 1 / (1 - momentum).
    """

    scheme: str = "loo"
    covariance: str = "isotropic"
    epsilon: float = 1e-3
    batch: int = 16
    passes: int = 16
    rule: str = "plain"
    schedule: str = "constant"
    momentum: float = 0.0
    average: float = 0.0


class Rows(NamedTuple):
    """Features and labels of training, dev and test rows, one set for each seed."""

    train: Any
    train_labels: Any
    dev: Any
    dev_labels: Any


def pooled(data_dir: Path, seeds: int, cache: Path) -> tuple[Rows, Any]:
    """Mean-pooled features of every seed's rows, and its first head."""
    if cache.exists():
        found = np.load(cache)
        heads = {name: found[name] for name in ("kernel", "bias")}
        return Rows(*(found[name] for name in Rows._fields)), heads
    sets, heads = [], []
    for seed in range(seeds):
        problem = problems.load(data_dir, seed, "head", test_examples=1)
        mean = lambda d: (d.inputs * d.mask[..., None]).sum(1) / d.mask.sum(1)[:, None]
        parts = (problem.train, problem.dev)
        sets.append([x for part in parts for x in (mean(part), part.labels)])
        heads.append(problem.params["classifier"])
    stack = lambda *xs: np.stack(xs)
    rows, heads = Rows(*map(stack, *sets)), jax.tree.map(stack, *heads)
    np.savez(cache, **rows._asdict(), **heads)
    return rows, heads


def fixed_root(inputs: jax.Array, covariance: str) -> Any:
    """Sigma^1/2 from the inputs, `a` where it is one vector, or None."""
    n = inputs.shape[1]
    moment = inputs.T @ inputs / len(inputs)
    mean = inputs.mean(0)
    if covariance == "moment":
        values, vectors = jnp.linalg.eigh(moment)
        level = jnp.trace(moment) / n
        return (vectors * jnp.sqrt(level / (level + jnp.maximum(values, 0)))) @ vectors.T
    if covariance == "diagonal":
        d = jnp.diag(moment)
        return jnp.diag(jnp.sqrt(d.mean() / (d.mean() + d)))
    if covariance == "mean input":
        rest = (jnp.trace(moment) - mean @ mean) / n
        return DampedRankOne(mean, rest).apply_sqrt(jnp.eye(n), axis=-1)
    centred = inputs - mean
    values, vectors = jnp.linalg.eigh(centred.T @ centred / len(inputs))
    if covariance.startswith("first "):
        return (vectors * (jnp.arange(n) >= n - int(covariance[6:]))) @ vectors.T
    power = {"inputs^0.5": 0.25, "inputs": 0.5, "inputs^2": 1.0}[covariance]
    return (vectors * (jnp.maximum(values, 0) / values[-1]) ** power) @ vectors.T


def train(
    method: Method, steps: int, rows: Rows, head: Any, root: Any, rate: Any, seed: Any
) -> Any:
    """One run; the dev loss every 64 forward passes."""
    scheme = {"loo": leave_one_out, "pairs": two_sided}[method.scheme]()
    count = method.passes // len(scheme.points)
    learned = method.covariance in ("random", "published", "adam", "even")
    nu = {"random": 0.0, "published": 1e-3}.get(method.covariance, 0.03)
    adam = optax.scale_by_adam()
    key = jax.random.fold_in(jax.random.key(7), seed)
    a = jax.random.normal(jax.random.fold_in(key, 10**6), (head["kernel"].shape[0],))

    def loss(params: Any, x: Any, y: Any) -> Any:
        return jnp.mean(cross_entropy(x @ params["kernel"] + params["bias"], y))

    def draw(a: Any, key: Any) -> Any:
        u, b = jax.random.split(key)
        u = jax.random.normal(u, (count, *head["kernel"].shape))
        bias = jax.random.normal(b, (count, 2))
        if learned:
            kernel = DampedRankOne(a, jnp.float32(DAMPING)).apply_sqrt(jnp.moveaxis(u, 1, 2), 2)
            return {"kernel": jnp.moveaxis(kernel, 2, 1), "bias": bias}
        return {"kernel": u if root is None else jnp.einsum("ij,kjm->kim", root, u), "bias": bias}

    def step(carry: Any, inputs: Any) -> Any:
        params, velocity, a, moments, mean = carry
        t, chosen = inputs
        x, y = rows.train[chosen], rows.train_labels[chosen]
        directions = draw(a, jax.random.fold_in(key, t))
        at = lambda point: jax.vmap(
            lambda u: loss(
                jax.tree.map(lambda w, u: w + method.epsilon * point * u, params, u), x, y
            )
        )(directions)
        losses = jnp.stack([at(point) for point in scheme.points], -1)
        slope, score = scheme.weigh(losses, jnp.float32(method.epsilon))
        if method.rule == "standardised":
            slope = slope / (jnp.sqrt(jnp.mean(jnp.square(slope))) * count)
        estimate = jax.tree.map(lambda u: jnp.tensordot(slope, u, 1), directions)
        velocity = jax.tree.map(lambda v, g: method.momentum * v + g, velocity, estimate)
        now = rate * (1 - t / steps if method.schedule == "linear" else 1.0)
        now = now * (1 - method.momentum)
        params = jax.tree.map(lambda w, v: w - now * v, params, velocity)
        if learned:
            samples = jnp.moveaxis(directions["kernel"], 1, 2)
            scores = jax.vmap(lambda y: DampedRankOne(a, jnp.float32(DAMPING)).score(y, -1))
            gradient = jnp.tensordot(score, scores(samples), 1)
            if method.covariance in ("adam", "even"):
                gradient, moments = adam.update(gradient, moments)
            a = a - nu * gradient
        weight = jnp.where(t >= steps * (1 - method.average), 1.0, 0.0)
        total, sums = mean
        sums = jax.tree.map(lambda s, w: s + weight * w, sums, params)
        total = total + weight
        scored = params
        if method.average:
            scored = jax.tree.map(lambda s, w: jnp.where(total > 0, s / total, w), sums, params)
        mean = (total, sums)
        now_scored = (t + 1) % max(1, SCORED // method.passes) == 0
        dev = jax.lax.cond(
            now_scored,
            lambda: loss(scored, rows.dev, rows.dev_labels),
            lambda: jnp.float32(jnp.nan),
        )
        return (params, velocity, a, moments, mean), dev

    zeros = jax.tree.map(jnp.zeros_like, head)
    chosen = jnp.stack([batch_of(t, method.batch) for t in range(steps)])
    start = (head, zeros, a, adam.init(a), (jnp.float32(0), zeros))
    (_, _, a, _, _), dev = jax.lax.scan(step, start, (jnp.arange(steps), chosen))
    every = max(1, SCORED // method.passes)
    dev = dev[every - 1 :: every]
    centre = rows.train.mean(0)
    cosine = a @ centre / (jnp.linalg.norm(a) * jnp.linalg.norm(centre))
    return dev, cosine


def batch_of(step: int, batch: int) -> np.ndarray:
    """The same order for every seed: their rows differ."""
    return batch_indices(0, step, 512, batch)


@functools.partial(jax.jit, static_argnums=(0, 1))
def all_runs(method: Method, steps: int, rows: Rows, heads: Any, rates: Any) -> Any:
    """Every seed at every rate."""
    seeds = jnp.arange(len(rows.train_labels))
    roots = None
    if method.covariance not in ("isotropic", "random", "published", "adam", "even"):
        roots = jax.vmap(lambda inputs: fixed_root(inputs, method.covariance))(rows.train)
    one = lambda rate: jax.vmap(lambda r, h, root, s: train(method, steps, r, h, root, rate, s))(
        rows, heads, roots, seeds
    )
    return jax.lax.map(one, rates)


def passes_to(curve: np.ndarray, target: float, passes: int) -> np.ndarray:
    """Forward passes until the dev loss is at the target; inf if never."""
    reached = curve <= target
    first = np.argmax(reached, -1) + 1.0
    return np.where(reached.any(-1), first, np.inf) * max(SCORED, passes)


def rates_of(method: Method) -> jax.Array:
    """The grid: a step of more passes takes a larger learning rate."""
    wide = 4 if method.covariance.startswith(("inputs", "first")) else 1  # of a smaller trace
    return jnp.asarray(RATES) * wide * method.passes / 16


def measure(method: Method, budget: int, rows: Rows, heads: Any) -> list[dict[str, Any]]:
    """For each target the best rate's passes, mean and standard error over the seeds."""
    curves, cosine = all_runs(method, budget // method.passes, rows, heads, rates_of(method))
    curves = np.nan_to_num(np.asarray(curves), nan=10.0)
    found = []
    for target in TARGETS:
        needed = passes_to(curves, target, method.passes)
        best = int(np.argmin(needed.mean(1)))
        row = {
            **method._asdict(),
            "target": target,
            "rate": float(rates_of(method)[best]),
            "passes to target": float(needed[best].mean()),
            "standard error": float(needed[best].std(ddof=1) / math.sqrt(needed.shape[1]))
            if np.isfinite(needed[best]).all()
            else math.inf,
            "each seed": needed[best].tolist(),
            "lowest loss": float(curves.min(-1).mean(1).min()),
            "last loss, best rate": float(curves[..., -5:].mean(-1).mean(1).min()),
            "cosine of a with the mean input": float(np.abs(np.asarray(cosine)[best]).mean()),
        }
        found.append(row)
    return found


METHODS = (
    Method(covariance="first 10", passes=4),
    Method(covariance="first 10", passes=8),
    Method(passes=4),
    Method(covariance="first 10"),
    Method(),
    Method("pairs"),
    Method("pairs", passes=2),
    Method(covariance="inputs"),
    Method(covariance="inputs^2"),
    Method(covariance="mean input"),
    Method(covariance="moment"),
    Method(covariance="published"),
    Method(covariance="adam", epsilon=0.1),
    Method("pairs", "even", 0.1),
    Method("pairs", "first 10", passes=2),
    Method(covariance="first 10", rule="standardised"),
    Method(rule="standardised"),
    Method(schedule="linear"),
    Method(covariance="first 10", schedule="linear"),
    Method(average=0.5),
    Method(momentum=0.9),
    Method(covariance="random"),
    Method(passes=64),
    Method(batch=64),
    Method(batch=64, covariance="first 10"),
    Method(covariance="diagonal"),
    Method("pairs", "even"),
    Method(covariance="adam"),
)


def main() -> None:
    """Measures, prints, saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="a file for the features, .npz")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--budget", type=int, default=3000, help="forward passes a run")
    options = parser.parse_args()
    rows, heads = pooled(options.data_dir, options.seeds, options.cache)
    path = RESULTS / "research_head.json"
    found = json.loads(path.read_text())["rows"] if path.exists() else []
    done = [[row[name] for name in Method._fields] for row in found]
    for method in METHODS:
        if list(method) in done:
            continue
        new = measure(method, options.budget, rows, heads)
        found += new
        shown = {k: v for k, v in new[1].items() if k not in ("each seed",)}
        print(table([shown]), flush=True)
        save("research_head", found, seeds=options.seeds, budget=options.budget, rates=RATES)


if __name__ == "__main__":
    main()
