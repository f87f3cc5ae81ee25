"""The two halves of a step: *probe* needs the model, *absorb* needs the losses alone.

Compiled apart, they are the same two programs whoever calls them: a training loop, a replay from a
journal, a process that never sees the data. That is what makes a replay give the same bits: one
program for both could round otherwise where other things are fused with it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from loren_jax.evaluation.sharded import automatic
from loren_jax.transformation import form
from loren_jax.types import PyTree


class Halves(NamedTuple):
    """A step in two compiled programs.

    Attributes:
      probe: `(params, state, *batch) -> losses`, all forward passes of the step; with auxiliary
        outputs `(losses, aux)`.
      absorb: `(params, state, losses) -> (params, state)`, no forward pass. Parameters and state
        are donated: they are changed in place and must not be used again.
    """

    probe: Callable[..., Any]
    absorb: Callable[..., tuple[PyTree, PyTree]]


def halves(
    loss: Callable[..., Any],
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    full_loss: Callable[[PyTree], Any] | None = None,
    has_aux: bool = False,
) -> Halves:
    """A step as two compiled programs, where `train_step` makes one.

    Args:
      loss: `(params, *batch) -> scalar`.
      optimizer: one of this library's, or any Optax transformation that takes `value_fn` and
        `losses` and whose state has `losses`.
      full_loss: `params -> scalar` on all data, for a method that needs it as `mezo_svrg` does.
      has_aux: whether `loss` returns `(scalar, aux)`; `probe` then returns `(losses, aux)`, the
        auxiliary outputs of all queries, each array `(K, S, ...)`.

    Returns:
      The halves; the losses may be stored, sent or changed in between.

    >>> import jax.numpy as jnp
    >>> import loren_jax
    >>> optimizer = loren_jax.loren(0.1, momentum=None)
    >>> step = halves(lambda params, x: jnp.sum((params - x) ** 2), optimizer)
    >>> params = jnp.zeros(3)
    >>> state = optimizer.init(params)
    >>> losses = step.probe(params, state, jnp.ones(3))
    >>> params, state = step.absorb(params, state, losses)
    >>> losses.shape
    (6, 1)
    """

    def ask(params, state, *batch):
        more: dict[str, Any] = {} if full_loss is None else {"full_value_fn": full_loss}
        value_fn = lambda params: loss(params, *batch)
        return probe(optimizer, params, state, has_aux=has_aux, value_fn=value_fn, **more)

    return Halves(jax.jit(automatic(ask)), compiled_absorb(optimizer))


def probe(
    optimizer: optax.GradientTransformationExtraArgs,
    params: PyTree,
    state: PyTree,
    has_aux: bool = False,
    **functions: Any,
) -> Any:
    """The losses of a step; to be compiled, as the rest of the step is then left out.

    Args:
      optimizer: see `halves`.
      params: the parameters.
      state: the optimiser's state.
      has_aux: whether the functions return `(scalar, aux)`.
      **functions: what `update` needs: `value_fn`, and `full_value_fn` for some.

    Returns:
      The losses; with `has_aux` also the auxiliary outputs.

    Raises:
      TypeError: there are auxiliary outputs that nobody asked for.
    """
    given = functions | ({"has_aux": True} if has_aux else {})
    # The estimate takes no gradient, which Optax has no type for.
    _, state = optimizer.update(None, state, params, **given)  # pyrefly: ignore
    losses, aux = optax.tree.get(state, "losses"), optax.tree.get(state, "aux", ())
    if has_aux:
        return losses, aux
    if jax.tree.leaves(aux):
        raise TypeError(
            "loss returns auxiliary outputs, of which nobody would hear: pass has_aux=True, or "
            "return the scalar alone."
        )
    return losses


def absorb(
    optimizer: optax.GradientTransformationExtraArgs, params: PyTree, state: PyTree, losses: Any
) -> tuple[PyTree, PyTree]:
    """The parameters and the state after a step with these losses.

    Args:
      optimizer: see `halves`.
      params: the parameters.
      state: the optimiser's state.
      losses: as `probe` gave them.

    Returns:
      The new parameters and the new state.
    """
    if apply := form(optimizer, "apply"):
        return apply(params, state, losses=losses)
    updates, state = optimizer.update(None, state, params, losses=losses)  # pyrefly: ignore
    return optax.apply_updates(params, updates), state


@functools.lru_cache(maxsize=16)
def compiled_absorb(optimizer: optax.GradientTransformationExtraArgs) -> Callable[..., Any]:
    """`absorb` compiled, in place; the one program that steps and replays share."""

    def absorb_step(params, state, losses):
        return absorb(optimizer, params, state, losses)

    return jax.jit(automatic(absorb_step), donate_argnums=(0, 1))
