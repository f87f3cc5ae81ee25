"""Computations that nothing is fused with, so that they have the same bits in every program."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from loren_jax import scheduling
from loren_jax.types import PyTree


def apart(compute: Callable[[], PyTree], value: Shaped[Array, "..."]) -> PyTree:
    """What `compute` returns, from a computation that nothing is fused with.

    A compiler rounds one expression in several ways, as what it is fused with suggests: a product
    and a sum become one operation or stay two, and what is the same in every turn of a loop around
    the step is taken out of it. A replay from losses must get the bits that the step got, though
    its program is another. A branch that is always taken is a boundary for all of that; it costs a
    copy of what it returns, so it is for small things. `value` is any array that the compiler does
    not know; among what is returned are no typed keys.

    >>> float(jax.jit(lambda x: apart(lambda: 2 * x, x))(jnp.ones(())))
    2.0
    """
    shapes = jax.eval_shape(compute)
    other = lambda: jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    return jax.lax.cond(scheduling.zero_after(value) == 0, compute, other)


def over_queries(slope: Float[Array, " K"], numbers: Float[Array, "K ..."]) -> Float[Array, "..."]:
    """`sum_k slope_k numbers_k`.

    Sums of several numbers are a matrix product, which is a boundary. A single number's sum would
    be fused with whatever reads it.

    >>> float(over_queries(jnp.ones(2), jnp.asarray([1.0, 2.0])))
    3.0
    """
    total = lambda: jnp.tensordot(slope, numbers, 1)
    return apart(total, slope) if numbers.size == len(slope) > 1 else total()
