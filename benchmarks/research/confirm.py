"""Real forward passes through the package, on all parameters of MiniLM: what `law.py` screened.

Every method takes 16 forward passes a step on the same batches of 16. `inputs` asks
`loren_jax.evaluation.input_factors` once, on 64 training rows without their labels, for the
directions that the inputs of every matrix vary along: four forward passes more, which are counted.

    python benchmarks/research/confirm.py --data-dir DIR --method mezo --rates 1e-3 --seeds 0
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import problem as problems

import loren_jax
from loren_jax.evaluation import input_factors
from loren_jax.tasks import batch_indices

sys.path.append(str(Path(__file__).parents[1]))
from record import RESULTS, save

PASSES, BATCH, FACTOR_ROWS = 16, 16, 64
METHODS = ("mezo", "loren", "inputs")


def optimizer_of(method: str, rate: float, seed: int, problem: problems.Problem, power: float):
    """The method with rank-1 directions where it has no fan-in vectors of its own."""
    common = {"chunk_size": PASSES, "key": seed}
    if method == "mezo":
        return loren_jax.mezo(rate, num_directions=PASSES // 2, rank=1, **common)
    common |= {"num_directions": PASSES, "momentum": None, "rank": 1}
    if method == "loren":
        return loren_jax.loren(rate, covariance="isotropic", **common)
    rows = problem.train.rows(slice(FACTOR_ROWS))
    factors = input_factors(
        lambda params: problem.loss(params, rows),
        problem.params,
        power=power,
        weights=rows.mask,
    )
    return loren_jax.loren(rate, covariance=factors, **common)


def run(
    method: str, rate: float, seed: int, steps: int, data_dir: Path, trained: str, power: float
) -> dict[str, Any]:
    """Trains with real forward passes and scores every 160 of them."""
    problem = problems.load(data_dir, seed, trained)
    optimizer = optimizer_of(method, rate, seed, problem, power)
    step = loren_jax.train_step(problem.loss, optimizer)
    params = jax.tree.map(jnp.array, problem.params)
    state = jax.jit(optimizer.init)(params)
    extra = FACTOR_ROWS // BATCH if method == "inputs" else 0
    row: dict[str, Any] = {
        "method": method, "rate": rate, "seed": seed, "steps": steps, "trained": trained,
        "power": power, "passes": [], "dev loss": [], "dev accuracy": [], "diverged": False,
    }  # fmt: skip
    for number in range(steps):
        chosen = problem.train.rows(batch_indices(seed, number, 512, BATCH))
        params, state = step(params, state, chosen)
        if (number + 1) % 10 == 0:
            loss, accuracy = problem.score(params, problem.dev)
            row["passes"].append((number + 1) * PASSES + extra)
            row["dev loss"].append(loss)
            row["dev accuracy"].append(accuracy)
            print(method, rate, seed, row["passes"][-1], loss, accuracy, flush=True)
            if not np.isfinite(loss) or loss > 2:
                row["diverged"] = True
                break
    test, accuracy = problem.score(params, problem.test)
    return {**row, "test loss": test, "test accuracy": accuracy}


def main() -> None:
    """Runs what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--rates", type=float, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--trained", default="all")
    parser.add_argument("--power", type=float, default=1.0)
    options = parser.parse_args()
    path = RESULTS / "research_confirm.json"
    names = ("method", "rate", "seed", "steps", "trained", "power")
    for seed in options.seeds:
        for rate in options.rates:
            rows = json.loads(path.read_text())["rows"] if path.exists() else []
            settings = (options.method, rate, seed, options.steps, options.trained, options.power)
            if settings in [tuple(row[name] for name in names) for row in rows]:
                continue
            arguments = (options.data_dir, options.trained, options.power)
            row = run(options.method, rate, seed, options.steps, *arguments)
            print({k: v for k, v in row.items() if not isinstance(v, list)}, flush=True)
            save("research_confirm", [*rows, row])


if __name__ == "__main__":
    main()
