"""The programs that a step is made of: *probe* needs the model, *absorb* the losses alone.

Compiled apart, they are the same two programs for every caller: a training loop, a replay from a
journal, a process that never sees the data. That is what makes a replay give the same bits: one
program for both could round otherwise where other things are fused with it.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import jax
import optax

from loren_jax.evaluation._sharded import automatic
from loren_jax.transformation import form, overhear, update_of
from loren_jax.types import PyTree


def probe(
    optimizer: optax.GradientTransformationExtraArgs,
    params: PyTree,
    state: PyTree,
    has_aux: bool = False,
    **functions: Any,
) -> Any:
    """The losses of a step; to be compiled, as the rest of the step is then left out.

    Args:
      optimizer: see `train_step`.
      params: the parameters.
      state: the optimiser's state.
      has_aux: whether the functions return `(scalar, aux)`.
      **functions: what `update` needs: `value_fn`, and `full_value_fn` for some.

    Returns:
      The losses; with `has_aux` also the auxiliary outputs.

    Raises:
      TypeError: there are auxiliary outputs that nobody asked for; the optimiser needs a gradient.
    """
    _require_losses(state)
    given: dict[str, Any] = functions | ({"has_aux": True} if has_aux else {})
    _, state = update_of(optimizer)(None, state, params, **given)
    losses, aux = optax.tree.get(state, "losses"), optax.tree.get(state, "aux", ())
    if has_aux:
        return losses, aux
    if jax.tree.leaves(aux):
        raise TypeError(
            "loss returns auxiliary outputs, of which nobody would hear: pass has_aux=True, or "
            "return the scalar alone."
        )
    return losses


def step_of(optimizer: optax.GradientTransformation) -> Callable[..., tuple[PyTree, PyTree]]:
    """A step of any optimiser.

    Args:
      optimizer: see `train_step`.

    Returns:
      `(params, state, **given) -> (params, state)`: its `apply`, or else `update` and
      `optax.apply_updates`. The latter warns, once, where the former was there and got lost.
    """
    if apply := form(optimizer, "apply"):
        return apply
    update, told = update_of(optimizer), False

    def by_updates(params, state, **given):
        nonlocal told
        _require_losses(state)
        with overhear() as called:
            updates, state = update(None, state, params, **given)
        if not told and any(one.apply for one in called):
            told = True
            warnings.warn(_LOST, stacklevel=2)
        return optax.apply_updates(params, updates), state

    return by_updates


def _require_losses(state: PyTree) -> None:
    """Raises unless the state is that of an optimiser with an estimate in it."""
    if optax.tree.get(state, "losses", None) is None:
        raise TypeError(
            "optimizer has no zeroth-order estimate in it, so it would need a gradient: pass one "
            "of loren_jax, or loren_jax.transforms.chain(estimate, optimizer)."
        )


_LOST = (
    "optimizer wraps one of loren_jax in something that hides its step in place (optax.chain, "
    "inject_hyperparams, ...), so a step takes memory for another copy of the parameters: put what "
    "follows behind the estimate with loren_jax.transforms.chain(estimate, ...), and a mask around "
    "it all with loren_jax.trained(optimizer, mask)."
)


@functools.lru_cache(maxsize=16)
def compiled_absorb(
    optimizer: optax.GradientTransformationExtraArgs,
) -> jax.stages.Wrapped:
    """The one program that steps and replays share.

    Args:
      optimizer: see `train_step`.

    Returns:
      `(params, state, losses) -> (params, state)`, compiled, no forward pass. Parameters and state
      are donated: they are changed in place and must not be used again.
    """
    apply = step_of(optimizer)

    def absorb(params, state, losses):
        return apply(params, state, losses=losses)

    return jax.jit(automatic(absorb), donate_argnums=(0, 1))
