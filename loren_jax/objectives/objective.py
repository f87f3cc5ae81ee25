"""The contract of an objective."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import jax

from loren_jax.types import PyTree


class Objective(Protocol):
    """What is asked of a model, of which `loren_jax.train` makes a run."""

    @property
    def params(self) -> PyTree:
        """What the optimiser is given."""

    @property
    def frozen(self) -> tuple[Any, ...]:
        """Further arguments of the loss, which no step changes."""

    @property
    def trained_paths(self) -> list[str] | None:
        """Paths of the leaves that are trained; None if all are."""

    @property
    def batches(self) -> int:
        """Batches that hold all training data."""

    @property
    def evaluate(self) -> Callable[[PyTree], Mapping[str, Any]]:
        """`params -> scores` on held-out data, by name."""

    @property
    def test(self) -> Callable[[PyTree], Mapping[str, Any]] | None:
        """`params -> scores` of examples that select nothing; None without any."""

    @property
    def evaluation_passes(self) -> int:
        """Forward passes of an evaluation."""

    @property
    def select(self) -> str | None:
        """The score that selects what is kept; None to keep the last parameters."""

    @property
    def held_out(self) -> str:
        """What the evaluated examples are called."""

    @property
    def shown(self) -> tuple[str, ...]:
        """Names of the scores that are shown while a run goes on."""

    @property
    def title(self) -> str:
        """What stands above the curve, beside the optimiser's name."""

    @property
    def inputs(self) -> Mapping[str, PyTree]:
        """Trees by name that a resumed run must find unchanged."""

    @property
    def full_batch(self) -> PyTree | None:
        """All training data, for a method that needs it; None where it cannot be had at once."""

    @property
    def factors(self) -> Mapping[str, Any] | None:
        """Fan-in vectors that the optimiser's directions lie along; None for any."""

    @property
    def passes_before(self) -> int:
        """Forward passes of a minibatch that finding them takes."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a journal must say so that the model can be made again from it."""

    @property
    def told(self) -> Mapping[str, Any]:
        """Facts for the summary; `columns` names those that have a column in a comparison."""

    def loss(self, params: PyTree, batch: PyTree, *frozen: Any) -> jax.Array:
        """The loss of a batch."""

    def batch(self, step: int) -> PyTree:
        """The batch of a step, which depends on the seed and the step's number alone."""

    def merge(self, params: PyTree) -> PyTree:
        """The parameters of the whole model."""

    def save(self, directory: Path, params: PyTree) -> None:
        """Writes the model with merged parameters, on the host."""
