"""Draws a structured direction for one leaf: full Gaussian or rank r, with or without covariance.

With independent standard normal factors `P (m, r)` and `Q (n, r)` the direction `P Q^T / sqrt(r)`
has `E[vec U vec U^T] = I` exactly as a Gaussian `U` has, so that the gradient estimate is unbiased
in the same sense. A covariance acts on the fan-in side and keeps the rank: `Q` becomes `Sigma^1/2
Q`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from loren_jax import noise
from loren_jax.covariance import DampedRankOne
from loren_jax.directions.matrices import MatrixView
from loren_jax.directions.structured import Dense, LowRank, Seeded
from loren_jax.types import Direction


def sample(
    key: Key[Array, ""],
    view: MatrixView,
    *,
    rank: int | None = None,
    covariance: DampedRankOne | None = None,
) -> Direction:
    """One direction for one leaf.

    Args:
      key: the leaf's key of this query; layers, and the two factors, get keys of their own.
      view: the leaf's matrix view.
      rank: None for full Gaussian noise, else r. A matrix whose factors would be no smaller than
        itself, `(m + n) r >= m n`, is drawn in full: it is as cheap and of lower variance.
      covariance: of the fan-in vectors, over the view's stack; None for isotropic noise.

    Returns:
      `Dense` for vectors, `Seeded` for full Gaussian matrices, `LowRank` for rank r.
    """
    if view.is_vector:
        return _dense(key, view, covariance)
    if rank is None or (view.m + view.n) * rank >= view.m * view.n:
        return Seeded(noise.fold_all(key, view.stack), covariance, view)
    left = _factor(noise.fold_name(key, "left"), view, (view.m, rank)) / jnp.sqrt(rank)
    right = _factor(noise.fold_name(key, "right"), view, (view.n, rank))
    if covariance is not None:
        right = covariance.apply_sqrt(right, axis=-2)
    return LowRank(left, right, view)


def _factor(key: Key[Array, ""], view: MatrixView, shape: tuple[int, int]) -> Array:
    """One factor of every matrix of the stack."""
    return _normal_stack(noise.fold_all(key, view.stack), shape)


def _dense(key, view: MatrixView, covariance: DampedRankOne | None) -> Dense:
    layer = view.layer
    y = _normal_stack(noise.fold_all(key, view.stack), layer.shape)
    if covariance is not None:
        y = covariance.apply_sqrt(y, tuple(i + len(view.stack) for i in layer.fan_in))
    return Dense(view.from_layers(y), view)


def _normal_stack(keys: Array, shape: tuple[int, ...]) -> Array:
    draw = lambda key: noise.normal(key, shape)
    for _ in keys.shape:
        draw = jax.vmap(draw)
    return draw(keys)
