"""Optax transformations in float32, whatever the parameters are."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from loren_jax.precision import wide


def in_float32(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    r"""Runs `tx` with state and updates of float32 at least, whatever float the parameters are.

    Most of Optax keeps its state in the parameters' dtype. In bfloat16, whose spacing is 1/128 of
    a number, a second moment with a decay of 0.999 never decays: each step takes less than half a
    spacing. Here `tx` sees float32 parameters and updates from `init` on, and its updates stay
    float32, so that `optax.apply_updates` adds in float32 and rounds once. The state is that of
    `tx`. Costs no more than it does for float32 parameters; compiled, the casts fuse into it.

    Args:
      tx: any transformation.

    Returns:
      The transformation, whose state is that of `tx`.

    >>> params = jnp.ones(3, jnp.bfloat16)
    >>> tx = in_float32(optax.scale_by_adam())
    >>> optax.tree.get(tx.init(params), "nu").dtype
    dtype('float32')
    """
    inner = optax.with_extra_args_support(tx)

    def cast(leaf: ArrayLike) -> Any:
        floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return jnp.asarray(leaf, wide(leaf)) if floating else leaf

    widened = lambda tree: jax.tree.map(cast, tree)  # None has no leaves: it stays None

    def update(updates, state, params=None, **extra):
        return inner.update(widened(updates), state, widened(params), **extra)

    return optax.GradientTransformationExtraArgs(lambda params: inner.init(widened(params)), update)
