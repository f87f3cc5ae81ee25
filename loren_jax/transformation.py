"""The one type of this library's optimisers: an Optax transformation that can do more than update.

It is a pair `(init, update)` as all of Optax's are. What else it can do hangs on `update`, which is
an object that can be called: so whatever copies, pickles, maps over or rebuilds the pair keeps all
of it.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import optax

from loren_jax.types import PyTree

_CALLED: "ContextVar[list[Update] | None]" = ContextVar("called", default=None)
"""Where `Update` notes that it is called, so that one behind closures of others can be seen."""


@dataclass(frozen=True, eq=False)
class Update:
    """An `update`, and other forms of the same step. All are pure.

    Attributes:
      function: `(updates, state, params, *, value_fn=None, losses=None, has_aux=False, **extra) ->
        (updates, state)`.
      ask: `(params, state, direction, point) -> params`: the parameters at which the loss in that
        row and column of the step's `losses` is taken, a perturbed copy.
      accumulate: of an estimate alone: `(state, params, into, factor, *, value_fn=None,
        losses=None, has_aux=False) -> (tree, state)`: `into + factor * estimate`, in the dtypes of
        `into` and leaf by leaf, layer by layer; the estimate by itself if `into` is None.
      apply: `(params, state, *, value_fn=None, losses=None, has_aux=False) -> (params, state)`:
        what `update` and `optax.apply_updates` do, up to rounding, without a tree of updates.
      fused: of what follows an estimate: `(accumulate, params, state) -> (params, estimator state,
        state)`, where `accumulate(into, factor)` adds the estimate times `factor` to a tree.
    """

    function: Callable[..., tuple[PyTree, PyTree]]
    ask: Callable[..., PyTree] | None = None
    accumulate: Callable[..., tuple[PyTree, PyTree]] | None = None
    apply: Callable[..., tuple[PyTree, PyTree]] | None = None
    fused: Callable[..., tuple[PyTree, PyTree, PyTree]] | None = None

    def __call__(self, updates, state, params=None, **extra):  # noqa: D102
        if (called := _CALLED.get()) is not None:
            called.append(self)
        return self.function(updates, state, params, **extra)


class ZerothOrder(optax.GradientTransformationExtraArgs):
    """An optimiser, or an estimate, of this library.

    >>> import copy
    >>> import loren_jax
    >>> optimizer = copy.deepcopy(loren_jax.mezo(0.1))
    >>> optimizer.apply is not None
    True
    """

    @property
    def ask(self) -> Callable[..., PyTree]:
        """See `Update`."""
        return form(self, "ask")

    @property
    def accumulate(self) -> Callable[..., tuple[PyTree, PyTree]]:
        """See `Update`; of estimates."""
        return form(self, "accumulate")

    @property
    def apply(self) -> Callable[..., tuple[PyTree, PyTree]] | None:
        """See `Update`; None where what follows the estimate needs a tree of updates."""
        return form(self, "apply")


def form(optimizer: optax.GradientTransformation, name: str) -> Any:
    """One of the forms of a step; None where the optimiser has no such form.

    Args:
      optimizer: any Optax transformation.
      name: an attribute of `Update`.

    Returns:
      The function, or None.
    """
    return getattr(optimizer.update, name, None)


@contextlib.contextmanager
def overheard() -> "Iterator[list[Update]]":
    """The updates of this library that are called within, by whatever other code."""
    called: list[Update] = []
    token = _CALLED.set(called)
    try:
        yield called
    finally:
        _CALLED.reset(token)
