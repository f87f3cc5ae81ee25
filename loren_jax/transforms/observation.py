"""What a model does at the perturbed parameters of a step, before anyone says what it is worth."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

from loren_jax.transforms.programs import probe
from loren_jax.types import PyTree


def observe(
    function: Callable[[PyTree], Any],
    optimizer: optax.GradientTransformationExtraArgs,
    params: PyTree,
    state: PyTree,
) -> PyTree:
    r"""Evaluates any function at every query of a step.

    .. math:: o_{ks} = f(x + p_s \varepsilon u_k)

    The same perturbed evaluation as of a loss: no perturbed weight is built, and the queries share
    every weight that they read. What comes out may be judged outside of JAX, as the answers of a
    language model by a reward; the numbers go back as the `losses` of `optimizer.update` for the
    same `params` and `state`, lower for what is better.

    Args:
      function: `params -> any pytree of arrays`; pure.
      optimizer: an optimiser of this library, or any chain around one.
      params: the parameters.
      state: the optimiser's state, which is not changed: the step itself is still to come.

    Returns:
      What the function returns, each array with leading axes `(K, S)`: query `[k, s]` is the one
      that row k and column s of the losses belong to.

    Raises:
      TypeError: the optimiser has no estimate in it.

    >>> import jax
    >>> import loren_jax
    >>> optimizer = loren_jax.loren(0.3, num_directions=8, perturbation_scale=0.1)
    >>> params = jnp.zeros(3)
    >>> state = optimizer.init(params)
    >>> see = jax.jit(lambda *given: observe(lambda params: {"at": params}, optimizer, *given))
    >>> update = jax.jit(lambda losses, *given: optimizer.update(None, *given, losses=losses))
    >>> for _ in range(100):
    ...     seen = see(params, state)
    ...     losses = jnp.abs(seen["at"] - 1).sum(-1)  # by people, or another program
    ...     updates, state = update(losses, state, params)
    ...     params = optax.apply_updates(params, updates)
    >>> bool(jnp.abs(params - 1).max() < 0.3)
    True
    """
    value_fn = lambda params: (jnp.zeros(()), function(params))
    _, seen = probe(optimizer, params, state, has_aux=True, value_fn=value_fn)
    return seen
