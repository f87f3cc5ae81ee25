"""Temporary memory of a LOREN step, as the compiler plans it, beside that of its forward pass.

`compiled.memory_analysis().temp_size_in_bytes`: what a program holds beside its arguments and
results. Parameters and state are donated, so that new parameters may take the place of the old
ones. In units of the parameters, and beyond the bare forward pass in units of the largest leaf and
of the largest matrix of a layer or embedding, which is what bounds are stated in: see `BOUNDS`.

* `evaluations`: the K losses one after another, directions drawn within.
* `Optax`: `update` and `optax.apply_updates`.
* `in place`: `loren_jax.train_step`, which adds the estimate to the parameters leaf by leaf.

XLA's CPU back end by default orders a program for concurrency, and may compute what is needed late
as soon as it can. With the flag of `SCHEDULERS`, which must be set before JAX starts, it orders for
memory. Both are measured, in processes of their own.

    python -m benchmarks memory             # some minutes: it only compiles
    python -m benchmarks memory --states    # bytes of optimiser state of every method; seconds

Measured (jax 0.10.2, 8 x 64 tokens, units of the parameters, default / memory order):

                             scanned        unrolled
    forward                  0.14 / 0.10    0.10 / 0.10
    rank 1, evaluations      0.16 / 0.13    0.12 / 0.12
    rank 1, Optax            0.17 / 0.13    0.13 / 0.12
    rank 1, in place         0.17 / 0.13    0.13 / 0.12
    Gaussian, evaluations    0.19 / 0.14    0.26 / 0.11
    Gaussian, Optax          1.18 / 1.04    1.25 / 1.04
    Gaussian, in place       0.18 / 0.14    0.42 / 0.11

Beyond the forward pass, in units of the largest matrix (bounds 1.2 for rank 1, 3 for Gaussian in
place): rank 1 at most 0.21, Gaussian in place 0.26 scanned and 2.0 unrolled.
"""

import argparse
import math
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import jax

import loren_jax
from benchmarks.record import save, table
from benchmarks.speed import optimizer_state
from benchmarks.speed.step_time import Case, K, evaluations_of, forward_of, optimizer_of, step_of
from benchmarks.transformer import Transformer

BOUNDS = {
    ("Optax", "rank 1"): ("beyond forward / leaf", 1.2),
    ("in place", "rank 1"): ("beyond forward / matrix", 1.2),
    ("in place", "Gaussian"): ("beyond forward / matrix", 3.0),
}
SCHEDULERS = {
    "concurrent": "",
    "memory": "--xla_cpu_enable_concurrency_optimized_scheduler=false",
}


def measure_under(scheduler: str, *arguments: Any) -> list[dict[str, Any]]:
    """`measure` in a process that is started with the scheduler's flag."""
    before = os.environ.get("XLA_FLAGS", "")
    os.environ["XLA_FLAGS"] = f"{before} {SCHEDULERS[scheduler]}".strip()
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows = pool.submit(measure, *arguments).result()
    finally:
        os.environ["XLA_FLAGS"] = before
    return [{"scheduler": scheduler, **row, "bound met": _verdict(row)} for row in rows]


def measure(model: Transformer, batch: int, length: int) -> list[dict[str, Any]]:
    """One row a program."""
    params = jax.eval_shape(model.params)
    ids = jax.eval_shape(lambda: model.tokens(batch, length))
    size, largest, matrix = _bytes(model)
    bare = _temporary(forward_of(model), params, ids)
    programs = [("forward", "-", bare)]
    for case in (Case(1, 1), Case(None, 1)):
        optimizer = optimizer_of(case)
        state = jax.eval_shape(optimizer.init, params)
        count = jax.ShapeDtypeStruct((), "int32")
        # What follows the estimate has a state of its own; the first is the estimate's.
        evaluations = (params, state[0].directions, count, ids)
        in_place = loren_jax.train_step(model.loss, optimizer)
        programs += [
            ("evaluations", case.name(), _temporary(evaluations_of(model, case), *evaluations)),
            ("Optax", case.name(), _temporary(step_of(model, optimizer), params, state, ids)),
            ("in place", case.name(), _temporary(in_place, params, state, ids)),
        ]
    return [
        {
            "tokens": f"{batch}x{length}",
            "layers": "scanned" if model.scanned else "unrolled",
            "program": program,
            "directions": kind,
            "MiB": temporary / 2**20,
            "/ parameters": temporary / size,
            "beyond forward / leaf": (temporary - bare) / largest,
            "beyond forward / matrix": (temporary - bare) / matrix,
        }
        for program, kind, temporary in programs
    ]


def _bytes(model: Transformer) -> tuple[int, int, int]:
    """Of all parameters, of the largest leaf, of the largest matrix."""
    leaves = jax.tree.leaves(jax.eval_shape(model.params))
    sizes = [leaf.size * leaf.dtype.itemsize for leaf in leaves]
    matrices = [math.prod(leaf.shape[-2:]) * leaf.dtype.itemsize for leaf in leaves]
    return sum(sizes), max(sizes), max(matrices)


def _temporary(fn: Any, *arguments: Any) -> int:
    return fn.lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def _verdict(row: dict[str, Any]) -> str:
    # The bound in place is on the largest matrix: of a stack that is one layer.
    unit, bound = BOUNDS.get((row["program"], row["directions"]), (None, None))
    if unit is None:
        return "-"
    return "yes" if row[unit] <= bound else f"NO, above {bound}"


def main() -> None:
    """Compiles, prints, saves; nothing runs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", default="8x64", help="batch x length")
    parser.add_argument("--quick", action="store_true", help="a tiny model")
    parser.add_argument("--states", action="store_true", help="optimizer_state.py's table instead")
    options = parser.parse_args()
    if options.states:
        print(table(optimizer_state.rows(Transformer())))
        return
    batch, length = map(int, options.tokens.split("x"))
    tiny = {"layers": 2, "width": 32, "hidden": 64, "vocabulary": 128} if options.quick else {}
    models = [Transformer(**tiny, scanned=scanned) for scanned in (True, False)]
    rows = []
    for scheduler in SCHEDULERS:
        for model in models:
            rows += measure_under(scheduler, model, batch, length)
    print(table(rows))
    if not options.quick:
        print("saved", save("memory", rows, queries=K, parameters=_bytes(models[0])[0]))


if __name__ == "__main__":
    main()
