"""What may follow LOREN's estimate in an Optax chain, and whether it saves forward passes.

SmolLM2 with the prompt of SST-2, what follows the last attention trained (`evidence.prompted`), by
real forward passes, six a step. Two estimates, along isotropic rank-1 directions and along the
inputs of every matrix; after each one of

* nothing: the learning rate alone.
* orthogonalised: matrices to their nearest orthogonal ones, as ZO-Muon does with its own estimate;
  vectors, which would need a rate of their own, stay where they are. It multiplies whole
  matrices with themselves, five times a step: ten minutes were not enough to find its rate on this
  problem, so it is measured on a smaller one.
* decay: the rate falls in a line to zero.
* standardised: the update divided by its norm, as losses divided by their spread would make it.
* clipped: the norm at most that of the middle step so far (a running median).
* pulled: a hundredth of the way back to the start each step, so that noise does not pile up.
* averaged: scored is a mean of the iterates that forgets the first ones (weight of the newest of t
  is 4 / (t + 3)).

Rates are tuned on a seed of their own, in steps of 1.8 (`evidence.tuning`), for each chain.

`--calibrated` adds to the logits, before training, what makes the mean answer of the training rows
their mean label, so that no run has to unlearn the model's preference for one of the answers.

`--model-file` takes the language model of `queries_to_target.py language` instead.

    python -m benchmarks chains --data-dir DIR
    python -m benchmarks chains --data-dir DIR --model-file stories260K.bin
        --chains nothing orthogonalised standardised
    python -m benchmarks chains --data-dir DIR --calibrated --chains nothing standardised
"""

import argparse
import functools
import statistics
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import loren_jax
from benchmarks.evidence.methods import Method, along_inputs
from benchmarks.evidence.prompted import prompted, prompted_task
from benchmarks.evidence.rows import Rows, rounded
from benchmarks.evidence.runs import alone
from benchmarks.evidence.tables import Row, contrast, markdown, spread
from benchmarks.evidence.tasks import Task, classification, language_task
from benchmarks.evidence.tuning import choose, fine_rate
from benchmarks.record import RESULTS
from benchmarks.research.prompted_inputs import prior_bias
from loren_jax.directions import spanned
from loren_jax.directions.orthogonal import newton_schulz
from loren_jax.schemes import leave_one_out

FILE = RESULTS / "research_chains.jsonl"
K, BUDGET, EVALUATIONS = 6, 1200, 20
STEPS = BUDGET // K
TUNING, SEEDS = (100,), (0, 1, 2)


class MedianState(NamedTuple):
    """A running median of norms, ()."""

    median: Any


class StartState(NamedTuple):
    """The first parameters."""

    start: Any


class AverageState(NamedTuple):
    """Steps, and the mean of the iterates."""

    count: Any
    average: Any


def orthogonalised() -> optax.GradientTransformation:
    """Matrices to their nearest orthogonal ones, vectors to nothing."""

    def turned(path: Any, update: jax.Array) -> jax.Array:
        matrix = path[-1].key in ("kernel", "embedding")
        return newton_schulz(update) if matrix else jnp.zeros_like(update)

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree_util.tree_map_with_path(turned, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def clipped() -> optax.GradientTransformation:
    """The norm at most its running median, which follows in steps of a tenth."""

    def update(updates: Any, state: MedianState, params: Any = None) -> Any:
        norm = optax.tree.norm(updates)
        known = jnp.where(state.median > 0, state.median, norm)
        median = known * jnp.exp(0.1 * jnp.sign(norm - known))
        factor = jnp.minimum(1.0, median / norm)
        return jax.tree.map(lambda u: factor * u, updates), MedianState(median)

    return optax.GradientTransformation(lambda params: MedianState(jnp.float32(0)), update)


def pulled(share: float) -> optax.GradientTransformation:
    """After the learning rate: a share of the way back to the start."""

    def update(updates: Any, state: StartState, params: Any = None) -> Any:
        back = lambda u, w, start: u - share * (w - start)
        return jax.tree.map(back, updates, params, state.start), state

    return optax.GradientTransformation(lambda p: StartState(jax.tree.map(jnp.copy, p)), update)


def averaged() -> optax.GradientTransformation:
    """At the end of a chain: keeps the mean of the iterates."""

    def update(updates: Any, state: AverageState, params: Any = None) -> Any:
        count = state.count + 1
        weight = jnp.minimum(1.0, 4.0 / (count + 3.0))
        mean = lambda a, w, u: a + weight * (w + u - a)
        return updates, AverageState(count, jax.tree.map(mean, state.average, params, updates))

    start = lambda params: AverageState(jnp.int32(0), jax.tree.map(jnp.copy, params))
    return optax.GradientTransformation(start, update)


def _plain(rate: Any) -> tuple[Any, ...]:
    return (optax.scale(-rate),)


CHAINS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "nothing": _plain,
    "decay": lambda rate: (optax.scale_by_learning_rate(optax.linear_schedule(rate, 0.0, STEPS)),),
    "standardised": lambda rate: (optax.normalize_by_update_norm(), *_plain(rate)),
    "clipped": lambda rate: (clipped(), *_plain(rate)),
    "pulled": lambda rate: (*_plain(rate), pulled(0.01)),
    "averaged": lambda rate: (*_plain(rate), averaged()),
    "orthogonalised": lambda rate: (orthogonalised(), *_plain(rate)),
}
ESTIMATES = ("isotropic", "along the inputs")
# Numbers of the first rates; what is of another size than an estimate has a range of its own.
LOW = {"": -13, "orthogonalised": -13, "standardised": -4}


