"""The training step: called, one compiled program; as *probe* and *absorb*, two.

One program is the faster where a step is short: it is launched once and draws the directions once.
Two are for those who keep the losses: a replay runs the second alone, for the same bits.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import optax

from loren_jax import arguments, noise
from loren_jax.estimators import with_aux
from loren_jax.evaluation._perturbed.query import Built, collect_built
from loren_jax.evaluation._sharded import automatic
from loren_jax.losses._per_example import bind, require_separable
from loren_jax.transforms.programs import compiled_absorb, probe, step_of
from loren_jax.types import PyTree

MANY = 2**18
"""Numbers of perturbed weights that are worth a warning: 1 MB."""


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
      optimizer: one of this library's, or any Optax transformation that takes `value_fn` (and, for
        `absorb`, `losses`) and has `losses` in its state; the latter goes through `update` and
        `optax.apply_updates`.
      full_loss: `params -> scalar` on all data, for a method that needs it as `mezo_svrg` does.
      has_aux: whether `loss` returns `(scalar, aux)`; the state then has `aux` of all queries.

    Returns:
      The step, `(params, state, *batch) -> (params, state)`. Its parts `probe` and `absorb` make
      the same step with the losses in between, to be stored, sent or changed.

    Raises:
      TypeError: `loss` is no function, or the optimiser needs a gradient.
      ValueError: at a call, one array is two leaves of `params`.

    >>> import jax.numpy as jnp
    >>> import loren_jax
    >>> optimizer = loren_jax.loren(0.1)
    >>> step = train_step(lambda params, x: jnp.sum((params - x) ** 2), optimizer)
    >>> params = jnp.zeros(3)
    >>> state = optimizer.init(params)
    >>> params, state = step(params, state, jnp.ones(3))
    >>> optax.tree.get(state, "losses").shape
    (6, 1)
    >>> losses = step.probe(params, state, jnp.ones(3))
    >>> params, state = step.absorb(params, state, losses)
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
    whole = {} if full_loss is None else {"full_value_fn": full_loss}

    def functions(*batch: PyTree) -> dict[str, Any]:
        return {"value_fn": bind(loss, *batch)} | whole

    return TrainStep(functions, optimizer, has_aux, partial(require_separable, loss))


class TrainStep:
    """A step of an optimiser, see `train_step`.

    Args:
      functions: `(*batch) -> {"value_fn": params -> scalar}`, and `"full_value_fn"` where the
        optimiser needs that.
      optimizer: see `train_step`.
      has_aux: whether the functions return `(scalar, aux)`.
      check: `(params, *batch)`, called before the first step.

    Attributes:
      probe: `(params, state, *batch) -> losses`, all forward passes of the step, compiled; with
        `has_aux` it is `(losses, aux)`, the auxiliary outputs of all queries, each `(K, S, ...)`.
      absorb: `(params, state, losses) -> (params, state)`, no forward pass; the compiled program of
        `journal.replay`. Parameters and state are donated.
      compiled: the whole step as one compiled program, which a call runs. It may round otherwise
        than the two: what is to be replayed to the bit takes those.
    """

    def __init__(
        self,
        functions: Callable[..., dict[str, Any]],
        optimizer: optax.GradientTransformationExtraArgs,
        has_aux: bool = False,
        check: Callable[..., None] | None = None,
    ):
        aux = {"has_aux": True} if has_aux else {}
        apply = step_of(optimizer)

        def ask(params, state, *batch):
            return probe(optimizer, params, state, **functions(*batch), **aux)

        def step(params, state, *batch):
            return apply(params, state, **functions(*batch), **aux)

        self.probe = jax.jit(automatic(ask))
        self.absorb = compiled_absorb(optimizer)
        self.compiled = jax.jit(automatic(step), donate_argnums=(0, 1))
        self._functions, self._has_aux, self._started = functions, has_aux, False
        self._warned, self._check = False, check

    def __call__(self, params: PyTree, state: PyTree, *batch: PyTree) -> tuple[PyTree, PyTree]:
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
            state = with_aux(state, self._functions(*batch)["value_fn"], params, has_aux=True)
            self._started = True
        try:
            if self._warned:
                return self.compiled(params, state, *batch)
            if self._check is not None:
                self._check(params, *batch)
            with collect_built() as built:
                after = self.compiled(params, state, *batch)
            self._warned = True
            warn_of_built(built, after[0])
            return after
        except Exception as error:
            # JAX's own words: after an error within the step its arguments are gone as well.
            if "has been deleted" in str(error):
                arguments.not_deleted("params", params)
                arguments.not_deleted("state", state)
            if "donate the same buffer" in str(error):
                _name_shared(params, error)
            raise

    def lower(self, params: PyTree, state: PyTree, *batch: PyTree) -> Any:
        """As of a jitted function: the program, for example to ask what memory it takes."""
        return self.compiled.lower(params, state, *batch)


def warn_of_built(built: Built, params: PyTree) -> None:
    """Warns where each query builds more than a tenth of the parameters, and names what it does."""
    count = sum(size for size, _ in built.values())
    numbers = sum(leaf.size for leaf in jax.tree.leaves(params))
    if count < max(MANY, numbers / 10):
        return
    largest = sorted(built, key=lambda path: -built[path][0])
    more = f" and {len(largest) - 3} more" if len(largest) > 3 else ""
    said = ", ".join(f"{path!r} ({built[path][1]})" for path in largest[:3])
    warnings.warn(
        f"each query builds {count / numbers:.0%} of the parameters, as the loss does to them what "
        f"cannot be done to a perturbation apart: {said}{more}. What to do about each: "
        "print([(leaf.path, leaf.advice) for leaf in "
        "loren_jax.diagnostics.dense_leaves(loss, params)]).",
        stacklevel=3,
    )


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
