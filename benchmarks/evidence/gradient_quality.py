"""How far zeroth-order estimates are from the gradient, on functions and on matrices.

The first part is the claim of Figure 1a of the LOREN paper (https://arxiv.org/abs/2511.07971): with
the same four queries, on Sphere, Rastrigin and Rosenbrock in 1,000 dimensions, the leave-one-out
estimate has a smaller mean squared error than the plain one-sided one,
`mean_k f(x + eps u_k) u_k / eps`. Central pairs and forward differences stand beside them at the
same four forward passes. Gradients are taken at one standard normal point (`--seed`), with
`eps = 1e-3`. The exit code is 1 if the claim fails on any of the three.

The second part (`--matrices`) compares full Gaussian with rank-r directions on one matrix. For a
pair of queries along one direction of an m x n matrix, relative to the squared gradient norm and
exactly so for linear and quadratic losses,

    error(r) = m n + 1 + 2 (m + n + 1) / r        error(Gaussian) = m n + 1

which is (m + 2)(n + 2) - 1 at r = 1. Leave-one-out with K directions is a sample covariance, with

    error = ((d + K) / (K - 1) + error(r)) / K    at d = m n, small eps

which is (d + 1) / (K - 1) for full Gaussian directions.

    python -m benchmarks gradient_quality               # 1 minute on one CPU core
    python -m benchmarks gradient_quality --matrices    # 3 minutes

Measured (seed 0, 5,000 estimates, squared error over squared gradient norm):

    1,000 dimensions          Sphere     Rastrigin  Rosenbrock  theory, small eps
    one-sided, no baseline    6.05e10    1.40e10    1.15e10     f^2 d / (4 eps^2 g^2)
    forward, with centre      333 +- 4   329 +- 4   332 +- 4    (d + 1) / 3 = 334
    central pairs             500 +- 7   500 +- 7   493 +- 7    (d + 1) / 2 = 501
    leave-one-out             338 +- 4   334 +- 4   335 +- 4    (d + 1) / 3 = 334

    error / theory on matrices: all 32 rows between 0.970 and 1.040, standard errors 0.011 to 0.031
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.record import RESULTS, save, table
from loren_jax import directions, estimate, schemes
from loren_jax.diagnostics import GradientQuality, compare_with_gradient
from loren_jax.types import Coefficients, Scheme

DIMENSIONS, QUERIES = 1000, 4
CLAIM = ("one-sided, no baseline", "leave-one-out")


def sphere(x: jax.Array) -> jax.Array:
    """Convex, separable."""
    return jnp.sum(x**2)


def rastrigin(x: jax.Array) -> jax.Array:
    """Many local minima."""
    return 10 * x.size + jnp.sum(x**2 - 10 * jnp.cos(2 * jnp.pi * x))


def rosenbrock(x: jax.Array) -> jax.Array:
    """A curved valley; very different scales."""
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def plain() -> Scheme:
    """One query a direction, compared with nothing."""

    def weigh(losses: jax.Array, scale: jax.Array) -> Coefficients:
        slope = losses[:, 0] / (len(losses) * scale)
        return Coefficients(slope=slope, score=jnp.zeros_like(slope))

    return Scheme(points=(1.0,), weigh=weigh)


def forward() -> Scheme:
    """One query a direction, compared with one at the centre.

    The centre is queried once for each direction here; it is the same number each time, and counts
    once.
    """

    def weigh(losses: jax.Array, scale: jax.Array) -> Coefficients:
        slope = (losses[:, 1] - losses[:, 0]) / (len(losses) * scale)
        return Coefficients(slope=slope, score=jnp.zeros_like(slope))

    return Scheme(points=(0.0, 1.0), weigh=weigh)


# Name, scheme, number of directions that four forward passes pay for.
METHODS = (
    (CLAIM[0], plain(), QUERIES),
    ("forward, with centre", forward(), QUERIES - 1),
    ("central pairs", schemes.two_sided(), QUERIES // 2),
    (CLAIM[1], schemes.leave_one_out(), QUERIES),
)


def compare_functions(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a function and method."""
    point = jax.random.normal(jax.random.key(options.seed), (DIMENSIONS,))
    rows = []
    for function in (sphere, rastrigin, rosenbrock):
        for name, scheme, number in METHODS:
            quality = measure(options, function, point, scheme, number)
            rows.append({"function": function.__name__, "method": name, **facts(quality)})
    return rows


def claim_holds(rows: list[dict[str, Any]]) -> bool:
    """Whether leave-one-out is below one-sided on every function, by three standard errors."""
    verdicts = []
    for name in dict.fromkeys(row["function"] for row in rows):
        own = {row["method"]: row for row in rows if row["function"] == name}
        worse, better = (own[method] for method in CLAIM)
        margin = 3 * (worse["standard error"] + better["standard error"])
        verdicts.append(better["relative error"] + margin < worse["relative error"])
    return all(verdicts)


