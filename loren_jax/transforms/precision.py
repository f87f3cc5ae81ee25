"""Optax transformations in float32, whatever the parameters are."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from loren_jax.precision import wide
from loren_jax.types import PyTree


def in_float32(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    r"""Runs `tx` with state and updates of float32 at least, whatever float the parameters are.

    Most of Optax keeps its state in the parameters' dtype. In bfloat16, whose spacing is 1/128 of
    a number, a second moment with a decay of 0.999 never decays: each step takes less than half a
    spacing. Here `tx` sees float32 parameters and updates from `init` on, and its updates stay
    float32, so that `optax.apply_updates` adds in float32 and rounds once.

    Costs no more than `tx` does for float32 parameters; compiled, the casts fuse into it.

    Args:
      tx: any Optax transformation.

    Returns:
      An `optax.GradientTransformationExtraArgs` whose state is that of `tx`.

    >>> params = jnp.ones(3, jnp.bfloat16)
    >>> tx = in_float32(optax.scale_by_adam())
    >>> optax.tree.get(tx.init(params), "nu").dtype
    dtype('float32')
    """
    inner = optax.with_extra_args_support(tx)

    def init(params):
        return inner.init(_float32(params))

    def update(updates, state, params=None, **extra):
        # None has no leaves: it stays None.
        return inner.update(_float32(updates), state, _float32(params), **extra)

    return optax.GradientTransformationExtraArgs(init, update)


def _float32(tree: PyTree) -> PyTree:
    """The tree with narrow floats made float32; all else as it is."""

    def cast(leaf: Any) -> Any:
        floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return jnp.asarray(leaf, wide(leaf)) if floating else leaf

    return jax.tree.map(cast, tree)
