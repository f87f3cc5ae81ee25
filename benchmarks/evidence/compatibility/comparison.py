"""A case tried: does it run, are the losses those of perturbed copies, which leaves are dense."""

import time
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import loren_jax
from benchmarks.evidence.compatibility.cases import Case
from loren_jax import diagnostics, evaluation

METHODS = {
    "loren, rank 1": lambda **options: loren_jax.loren(
        1e-3, rank=1, num_directions=4, momentum=None, **options
    ),
    "mezo, full rank": lambda **options: loren_jax.mezo(1e-3, rank=None, **options),
}


class Row(NamedTuple):
    """What was found out; JSON values.

    Attributes:
      library: and its version.
      case: its name.
      failed: by method, the error; empty where all ran.
      difference: the largest between losses and those of copies, in units of their spread; None
        where nothing ran.
      equal: whether that is within rounding.
      dense: path, primitive and advice of each leaf that is built under rank-1 directions.
      leaves: how many there are.
      seconds: it took.
      remark: of the case.
    """

    library: str
    case: str
    failed: dict[str, str]
    difference: float | None
    equal: bool
    dense: list[tuple[str, str, str]]
    leaves: int
    seconds: float
    remark: str


def compare(library: str, case: Case) -> Row:
    """Tries a case; what it raises is a part of the row."""
    with jax.enable_x64(case.float64):
        return _compare(library, case)


def _compare(library: str, case: Case) -> Row:
    start, failed, found = time.monotonic(), dict[str, str](), list[tuple[float, bool]]()
    dense, leaves, axes = list[tuple[str, str, str]](), 0, None
    stage = "the loss itself"
    try:
        params, loss = case.build()
        jax.block_until_ready(jax.jit(loss)(params))
        leaves = len(jax.tree.leaves(params))
        part, of_part = trained_part(case, params, loss)
        stage = "matrix_axes"
        axes = loren_jax.matrix_axes(of_part, part)
        stage = "materialised"
        directions = loren_jax.directions.isotropic(1, axes)
        built = diagnostics.dense_leaves(of_part, part, directions)
        dense = [(leaf.path, leaf.primitive, leaf.advice) for leaf in built]
    except Exception as error:  # whatever other people's code raises
        failed[stage] = said(error)
    if stage != "the loss itself":
        options = {"perturbation_scale": case.scale, "key": 3, "matrix_axes": axes}
        for name, make in METHODS.items():
            try:
                own = options | dict(case.options)
                one, other = (
                    losses(make(evaluation=which, **own), case, params, loss, which is None)
                    for which in (None, evaluation.materialised)
                )
                found.append(differing(one, other, case.tolerance))
            except Exception as error:
                failed[name] = said(error)
    worst = max((d for d, _ in found), default=None)
    equal = bool(found) and all(ok for _, ok in found)
    taken = round(time.monotonic() - start, 1)
    return Row(library, case.name, failed, worst, equal, dense, leaves, taken, case.remark)


def trained_part(case: Case, params: Any, loss: Any) -> tuple[Any, Any]:
    """The leaves that are trained, and the loss of them."""
    if case.mask is None:
        return params, loss
    part = loren_jax.parts.masked(case.mask, params)
    return part.take(params), lambda some: loss(part.put(params, some))


def losses(optimizer: Any, case: Case, params: Any, loss: Any, whole: bool) -> np.ndarray:
    """Those of one step, float64; of a whole step where it is to be seen that one runs."""
    optimizer = loren_jax.trained(optimizer, case.mask)

    @jax.jit
    def step(params: Any, state: Any) -> Any:
        updates, after = optimizer.update(None, state, params, value_fn=loss)
        found = optax.tree.get(after, "losses")
        return (found, optax.apply_updates(params, updates)) if whole else (found, None)

    found, _ = step(params, optimizer.init(params))
    return np.asarray(found, np.float64)


def differing(one: np.ndarray, other: np.ndarray, tolerance: float) -> tuple[float, bool]:
    """The largest difference in spreads, and whether rounding accounts for it."""
    if not np.isfinite(other).all() or not np.ptp(other):
        raise ValueError(f"losses of copies tell nothing: {other.ravel().tolist()}")
    difference, spread = float(np.abs(one - other).max()), float(np.ptp(other))
    if not np.isfinite(difference):
        return float("inf"), False
    rounding = 4e-6 * float(np.abs(other).max())
    return difference / max(spread, rounding), difference <= tolerance * spread + rounding


def said(error: Exception) -> str:
    """One line of an error, and where in this library it was."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "loren_jax" in Path(f.filename).parts]
    place = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{place}"
