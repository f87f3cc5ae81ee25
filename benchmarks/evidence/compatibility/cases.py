"""What a case is: a loss that somebody else's code makes, and its parameters."""

from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, NamedTuple

Loss = Callable[[Any], Any]


class Case(NamedTuple):
    """A loss to be tried.

    Attributes:
      name: in the table.
      build: `() -> (params, loss)`.
      scale: of the perturbation, larger where a loss hardly moves.
      tolerance: how much the losses may differ, in units of their spread.
      options: of the optimiser.
      float64: whether JAX's 64-bit numbers are on.
      mask: of the leaves that are trained; None for all.
      remark: in the table.
    """

    name: str
    build: Callable[[], tuple[Any, Loss]]
    scale: float = 1e-2
    tolerance: float = 2e-3
    options: Mapping[str, Any] = {}
    float64: bool = False
    mask: Callable[[str], bool] | None = None
    remark: str = ""


class Cases:
    """The cases of a file, in its order.

    Args:
      *packages: distributions that they need, of which the table tells the versions.
    """

    def __init__(self, *packages: str):
        self.packages, self.all = packages, list[Case]()

    @property
    def library(self) -> str:
        """Names and versions."""
        return " / ".join(f"{name} {metadata.version(name)}" for name in self.packages)

    def __call__(
        self, build: Callable | None = None, called: str | None = None, **options: Any
    ) -> Callable:
        """Adds a case, also as a decorator; without a name it has that of the docstring."""
        if build is None:
            return lambda build: self(build, called, **options)
        name = called or (build.__doc__ or build.__name__).strip().rstrip(".")
        self.all.append(Case(name, build, **options))
        return build

    def of(self, params: Any, losses: Mapping[str, Loss], **options: Any) -> None:
        """A case for each loss, all of the same parameters."""
        for name, loss in losses.items():
            self.all.append(Case(name, lambda loss=loss: (params, loss), **options))
