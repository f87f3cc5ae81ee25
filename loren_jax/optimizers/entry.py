"""What the table of methods says of one."""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, ParamSpec

from loren_jax.transformation import Update, ZerothOrder
from loren_jax.types import Scheme

P = ParamSpec("P")


def rebuildable(factory: Callable[P, ZerothOrder]) -> Callable[P, ZerothOrder]:
    """What the factory makes can be made again with `matrix_axes`, unless it is given any."""

    @functools.wraps(factory)
    def make(*args: P.args, **kwargs: P.kwargs) -> ZerothOrder:
        made = factory(*args, **kwargs)
        if kwargs.get("matrix_axes") is not None or not isinstance(made.update, Update):
            return made
        again: Any = functools.partial(factory, *args)
        rebuild = lambda axes: again(**{**kwargs, "matrix_axes": axes})
        return ZerothOrder(made.init, replace(made.update, rebuild=rebuild))

    return make


class Entry(NamedTuple):
    """A method, as its own file describes it beside the factory.

    Of the letters, K are the directions of a step, N the parameters that are trained, of which a
    matrix has m x n (n fan-in), r is `rank`, k is `power_rank`, h is `horizon`, and q are the
    directions along a matrix's inputs.

    Attributes:
      factory: makes the optimiser.
      directions: what is drawn, in words.
      scheme: where the loss is queried along it.
      after: what is done to the estimate, in words.
      state: numbers kept beside the parameters.
      published: the settings of the method's own paper or code, as keyword arguments. The learning
        rate is not among them: it belongs to a model, and LOREN's authors name none.
      costs: forward passes of a step, where the scheme does not say all of it.
      full_every: of a method that also needs the loss of all training data: its argument that says
        how many steps lie between two that do.
      walk: what a walk is multiplied with where `automatic` makes steps of this method.
      plain: whether momentum is that of the estimate, so that it multiplies the rate.
      unit: of what a step's length is a multiple at rate 1: of the `slopes`, where directions have
        numbers of mean square 1; of slopes times `directions`, whose size is measured; of a leaf
        whose update has a size of its own (`leaves`); or None, where the rate is the length.
      sizes: of a method whose queries lie at random distances, which no single draw tells: from its
        arguments the mean square of a query's numbers, and of an estimate's by its slopes'.
    """

    factory: Callable[..., ZerothOrder]
    directions: str
    scheme: Callable[[], Scheme]
    after: str
    state: str
    published: Mapping[str, Any] = MappingProxyType({})
    costs: str | None = None
    full_every: str | None = None
    walk: float = 1.0
    plain: bool = True
    unit: Literal["slopes", "directions", "leaves"] | None = "slopes"
    sizes: Callable[[Mapping[str, Any]], tuple[float, float]] | None = None

    @property
    def name(self) -> str:
        """The factory's."""
        return self.factory.__name__

    @property
    def passes(self) -> str:
        """Forward passes of a step: K at each point, but one in all at the parameters."""
        points = self.scheme().points
        moved = sum(point != 0 for point in points)
        return self.costs or f"{moved} K".removeprefix("1 ") + " + 1" * (0.0 in points)

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring; nothing under `python -OO`."""
        return (self.factory.__doc__ or "").split("\n", 1)[0]

    @property
    def reference(self) -> str:
        """The first of the docstring's references."""
        _, _, listed = (self.factory.__doc__ or "").partition("References:")
        found = re.search(r"arxiv\.org/abs/\d+\.\d+|benchmarks/\w+\.md", listed)
        return found[0].replace("arxiv.org/abs/", "arXiv ") if found else ""