def compare_matrices(options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a shape, loss, scheme and kind of direction."""
    rows = []
    for shape in ((32, 32), (128, 96)):
        keys = jax.random.split(jax.random.key(options.seed), 4)
        slopes, point = (jax.random.normal(key, shape) for key in keys[:2])
        roots = [jax.random.normal(keys[2 + i], (s, s)) / s**0.5 for i, s in enumerate(shape)]
        losses: tuple[tuple[str, Callable], ...] = (
            ("linear", lambda w, g=slopes: jnp.sum(g * w)),
            ("quadratic", lambda w, g=slopes, r=roots: quadratic(w, g, *r)),
        )
        for name, loss in losses:
            for scheme_name, scheme, number in (
                ("one pair", schemes.two_sided(), 1),
                (f"leave-one-out, K = {QUERIES}", schemes.leave_one_out(), QUERIES),
            ):
                for rank in (None, 8, 2, 1):
                    quality = measure(options, loss, point, scheme, number, rank)
                    expected = theory(shape, rank, scheme_name == "one pair")
                    rows.append(
                        {"shape": "x".join(map(str, shape)), "loss": name, "scheme": scheme_name}
                        | {"directions": f"rank {rank}" if rank else "Gaussian"}
                        | facts(quality)
                        | {"theory": expected}
                        | {"ratio": float(quality.relative_error) / expected}
                        | {"ratio stderr": float(quality.relative_error_stderr) / expected}
                    )
    return rows


def quadratic(w: jax.Array, slopes: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    """A quadratic form with a Kronecker product as its Hessian, and a linear part."""
    return jnp.sum(slopes * w) + jnp.sum((left @ w @ right) ** 2) / 2


def theory(shape: tuple[int, int], rank: int | None, pair: bool) -> float:
    """Squared error over squared gradient norm, of the module's docstring."""
    m, n = shape
    single = m * n + 1 + (2 * (m + n + 1) / rank if rank else 0)
    return single if pair else ((m * n + QUERIES) / (QUERIES - 1) + single) / QUERIES


def measure(
    options: argparse.Namespace,
    loss: Callable,
    point: jax.Array,
    scheme: Scheme,
    number: int,
    rank: int | None = None,
) -> GradientQuality:
    """The library's own estimate beside the gradient."""
    estimator = estimate(
        directions.isotropic(rank),
        scheme,
        num_directions=number,
        perturbation_scale=options.epsilon,
        key=options.seed,
    )
    return compare_with_gradient(estimator, loss, point, num_estimates=options.estimates)


def facts(quality: GradientQuality) -> dict[str, float]:
    """The columns that both tables have."""
    return {
        "relative error": float(quality.relative_error),
        "standard error": float(quality.relative_error_stderr),
        "cosine": float(quality.cosine),
        "gain": float(quality.gain),
    }


def draw(rows: list[dict[str, Any]], path: Any) -> None:
    """The relative errors, on a logarithmic axis: the plain estimate is orders of magnitude off.

    Standard errors are smaller than the markers.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    functions = list(dict.fromkeys(row["function"] for row in rows))
    for i, (name, _, _) in enumerate(METHODS):
        own = [row for row in rows if row["method"] == name]
        heights = [row["relative error"] for row in own]
        places = [functions.index(row["function"]) + 0.2 * (i - 1.5) for row in own]
        axes.plot(places, heights, "o", label=name)
        for place, height in zip(places, heights, strict=True):
            text = f"{height:.0f}" if height < 1e4 else f"{height:.1e}"
            axes.annotate(
                text, (place, height), (0, 7), textcoords="offset points", ha="center", fontsize=8
            )
    axes.set_yscale("log")
    axes.set_ylim(10, axes.get_ylim()[1] * 30)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_xticks(range(len(functions)), [name.capitalize() for name in functions])
    axes.set_ylabel("squared error / squared gradient norm")
    axes.set_title(f"{DIMENSIONS:,} dimensions, {QUERIES} forward passes an estimate")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=2, fontsize=8)
    figure.savefig(path, dpi=150)


def main() -> int:
    """Runs one of the two parts; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--matrices", action="store_true", help="the second part")
    parser.add_argument("--estimates", type=int, default=5000)
    parser.add_argument("--epsilon", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = (compare_matrices if options.matrices else compare_functions)(options)
    print(table(rows))
    settings = {k: v for k, v in vars(options).items() if k != "matrices"}
    name = "gradient_quality_matrices" if options.matrices else "gradient_quality"
    store = partial(save, name, rows, **settings)
    if options.matrices:
        print("saved", store())
        return 0
    holds = claim_holds(rows)
    print("leave-one-out below one-sided on all functions:", "yes" if holds else "NO")
    print("saved", store(claim_holds=holds))
    draw(rows, RESULTS / f"{name}.png")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
