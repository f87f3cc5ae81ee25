"""By which axes a run reads its leaves as matrices."""

from dataclasses import replace
from typing import Any

import optax

from loren_jax import journal
from loren_jax.evaluation._axes import UsedAxes, matrix_axes
from loren_jax.runs import processes
from loren_jax.runs.plan import Plan
from loren_jax.transformation import form
from loren_jax.types import JSON


def with_axes_of_use(
    run: Plan, recorded: journal.Journal | None
) -> tuple[optax.GradientTransformationExtraArgs | journal.Method, dict[str, JSON]]:
    """The optimiser with the axes that the loss tells, and what the header says of them.

    A run that goes on keeps those that it began with. Names decide where an optimiser has been
    given `matrix_axes`, where it is hidden in a chain of Optax, and where the use does not tell.
    """
    optimizer = run.optimizer
    described = optimizer if isinstance(optimizer, journal.Method) else None
    rebuild: Any = form(optimizer, "rebuild") if described is None else None  # pyrefly: ignore
    if described is not None:
        # Factors have been made along the axes that the names gave.
        given = described.matrix_axes is not None or described.factors is not None
    else:
        given = rebuild is None
    if given:
        return optimizer, {}
    if processes.broadcast(lambda: recorded is not None):  # which the first process alone has read
        axes = processes.broadcast(lambda: journal.axes_of(recorded.header) if recorded else None)
    else:  # by all of them, as a batch may lie on all
        axes = _axes_of_use(run)
    if not axes:
        return optimizer, {}
    if described is not None:
        return replace(described, matrix_axes=axes), {}
    return rebuild(UsedAxes.from_json(axes)), {"matrix_axes": axes}


def _axes_of_use(run: Plan) -> dict[str, JSON]:
    batch = run.batch(0)
    loss = lambda params: run.loss(params, batch, *run.frozen)
    return matrix_axes(loss, run.params).beside_names(run.params)
