"""The walk of a run without a learning rate: found once, and read from its journal afterwards."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loren_jax import journal
from loren_jax.evaluation import Sharded
from loren_jax.parts import masked
from loren_jax.reports import files
from loren_jax.runs import processes
from loren_jax.runs.directory import holds_run
from loren_jax.types import PyTree
from loren_jax.walk import LONGEST, SEARCHED_BATCHES, MeasuredWalk, measure_walk

SEARCHING = "finding how long the steps may be"
"""What is shown meanwhile."""


def stored_plan(directory: Path, *, overwrite: bool = False) -> dict[str, Any] | None:
    """How long the steps are of the run that a directory holds; None of no run, or with a rate.

    An attempt that has recorded no step is no run: the next one may be of anything else.

    Args:
      directory: Of the run, which the first process reads.
      overwrite: Whether a run there is to be replaced, which then counts for nothing.

    Returns:
      What `planned_steps` returned when it began.
    """
    path = directory / files.JOURNAL

    def read() -> Any:
        if overwrite or not path.is_file() or not holds_run(directory):
            return None
        return ((journal.read(path).header["method"] or {}).get("schedule") or {}).get("automatic")

    return processes.broadcast(read)


def planned_steps(
    steps: int, walk: float, *, longest: float = LONGEST, chance: float = math.inf
) -> dict[str, Any]:
    """How long the steps of a run are, as a `loren_jax.journal.Method` describes it.

    Args:
      steps: Of the whole run.
      walk: See `loren_jax.automatic`.
      longest: See there.
      chance: See there.

    Returns:
      Arguments of `loren_jax.automatic`, as JSON values.
    """
    plan = {"steps": steps, "walk": walk, "longest": longest}
    return plan if chance == math.inf else {**plan, "chance": chance}


def found_walk(
    loss: Callable[..., Any],
    params: PyTree,
    batch: Callable[[int], PyTree],
    factory: Callable[..., Any],
    among: Callable[[str], bool],
    frozen: tuple[Any, ...] = (),
    evaluation: Sharded | None = None,
    before: int = 0,
    **knobs: Any,
) -> MeasuredWalk:
    """The walk that the first batches of a run tell, which a line says.

    Args:
      loss: `(params, batch, *frozen) -> scalar`.
      params: Where the run begins.
      batch: The batch of a step, from its number.
      factory: The method.
      among: Which leaves are trained, by path.
      frozen: Further arguments of the loss.
      evaluation: The mesh that the run has, if any.
      before: Forward passes that what is given here took.
      **knobs: Of the factory, its key among them, and of `measure_walk`.

    Returns:
      The walk and the longest steps, as `loren_jax.automatic` takes them.

    Raises:
      ValueError: The loss is not positive and finite where the run begins.
    """
    if evaluation is not None:
        params = evaluation.place(params)
        knobs |= {"evaluation": evaluation} if evaluation.mesh.size > 1 else {}
    part = masked(among, params)

    def of_part(some: PyTree, given: tuple[PyTree, PyTree, tuple[Any, ...]]) -> Any:
        rows, others, more = given
        return loss(part.put(others, some), rows, *more)

    # What is not trained goes with the batch: closed over, it would be a constant of the program.
    # A run of fewer steps than batches are looked at has no others.
    steps = knobs.get("steps") or SEARCHED_BATCHES
    batches = lambda step: (batch(step % steps), params, frozen)
    found = measure_walk(of_part, part.take(params), batches, factory, **knobs)
    found = found._replace(passes=found.passes + before)
    if processes.first():
        sys.stderr.write(
            f"no learning rate: the steps together move each parameter by about {found.walk:.3g}, "
            f"as {found.passes} forward passes found\n"
        )
    return found
