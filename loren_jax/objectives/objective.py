"""The contract of an objective."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import jax

from loren_jax.types import PyTree


class Objective(Protocol):
    """What is asked of a model, of which `loren_jax.train` makes a run.

    Attributes:
        params: What the optimiser is given.
        frozen: Further arguments of the loss, which no step changes.
        trained_paths: Paths of the leaves that are trained; None if all are.
        full_batch: All training data; None for an objective that cannot give it.
        batches: Batches that hold all training data.
        test: `params -> scores` of examples that select nothing; None without any.
        evaluation_passes: Forward passes of an evaluation.
        select: The score that selects what is kept; None to keep the last parameters.
        held_out: What the evaluated examples are called.
        shown: Names of the scores that are shown while a run goes on.
        title: What stands above the curve, beside the optimiser's name.
        inputs: Trees by name that a resumed run must find unchanged.
        facts: What a journal must say so that the model can be made again from it.
        told: Facts for the summary; `columns` are those that a comparison has columns for.
    """

    params: PyTree
    frozen: tuple[Any, ...]
    trained_paths: list[str] | None
    full_batch: PyTree | None
    batches: int
    test: Callable[[PyTree], Mapping[str, Any]] | None
    evaluation_passes: int
    select: str | None
    held_out: str
    shown: tuple[str, ...]
    title: str
    inputs: Mapping[str, PyTree]
    facts: Mapping[str, Any]
    told: Mapping[str, Any]

    def loss(self, params: PyTree, batch: PyTree, *frozen: Any) -> jax.Array:
        """The loss of a batch."""

    def batch(self, step: int) -> PyTree:
        """The batch of a step, which depends on the seed and the step's number alone."""

    def evaluate(self, params: PyTree) -> Mapping[str, Any]:
        """Scores on held-out data, by name."""

    def merge(self, params: PyTree) -> PyTree:
        """The parameters of the whole model."""

    def save(self, directory: Path, params: PyTree) -> None:
        """Writes the model with merged parameters, on the host."""
