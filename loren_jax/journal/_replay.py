"""A run again from its journal: no data, no forward pass, the same parameters."""

import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from loren_jax.evaluation._axes import UsedAxes
from loren_jax.journal import factors
from loren_jax.journal._header import (
    axes_of,
    describe,
    differences,
    require_replayable,
    require_same,
)
from loren_jax.journal.method import Method
from loren_jax.journal.records import Journal, JournalError, read
from loren_jax.transformation import form
from loren_jax.transforms import compiled_absorb
from loren_jax.types import PyTree

TOLERANCE = 1e-3
"""Where versions or processors differ: the largest error of a leaf, as a share of the distance that
the run has moved it (tested between the oldest and the newest JAX)."""


class Replayed(NamedTuple):
    """What a replay gives.

    Attributes:
      params: the parameters after the last step that was replayed.
      state: the optimiser's state.
      steps: how many steps the parameters have had.
      differences: in what this process differs from the one that wrote the journal. If empty, the
        parameters have the very bits of the run; else they are equal up to `TOLERANCE`.
    """

    params: PyTree
    state: PyTree
    steps: int
    differences: list[str]


def replay(
    params: PyTree,
    journal: Journal | str | os.PathLike,
    until: int | None = None,
    *,
    optimizer: optax.GradientTransformationExtraArgs | None = None,
) -> Replayed:
    """The parameters and the optimiser's state after any step of a run.

    Args:
      params: the parameters that the run began with; not changed.
      journal: a journal, or its file.
      until: steps to replay; None for all of them.
      optimizer: the run's optimiser; None builds it from the journal's description.

    Returns:
      Parameters and state, bit-identical to the run's on the same platform and versions; elsewhere
      equal up to `TOLERANCE`. Which of the two is said in `differences`.

    Raises:
      JournalError: the parameters are not those that the run began with, the journal is damaged
        before `until`, has fewer steps, was drawn by another generator, or does not say what the
        optimiser was.
      ValueError: an array of the parameters has been deleted.

    >>> import tempfile
    >>> from loren_jax import journal as journals
    >>> import loren_jax
    >>> method = Method("loren", {"learning_rate": 0.1})
    >>> step = loren_jax.train_step(lambda params: jnp.sum(params**2), method.build())
    >>> start = jnp.ones(3)
    >>> file = tempfile.mkdtemp() + "/run.journal"
    >>> with journals.create(file, journals.header(start, (6, 1), method=method)) as log:
    ...     params, state = jnp.copy(start), method.build().init(start)
    ...     for t in range(5):
    ...         losses = step.probe(params, state)
    ...         log.append(t, losses)
    ...         params, state = step.absorb(params, state, losses)
    >>> bool((replay(start, file).params == params).all())
    True
    """
    journal = require_whole(journal, until)
    require_same(describe(params), journal.header["params"], "params")
    optimizer = optimizer_of(journal, optimizer)
    absorb = compiled_absorb(optimizer)
    params, state = jax.tree.map(jnp.copy, params), jax.jit(optimizer.init)(params)
    for losses in journal.losses:
        params, state = absorb(params, state, losses)
    return Replayed(params, state, journal.steps, differences(journal.header))


def require_whole(journal: Journal | str | os.PathLike, until: int | None = None) -> Journal:
    """The journal with its first steps alone, or with all; raises unless they are there."""
    journal = journal if isinstance(journal, Journal) else read(journal)
    if until is not None:
        return journal.shorten(until)
    if journal.damaged:
        raise JournalError(
            f"{journal.path} is damaged: {journal.leftover} bytes behind step {journal.steps} are "
            f"no records that follow it; until={journal.steps} takes what is whole"
        )
    return journal


def optimizer_of(
    journal: Journal, optimizer: optax.GradientTransformationExtraArgs | None = None
) -> optax.GradientTransformationExtraArgs:
    """The optimiser of a run: the one that is given, or the one that its journal describes."""
    require_replayable(journal.header, journal.path)
    if optimizer is not None:
        axes, rebuild = axes_of(journal.header), form(optimizer, "rebuild")
        return rebuild(UsedAxes.from_json(axes)) if axes and rebuild else optimizer
    if journal.header.get("method") is None:
        raise JournalError(
            f"{journal.path} does not say what the optimiser was; pass optimizer= as the run had it"
        )
    method = Method.from_json(journal.header["method"])
    given = None if method.factors is None else factors.load(Path(journal.path), method.factors)
    return method.build(factors=given)
