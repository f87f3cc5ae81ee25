"""What the table of methods says of one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from loren_jax.transformation import ZerothOrder


class Entry(NamedTuple):
    """A method, as its own file describes it beside the factory.

    Of the letters, K are the directions of a step, N the parameters that are trained, of which a
    matrix has m x n (n fan-in), r is `rank`, and q are the directions along a matrix's inputs.

    Attributes:
      factory: makes the optimiser.
      directions: what is drawn, in words.
      scheme: where the loss is queried along it, a name in `loren_jax.schemes`.
      after: what is done to the estimate, in words.
      passes: forward passes of a step.
      state: numbers kept beside the parameters.
      reference: where the method comes from.
      published: the settings of the method's own paper or code, as keyword arguments. The learning
        rate is not among them: it belongs to a model, and LOREN's authors name none.
      full_every: of a method that also needs the loss of all training data: its argument that says
        how many steps lie between two that do.
    """

    factory: Callable[..., ZerothOrder]
    directions: str
    scheme: str
    after: str
    passes: str
    state: str
    reference: str
    published: Mapping[str, Any] = MappingProxyType({})
    full_every: str | None = None

    @property
    def name(self) -> str:
        """The factory's."""
        return self.factory.__name__

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring; nothing under `python -OO`."""
        return (self.factory.__doc__ or "").split("\n", 1)[0]
