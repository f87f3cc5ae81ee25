r"""Perturbing activations instead of weights, in law: does one direction an example and token help?

Noise eps is added to the outputs of chosen matrices, other noise for every example, and K losses
give an estimate of the gradient delta_i of each example's own loss by these outputs. A matrix's
gradient is the sum of its inputs times delta, so one more forward pass makes the update
sum_i x_i delta_hat_i^T, at the memory of inference. The noise has the dimension of the activations,
not of the weights, and all examples are estimated at once.

As in `law.py` the loss is taken as linear over a perturbation, where given delta_i the estimate
from K losses has a known law; each example draws its own. `centred` takes the mean input off.

    python benchmarks/research/activations.py --data-dir DIR
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import problem as problems
from inputs import Linear, logits, matrix_inputs

from loren_jax.objectives import cross_entropy
from loren_jax.tasks import batch_indices

sys.path.append(str(Path(__file__).parents[1]))
from record import RESULTS, save

EVERY = ("query", "key", "value", "output", "up", "down", "classifier")
BATCH, SCORED = 16, 25


class Settings(NamedTuple):
    """One run.

    Attributes:
      trained: `all` or `tail`.
      perturbed: the matrices whose outputs are perturbed, and which learn.
      rate: learning rate.
      directions: K; a step costs K + 1 forward passes. Zero for the gradient itself.
      centred: whether the mean input is taken off the inputs.
      steps: of the run.
      seed: of everything.
    """

    trained: str
    perturbed: tuple[str, ...]
    rate: float
    directions: int = 16
    centred: bool = True
    steps: int = 75
    seed: int = 0


PLAN = (
    Settings("tail", EVERY, 0.03, directions=0),
    Settings("tail", EVERY, 0.003, centred=False),
    Settings("tail", EVERY, 0.01, centred=False),
    Settings("tail", EVERY, 0.01),
    Settings("tail", EVERY, 0.03),
    Settings("tail", ("down",), 0.03),
    Settings("tail", ("down",), 0.1),
    Settings("tail", ("classifier",), 0.1),
    Settings("tail", ("classifier",), 0.1, directions=2),
    Settings("all", ("down", "classifier"), 0.03, steps=50),
)


def estimated(deltas: Any, key: Any, directions: int) -> Any:
    """What K losses with their mean taken off tell of each example's gradient, in law."""
    leaves, treedef = jax.tree.flatten(deltas)
    rows = len(leaves[0])
    flat = jnp.concatenate([leaf.reshape(rows, -1) for leaf in leaves], 1)
    size, free = jnp.linalg.norm(flat, axis=1, keepdims=True), directions - 1
    one, other = jax.random.split(key)
    weight = jnp.sqrt(2 * jax.random.gamma(one, free / 2, (rows, 1)))
    noise = jax.random.normal(other, flat.shape) * (flat != 0)
    along = jnp.sum(noise * flat, 1, keepdims=True) / size
    found = (weight**2 - weight * along) / free * flat + size * weight / free * noise
    ends = np.cumsum([leaf.size // rows for leaf in leaves])[:-1]
    parts = jnp.split(found, ends, 1)
    return treedef.unflatten([p.reshape(x.shape) for p, x in zip(parts, leaves, strict=True)])


def stepper(settings: Settings, means: dict[str, Any]) -> Callable[..., Any]:
    """`(params, key, data) -> params`."""

    def weights(params: Any, name: str) -> Any:
        first, *rest = name.split("/")
        tree = jax.tree.map(lambda w: w[int(first)], params["layers"]) if rest else params[first]
        for part in rest:
            tree = tree[part]
        return tree

    def step(params: Any, key: Any, data: problems.Data) -> Any:
        seen = Linear()
        shapes = jax.eval_shape(lambda: (logits(params, data, seen), seen.inputs)[1])
        chosen = [name for name in shapes if name.rpartition("/")[2] in settings.perturbed]

        def loss(added: dict[str, Any]) -> Any:
            linear = Linear(added)
            return cross_entropy(logits(params, data, linear), data.labels).sum(), linear.inputs

        zeros = {
            name: jnp.zeros((*shapes[name].shape[:-1], weights(params, name)["bias"].shape[-1]))
            for name in chosen
        }
        deltas, inputs = jax.grad(loss, has_aux=True)(zeros)
        if settings.directions:
            deltas = estimated(deltas, key, settings.directions)

        def product(params: Any) -> jax.Array:
            total = jnp.zeros(())
            for name in chosen:
                x = inputs[name] - (means[name] if settings.centred else 0.0)
                y = x @ weights(params, name)["kernel"] + weights(params, name)["bias"]
                total += jnp.sum(y * deltas[name]) / len(data.labels)
            return total

        estimate = jax.grad(product)(params)
        return jax.tree.map(lambda w, g: w - settings.rate * g, params, estimate)

    return jax.jit(step)


def run(settings: Settings, data_dir: Path) -> dict[str, Any]:
    """Trains, and scores every 25 steps."""
    problem = problems.load(data_dir, settings.seed, settings.trained)
    seen = matrix_inputs(problem.params, problem.train.rows(slice(128)))
    means = {
        name.removesuffix("/kernel"): jnp.asarray(x.mean(0), jnp.float32)
        for name, x in seen.items()
    }
    step, params = stepper(settings, means), jax.tree.map(jnp.array, problem.params)
    curve: dict[str, list[float]] = {"passes": [], "dev loss": [], "dev accuracy": []}
    for number in range(settings.steps):
        rows = problem.train.rows(batch_indices(settings.seed, number, 512, BATCH))
        params = step(params, jax.random.fold_in(jax.random.key(settings.seed), number), rows)
        if (number + 1) % SCORED == 0:
            cost = settings.directions + 1 if settings.directions else 3
            found = ((number + 1) * cost, *problem.score(params, problem.dev))
            for values, value in zip(curve.values(), found, strict=True):
                values.append(value)
            if not np.isfinite(found[1]):
                break
    return {**settings._asdict(), **curve}


def main() -> None:
    """Runs the plan, what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    options = parser.parse_args()
    path = RESULTS / "research_activations.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    done = [[row[name] for name in Settings._fields] for row in rows]
    for settings in PLAN:
        if json.loads(json.dumps(settings)) in done:
            continue
        row = run(settings, options.data_dir)
        print(row, flush=True)
        rows.append(json.loads(json.dumps(row)))
        save("research_activations", rows)


if __name__ == "__main__":
    main()
