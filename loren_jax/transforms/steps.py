"""A training step as one compiled program, which changes donated parameters in place."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from loren_jax import arguments, noise
from loren_jax.estimators import with_aux
from loren_jax.evaluation.sharded import automatic
from loren_jax.transformation import form
from loren_jax.types import PyTree


def train_step(
    loss: Callable[..., Any],
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    full_loss: Callable[[PyTree], Any] | None = None,
    has_aux: bool = False,
) -> "TrainStep":
    """A compiled step in place: parameters and state are donated, and must not be used again.

    Args:
      loss: `(params, *batch) -> scalar`.
      optimizer: one of this library's, or any Optax transformation that takes `value_fn`; the
        latter goes through `update` and `optax.apply_updates`.
      full_loss: `params -> scalar` on all data, for a method that needs it as `mezo_svrg` does.
      has_aux: whether `loss` returns `(scalar, aux)`; the state then has `aux` of all queries.

    Returns:
      `(params, state, *batch) -> (params, state)`.

    Raises:
      TypeError: `loss` is no function, or the optimiser needs a gradient.
      ValueError: at a call, one array is two leaves of `params`.

    >>> import jax.numpy as jnp
    >>> import loren_jax
    >>> optimizer = loren_jax.loren(0.1, momentum=None)
    >>> step = train_step(lambda params, x: jnp.sum((params - x) ** 2), optimizer)
    >>> params = jnp.zeros(3)
    >>> state = optimizer.init(params)
    >>> params, state = step(params, state, jnp.ones(3))
    >>> optax.tree.get(state, "losses").shape
    (6, 1)
    """
    if isinstance(loss, optax.GradientTransformation):
        raise TypeError(
            "loss is an optimiser: train_step takes them as train_step(loss, optimizer)."
        )
    if not callable(loss):
        raise TypeError(
            f"loss must be a function (params, *batch) -> scalar, got a {type(loss).__name__}: "
            "pass the function, not its value."
        )
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"optimizer must be an Optax transformation, got a {type(optimizer).__name__}: pass "
            "for example loren_jax.loren(learning_rate)."
        )
    return TrainStep(loss, optimizer, full_loss, has_aux)


class TrainStep:
    """What `train_step` returns.

    Attributes:
      compiled: the jitted function, with its `lower`.
    """

    def __init__(self, loss: Any, optimizer: Any, full_loss: Any = None, has_aux: bool = False):
        given = {} if full_loss is None else {"full_value_fn": full_loss}
        given |= {"has_aux": True} if has_aux else {}

        def step(params, state, *batch):
            value_fn = lambda params: loss(params, *batch)
            require_losses(optimizer, state)
            apply = form(optimizer, "apply") or _by_updates(optimizer)
            return apply(params, state, value_fn=value_fn, **given)

        self.compiled = jax.jit(automatic(step), donate_argnums=(0, 1))
        self._loss, self._has_aux, self._started = loss, has_aux, False

    def __call__(self, params: PyTree, state: PyTree, *batch: Any) -> tuple[PyTree, PyTree]:
        """One step.

        Args:
          params: the parameters; donated.
          state: the optimiser's state; donated.
          *batch: what the loss takes.

        Returns:
          The new parameters and the new state.
        """
        if self._has_aux and not self._started:
            # With room for auxiliary outputs from the first step on, one program serves all.
            state = with_aux(state, lambda p: self._loss(p, *batch), params, has_aux=True)
            self._started = True
        try:
            return self.compiled(params, state, *batch)
        except Exception as error:
            # JAX's own words: after an error within the step its arguments are gone as well.
            if "has been deleted" in str(error):
                arguments.not_deleted("params", params)
                arguments.not_deleted("state", state)
            if "donate the same buffer" in str(error):
                _name_shared(params, error)
            raise

    def lower(self, params: PyTree, state: PyTree, *batch: Any) -> Any:
        """As of a jitted function: the program, for example to ask what memory it takes."""
        return self.compiled.lower(params, state, *batch)


def require_losses(optimizer: Any, state: PyTree) -> None:
    """Raises unless the state is that of an optimiser with an estimate in it."""
    if optax.tree.get(state, "losses", None) is None:
        raise TypeError(
            "optimizer has no zeroth-order estimate in it, so it would need a gradient: pass one "
            "of loren_jax, or loren_jax.transforms.chain(estimate, optimizer)."
        )


def _by_updates(optimizer: Any) -> Callable[..., tuple[PyTree, PyTree]]:
    """The step through a tree of updates."""

    def apply(params, state, **given):
        updates, state = optimizer.update(None, state, params, **given)
        return optax.apply_updates(params, updates), state

    return apply


def _name_shared(params: PyTree, error: Exception) -> None:
    """Raises a clearer error where one array is two leaves: it cannot be donated twice."""
    first: dict[int, str] = {}
    for path, leaf in zip(noise.leaf_paths(params), jax.tree.leaves(params), strict=True):
        if isinstance(leaf, jax.Array) and first.setdefault(id(leaf), path) != path:
            raise ValueError(
                f"params: leaves {first[id(leaf)]!r} and {path!r} are one array, which a step in "
                "place would change twice. For two weights copy one of them with jnp.copy; for one "
                "weight in two places keep one leaf and use it twice in the loss."
            ) from error