def contestant(estimate: str, chain: str, batches: int) -> Method:
    """LOREN's estimate and what follows it."""
    isotropic = estimate == "isotropic"

    def make(rate: Any, key: Any, factors: Any = MappingProxyType({})) -> Any:
        # Isotropic without factors; with them, they are in the state from `init` on.
        directions = spanned(factors, rank=1)
        estimator = loren_jax.estimate(directions, leave_one_out(), num_directions=K, key=key)
        return optax.chain(estimator, *CHAINS[chain](rate))

    scored = (lambda params, state: state[-1].average) if chain == "averaged" else None
    if isotropic:
        return Method(make, lambda step: K, scored=scored)
    along = along_inputs(K, batches, rank=1, count=64, power=1.0)
    return along._replace(make=make, scored=scored)


def calibrated(task: Task) -> Task:
    """The task with a constant on the second logit, which is data: nothing compiles anew."""
    logits = jax.jit(prompted("sst2").logits)(task.params, task.train["inputs"])
    bias = prior_bias(logits, task.train["labels"])

    def with_bias(rows: Any) -> Any:
        inputs = rows["inputs"] | {"bias": np.full(rows["labels"].shape, bias, np.float32)}
        return rows | {"inputs": inputs}

    held_out = {"dev": (with_bias(task.dev[0]), task.dev[1])}
    held_out["test"] = (with_bias(task.test[0]), task.test[1])
    loss, score = _calibrated_functions()
    return task._replace(loss=loss, score=score, train=with_bias(task.train), **held_out)


@functools.cache
def _calibrated_functions() -> tuple[Any, Any]:
    plain = prompted("sst2").logits
    moved = lambda inputs: jnp.stack([jnp.zeros_like(inputs["bias"]), inputs["bias"]], -1)
    return classification(lambda params, inputs: plain(params, inputs) + moved(inputs))


def measure(options: argparse.Namespace, rows: Rows) -> None:
    """One row an estimate and chain."""

    @functools.cache
    def task_of(seed: int) -> Task:
        if options.model_file:
            return language_task(options.model_file, seed, data_dir=options.data_dir)
        task = prompted_task("sst2", seed, data_dir=options.data_dir)
        return calibrated(task) if options.calibrated else task

    length = {"budget": BUDGET, "evaluations": EVALUATIONS}
    for chain in options.chains:
        for estimate in ESTIMATES:
            fields = {"task": task_of(SEEDS[0]).name, "estimate": estimate, "chain": chain}
            fields["calibrated"] = options.calibrated
            if rows.has(**fields):
                continue
            task = task_of(SEEDS[0])
            method = contestant(estimate, chain, task.examples // task.batch_size)

            def scores(rates: Any, method: Method = method) -> dict[float, float]:
                one = lambda r, s: alone(task_of(s), method, r, s, **length).mean_loss
                return {r: statistics.fmean(one(r, s) for s in TUNING) for r in rates}

            low = LOW.get(chain, LOW[""])
            rate, found = choose(scores, low, low + 3, rate=fine_rate)
            runs = [alone(task_of(s), method, rate, s, **length) for s in SEEDS]
            row = {
                "rate": rate, "seeds": SEEDS, "budget": BUDGET,
                "mean dev loss": rounded([run.mean_loss for run in runs]),
                "last dev loss": rounded([run.dev["loss"][-1] for run in runs]),
                "test loss": rounded([run.test["loss"] for run in runs]),
                "test accuracy": rounded([run.test.get("accuracy", np.nan) for run in runs]),
                "rates": sorted(found), "tuning": rounded([found[r] for r in sorted(found)]),
                "passes": runs[0].passes,
                "dev loss": [rounded(run.dev["loss"]) for run in runs],
            }  # fmt: skip
            rows.add(fields | row)
            print(*fields.values(), rate, row["mean dev loss"], row["last dev loss"], flush=True)


def compared(rows: Rows) -> list[Row]:
    """Every chain, and its losses less those of the same estimate with nothing after it, paired."""
    found = []
    for row in rows:
        same = {name: row[name] for name in ("task", "estimate", "calibrated")}
        base = rows.where(chain="nothing", **same)
        line = same | {"chain": row["chain"], "rate": row["rate"]}
        for kind in ("mean dev loss", "last dev loss"):
            line[kind] = spread(row[kind])
            line[f"{kind} less"] = contrast(row[kind], base[0][kind])[0] if base else None
        found.append(line)
    return found


def main() -> None:
    """Measures what is not there yet, and prints all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--model-file", type=Path, help="a llama2.c file")
    parser.add_argument("--chains", nargs="+", choices=CHAINS, default=list(CHAINS)[:-1])
    parser.add_argument("--calibrated", action="store_true")
    measure(parser.parse_args(), Rows(FILE))
    print(markdown(compared(Rows(FILE))))


if __name__ == "__main__":
    main()
