"""Trajectories over a saddle: SGD, ZO-SGD, ZO-Adam, HiZOO and LOREN on the monkey saddle.

Figure 1b of the LOREN paper (https://arxiv.org/abs/2511.07971): `f(x, y) = x^3 - 3 x y^2` from
(2.9, -0.01), almost on the ridge that leads to the saddle at the origin, where gradient and Hessian
vanish. The figure's settings are not known here; these are our own:

* A run has left when f is below -1. It is then at least 1 away from the saddle, as |f| <= r^3, and
  in a valley in which f falls without bound: the run ends there.
* A step longer than 0.5 (`--jump`) is a jump across the saddle and not a way out of it. The run
  ends and counts as one that never left; else the largest learning rate would win by itself.
* Directions are as many as six forward passes a step pay for (HiZOO: two, five passes); SGD has the
  true gradient and its queries are gradients. All other knobs are the defaults of `loren_jax`.
* Learning rates come from one grid, four a decade from 1e-4 to 1, the same for all. For each method
  the one with the least mean of queries over the seeds 100 to 119 is taken, where a run that never
  left counts as the budget of 6,000 queries. Reported are the seeds 0 to 19.

    python -m benchmarks test_functions    # 3 minutes on two CPU cores, most of it compilation

Measured (queries to leave, mean +- standard error over the runs that left; how many never did):

                             at most 0.5 a step    at most 0.25 a step
    SGD                      55                    158
    ZO-SGD                   932 +- 233            1406 +- 186
    ZO-Adam                  65 +- 6               136 +- 11
    HiZOO                    691 +- 129            937 +- 136, 1 never
    LOREN                    101 +- 19             481 +- 292
    ZO-SGD, momentum 0.9     210 +- 34             623 +- 132
    HiZOO, smoothing 1e-2    805 +- 180, 3 never   2032 +- 265, 5 never
    LOREN, no momentum       182 +- 25, 1 never    324 +- 54, 1 never
    LOREN, covariance fixed  101 +- 19             481 +- 292
    LOREN, damping 1e6       403 +- 46             876 +- 150, 1 never
    LOREN, 1e6, no momentum  957 +- 152            957 +- 152

LOREN leaves sooner than ZO-SGD and HiZOO, ZO-Adam sooner still. But nothing is learned on the way:
a fixed covariance gives the same three digits. The random initial `a` takes away one of the two
dimensions, so that a run descends along a line, which leads off the ridge; without it (damping 1e6)
and without momentum LOREN is as slow as ZO-SGD.
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import loren_jax
from benchmarks.record import RESULTS, save, table
from loren_jax.optimizers import hizoo, mezo_adam

START, LEVEL, JUMP = (2.9, -0.01), -1.0, 0.5
BUDGET, REPORTED, CHOSEN_ON = 6000, range(20), range(100, 120)
GRID = tuple(float(f"{10 ** (i / 4):.2g}") for i in range(-16, 1))


class Method(NamedTuple):
    """`make(learning_rate, key=seed)`, its queries a step, and whether the figure shows it."""

    make: Callable[..., optax.GradientTransformation]
    queries: int
    drawn: bool = True


mezo = partial(loren_jax.mezo, num_directions=3)
# The published momentum: what is measured without it says so.
loren = partial(partial, loren_jax.loren, momentum=0.9)
METHODS = {
    "SGD": Method(lambda rate, key: optax.sgd(rate), 1),
    "ZO-SGD": Method(mezo, 6),
    "ZO-Adam": Method(partial(mezo_adam, num_directions=3), 6),
    "HiZOO": Method(partial(hizoo, num_directions=2), 5),
    "LOREN": Method(loren(), 6),
    "ZO-SGD, momentum 0.9": Method(partial(mezo, momentum=0.9), 6, False),
    "HiZOO, smoothing 1e-2": Method(partial(hizoo, num_directions=2, smoothing=1e-2), 5, False),
    "LOREN, no momentum": Method(loren(momentum=None), 6, False),
    "LOREN, covariance fixed": Method(loren(covariance_learning_rate=0.0), 6, False),
    # So much damping makes the covariance the identity, whatever `a` is.
    "LOREN, damping 1e6": Method(loren(damping=1e6), 6, False),
    "LOREN, 1e6, no momentum": Method(loren(damping=1e6, momentum=None), 6, False),
}


def monkey_saddle(x: Any) -> Any:
    """Three valleys and three ridges meet at the origin."""
    return x[0] ** 3 - 3 * x[0] * x[1] ** 2


class Run(NamedTuple):
    """Queries until it left, or the budget; whether it left; its path, `(steps + 1, 2)`."""

    queries: Any
    left: Any
    path: Any


def run(method: Method, steps: int, jump: float, rate: jax.Array, seed: jax.Array) -> Run:
    """Follows one run until it leaves, jumps or has spent its budget."""
    tx = optax.with_extra_args_support(method.make(rate, key=seed))
    start = jnp.asarray(START)

    def step(carry, _):
        x, state, running = carry
        gradient = jax.grad(monkey_saddle)(x) if method.queries == 1 else None
        updates, state = tx.update(gradient, state, x, value_fn=monkey_saddle)
        jumped = ~(jnp.linalg.norm(updates) <= jump)  # so is a step that is no number
        new = jnp.where(running, x + updates, x)
        left = running & ~jumped & (monkey_saddle(new) < LEVEL)
        return (new, state, running & ~jumped & ~left), (new, left, running)

    carry = (start, tx.init(start), jnp.asarray(True))
    _, (path, left, running) = jax.lax.scan(step, carry, length=steps)
    spent = jnp.where(jnp.any(left), jnp.sum(running), steps) * method.queries
    return Run(spent, jnp.any(left), jnp.concatenate([start[None], path]))


def run_all(method: Method, options: argparse.Namespace, rates: Any, seeds: Any) -> Run:
    """The runs of several learning rates and seeds; leading axes `(rates, seeds)`."""
    one = partial(run, method, options.budget // method.queries, options.jump)
    both = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))
    return jax.tree.map(np.asarray, both(jnp.asarray(rates), jnp.asarray(seeds)))


def measure(name: str, options: argparse.Namespace) -> tuple[dict[str, Any], Run]:
    """Chooses the learning rate on some seeds; runs it, and reports, on others."""
    method = METHODS[name]
    costs = np.mean(run_all(method, options, GRID, CHOSEN_ON).queries, -1)
    rate = GRID[int(np.argmin(costs))]
    runs = Run(*(x[0] for x in run_all(method, options, [rate], REPORTED)))
    spent = runs.queries[runs.left]
    several = len(spent) > 1
    row = {
        "method": name,
        "queries a step": method.queries,
        "learning rate": rate,
        "queries to leave": float(np.mean(spent)) if len(spent) else None,
        "standard error": float(np.std(spent, ddof=1) / len(spent) ** 0.5) if several else None,
        "median": float(np.median(runs.queries)),
        "never left": int(np.sum(~runs.left)),
    }
    return row, runs


def draw(runs: dict[str, Run], rows: list[dict[str, Any]]) -> None:
    """Of each method the run of median length, over the contours of f."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    grid = np.meshgrid(np.linspace(-1.6, 3.2, 200), np.linspace(-1.9, 1.9, 200))
    levels = [-20, -10, -5, -3, -1, -0.3, -0.03, 0.03, 0.3, 1, 3, 5, 10, 20]
    contour = partial(axes.contour, *grid, monkey_saddle(grid), linestyles="solid")
    contour(levels, colors="#cccccc", linewidths=0.6)
    contour([LEVEL], colors="black", linewidths=1.2)
    for row in rows:
        name = row["method"]
        if METHODS[name].drawn:
            middle = int(np.argsort(runs[name].queries, stable=True)[len(REPORTED) // 2])
            x, y = runs[name].path[middle].T
            label = f"{name}, {runs[name].queries[middle]} queries"
            axes.plot(x, y, "o-", markersize=2.5, linewidth=1, label=label)
    axes.plot(*START, "k*", markersize=10)
    axes.plot(0, 0, "k+", markersize=10)
    axes.set(xlim=(-1.6, 3.2), ylim=(-1.9, 1.9), xlabel="x", ylabel="y")
    axes.set_title("Monkey saddle: from the star past the saddle (+) to the black line, f = -1")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(framealpha=1, edgecolor="none", fontsize=8, loc="lower left")
    figure.savefig(RESULTS / "test_functions.png", dpi=150)


def main() -> None:
    """Measures, prints, saves, draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jump", type=float, default=JUMP, help="length that no step may exceed")
    parser.add_argument("--quick", action="store_true", help="five methods, a tenth of the budget")
    options = parser.parse_args()
    options.budget = BUDGET // 10 if options.quick else BUDGET
    names = [name for name, method in METHODS.items() if method.drawn or not options.quick]
    measured = {name: measure(name, options) for name in names}
    rows = [row for row, _ in measured.values()]
    print(table(rows))
    if not options.quick and options.jump == JUMP:
        facts = {"budget": BUDGET, "jump": JUMP, "level": LEVEL, "start": START, "grid": GRID}
        seeds = {"seeds": list(REPORTED), "seeds of the choice": list(CHOSEN_ON)}
        print("saved", save("test_functions", rows, **facts, **seeds))
        draw({name: runs for name, (_, runs) in measured.items()}, rows)


if __name__ == "__main__":
    main()
