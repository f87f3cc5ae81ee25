"""The one type of this library's optimisers: an Optax transformation that can do more than update.

It is a pair `(init, update)` as all of Optax's are. What else it can do and tell hangs on `update`,
which is an object that can be called: so whatever copies, pickles, maps over or rebuilds the pair
keeps all of it. The functions are described by protocols, as Optax's are in its `base.py`.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

import jax
import optax

from loren_jax.types import PyTree, Scheme, ValueFn


@runtime_checkable
class UpdateFn(Protocol):
    """Optax's `update`, whose updates may be None, and which knows what a step is made from."""

    def __call__(
        self,
        updates: PyTree | None,
        state: PyTree,
        params: PyTree | None = None,
        *,
        value_fn: ValueFn | None = None,
        losses: jax.typing.ArrayLike | None = None,
        has_aux: bool = False,
        **extra: Any,
    ) -> tuple[PyTree, PyTree]:
        """A step.

        Args:
          updates: None, as there is no gradient to take; zeros are taken too.
          state: the optimiser's state.
          params: the parameters.
          value_fn: the loss, `params -> scalar`; or else
          losses: those of this very step, `(K, S)`, queried elsewhere.
          has_aux: whether the loss returns `(scalar, aux)`.
          **extra: `full_value_fn` for `mezo_svrg`; what else a chain is given.

        Returns:
          The updates, to be added to the parameters, and the new state.
        """
        ...


@runtime_checkable
class ApplyFn(Protocol):
    """What `update` and `optax.apply_updates` do, up to rounding, without a tree of updates."""

    def __call__(
        self,
        params: PyTree,
        state: PyTree,
        *,
        value_fn: ValueFn | None = None,
        losses: jax.typing.ArrayLike | None = None,
        has_aux: bool = False,
        **extra: Any,
    ) -> tuple[PyTree, PyTree]:
        """The parameters and the state after a step; arguments as in `UpdateFn`."""
        ...


@runtime_checkable
class AskFn(Protocol):
    """Where the losses of a step are taken."""

    def __call__(
        self, params: PyTree, state: PyTree, direction: int | jax.Array, point: int | jax.Array
    ) -> PyTree:
        """The parameters of that row and column of the step's `losses`, a perturbed copy."""
        ...


@runtime_checkable
class DisplacementFn(Protocol):
    """What is done to the parameters where a loss is taken, before it is done."""

    def __call__(
        self, params: PyTree, state: PyTree, direction: int | jax.Array, point: int | jax.Array
    ) -> tuple[PyTree, jax.Array]:
        """A tree of directions like the parameters, and the multiple that is added of them."""
        ...


_CALLED: "ContextVar[list[Update] | None]" = ContextVar("called", default=None)
"""Where `Update` notes that it is called, so that one behind closures of others can be seen."""


@dataclass(frozen=True, eq=False)
class Update:
    """An `update`, other forms of the same step, and facts of it. All functions are pure.

    Attributes:
      function: the update itself.
      ask: see `AskFn`.
      displacement: see `DisplacementFn`; None where what is asked is no sum of the parameters and
        directions.
      accumulate: of a linear estimate, or one that can be added with a factor by itself: `(state,
        params, into, factor, *, value_fn=None, losses=None, has_aux=False) -> (into + factor *
        estimate, state)`, in the dtypes of `into` and leaf by leaf, layer by layer; the estimate by
        itself if `into` is None.
      apply: the step in place; None where what follows the estimate needs a tree of updates.
      fuse: of what follows an estimate: `(accumulate, params, state) -> (params, estimator state,
        state)`, where `accumulate(into, factor)` adds the estimate times `factor` to a tree.
      scheme: where along a direction the loss is queried.
      passes: forward passes of a step; where not all steps cost the same, of most of them.
      estimate: that of the gradient, before all that follows it; None of an estimate itself.
      rebuild: the same optimiser with a `matrix_axes`; None where it was given one, or takes none.
    """

    function: UpdateFn
    ask: AskFn | None = None
    accumulate: Callable[..., tuple[PyTree, PyTree]] | None = None
    apply: ApplyFn | None = None
    fuse: Callable[..., tuple[PyTree, PyTree, PyTree]] | None = None
    scheme: Scheme | None = None
    passes: int | None = None
    estimate: "ZerothOrder | None" = None
    rebuild: "Callable[[Any], ZerothOrder] | None" = None
    displacement: DisplacementFn | None = None

    def __call__(  # noqa: D102
        self, updates: PyTree | None, state: PyTree, params: PyTree | None = None, **extra: Any
    ) -> tuple[PyTree, PyTree]:
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
    >>> optimizer.passes
    2
    >>> tx = optax.chain(optimizer.estimate, optax.scale_by_adam(), optax.scale(-1e-4))
    """

    update: UpdateFn  # pyrefly: ignore[bad-override]

    @property
    def ask(self) -> AskFn:
        """Where losses are taken; MeZO-SVRG, which takes them at two places, has none."""
        return _there("ask", form(self, "ask"))

    @property
    def accumulate(self) -> Callable[..., tuple[PyTree, PyTree]] | None:
        """Of an estimate: itself added to a tree; None where it is not linear in its losses."""
        return form(self, "accumulate")

    @property
    def apply(self) -> ApplyFn | None:
        """The step in place; None where what follows the estimate needs a tree of updates."""
        return form(self, "apply")

    @property
    def scheme(self) -> Scheme:
        """Where along a direction the loss is queried."""
        return _there("scheme", form(self, "scheme"))

    @property
    def passes(self) -> int:
        """Forward passes of a step; of MeZO-SVRG of one on a minibatch."""
        return _there("passes", form(self, "passes"))

    @property
    def estimate(self) -> "ZerothOrder":
        """The estimate of the gradient alone, for any Optax chain; its updates point uphill."""
        return _there("estimate", form(self, "estimate") or (form(self, "scheme") and self))


def form(optimizer: optax.GradientTransformation, name: str) -> Any:
    """One of the forms or facts of a step; None where the optimiser has no such.

    Args:
      optimizer: any Optax transformation.
      name: an attribute of `Update`.

    Returns:
      What the attribute is, or None.
    """
    return getattr(optimizer.update, name, None)


def update_of(optimizer: optax.GradientTransformation) -> UpdateFn:
    """The `update` of what may be a chain around an estimate: Optax has no type for None in it."""
    return cast(UpdateFn, optimizer.update)


def _there(name: str, value: Any) -> Any:
    """What an optimiser has of this name; raises where it is None."""
    if value is None:
        raise AttributeError(
            f"the optimiser has no {name}: something around one of loren_jax hides it, as "
            "optax.chain does, or it is mezo_svrg, which cannot be asked: take that of the one "
            "inside."
        )
    return value


@contextlib.contextmanager
def overhear() -> "Iterator[list[Update]]":
    """Collects the updates of this library that are called within, by whatever other code."""
    called: list[Update] = []
    token = _CALLED.set(called)
    try:
        yield called
    finally:
        _CALLED.reset(token)
