"""Directions with a learned diagonal covariance: HiZOO's."""

import warnings
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from loren_jax import arguments
from loren_jax.directions.matrices import AxesOf
from loren_jax.directions.sampling import sample
from loren_jax.directions.structured import Dense, Seeded
from loren_jax.directions.structured.direction import plus
from loren_jax.directions.sums import leaf_by_leaf
from loren_jax.types import Distribution, PyTree, Scalar

SMOOTHING = 1e-8
"""Published, and too small for the diagonal ever to decay in float32; see `diagonal`."""


class DiagonalState(NamedTuple):
    """What `diagonal` has learned.

    Attributes:
      diagonal: tree like the parameters, float32: the estimate `D` of the curvature of each. One
        number for each trained parameter.
    """

    diagonal: PyTree


def diagonal(
    smoothing: Scalar = SMOOTHING,
    bounds: tuple[Scalar, Scalar] = (1e-3, 1e3),
    use_same_diagonal: bool = False,
    matrix_axes: AxesOf | None = None,
) -> Distribution:
    r"""Directions `N(0, D^-1)` with a diagonal `D` that follows the curvature.

    .. math::

        y_k = D^{-1/2} z_k, \quad z_k \sim N(0, I), \qquad
        D' = \text{clip} \Big( (1 - \alpha) D + \alpha \sum_k h_k D \circ z_k \circ z_k \Big),
        \qquad \hat g = \sum_k c_k D'^{-1/2} z_k

    with the slopes `c_k` and curvatures `h_k` of a scheme like `three_point`. `D` starts at one. A
    loss that is not finite has `h_k = 0`, which lets `D` decay a little and no more.

    The estimate uses `D'` as published, although the queries used `D`; its mean is `D'^{-1/2}
    D^{-1/2}` times the gradient, with `D'` depending on the very losses. `use_same_diagonal=True`
    uses `D`, without that bias.

    **Smoothing.** At the published `1e-8` (and up to `3e-8`) `1 - alpha` is 1 in float32: `D` grows
    wherever there is curvature and never decays. That decay would be 0.02 % in 20,000 steps, so
    little is lost; but where `alpha h_k z^2` is below `6e-8` too, growth is lost as well and `D`
    stands still. `optax.tree.get(state, "diagonal")` shows whether it moved. Any other smoothing
    this small draws a warning; zero freezes `D` at one, which is MeZO with one forward pass more.

    Args:
      smoothing: `alpha` in [0, 1).
      bounds: least and largest entry of `D`.
      use_same_diagonal: whether the estimate uses the diagonal of the queries.
      matrix_axes: `(path, shape) -> MatrixAxes` where the default is wrong for a leaf.

    Returns:
      A distribution with a `DiagonalState`.

    Raises:
      ValueError: an argument out of range.

    >>> from loren_jax import noise
    >>> directions = diagonal()
    >>> directions.init({"kernel": jnp.zeros((2, 3))}, noise.run_key(0)).diagonal["kernel"].shape
    (2, 3)

    References:
      HiZOO, https://arxiv.org/abs/2402.15173
    """
    arguments.fraction("smoothing", smoothing)
    _warn_of_underflow(smoothing)
    low, high = bounds
    arguments.positive("bounds[0]", low)
    arguments.positive("bounds[1]", high)
    if not low <= 1 <= high:
        raise ValueError(f"bounds must include 1, where the diagonal starts, got {bounds}.")

    def init(params, key):
        arguments.trainable_leaves(params)
        return DiagonalState(optax.tree.ones_like(params, dtype=jnp.float32))

    def draw(state, params, key):
        drawn = sample(key, params, matrix_axes=matrix_axes)
        return jax.tree.map(lambda d, z: _scale(z, d), state.diagonal, drawn)

    def absorb(state, params, directions, coefficients, into=None):
        def one(direction, target, d):
            standard = _standard(direction, d)
            curvature = d * standard.squares(coefficients.score)
            new = jnp.clip((1 - smoothing) * d + smoothing * curvature, low, high)
            total = standard.combine(*coefficients)[0] / jnp.sqrt(d if use_same_diagonal else new)
            return plus(target, total), new.astype(d.dtype)  # as inject_hyperparams' may be wider

        total, learned = leaf_by_leaf(one, params, into, directions, state.diagonal)
        return total, DiagonalState(learned)

    return Distribution(init, lambda state, params, key: state, draw, absorb)


def _scale(standard: Seeded | Dense, d: Float[Array, "..."]) -> Seeded | Dense:
    """A standard normal direction times `d^-1/2`, entry by entry."""
    if isinstance(standard, Seeded):
        return replace(standard, std=1 / jnp.sqrt(d))
    return Dense(standard.array / jnp.sqrt(d), standard.view)


def _standard(direction: Seeded | Dense, d: Float[Array, "..."]) -> Seeded | Dense:
    """The standard normal directions that K scaled ones were made of."""
    if isinstance(direction, Seeded):
        return replace(direction, std=None)
    return Dense(direction.array * jnp.sqrt(d)[None], direction.view)


def _warn_of_underflow(smoothing: Scalar) -> None:
    """The published default is documented and stays silent."""
    if not arguments.is_concrete_number(smoothing) or smoothing == 0:
        return
    alpha = np.float32(smoothing)
    if np.float32(1) - alpha == 1 and alpha != np.float32(SMOOTHING):
        warnings.warn(
            f"smoothing={float(smoothing):g} is so small that 1 - smoothing is 1 in float32: the "
            "diagonal can grow but never decay. Pass at least 6e-8, or 0 to freeze it.",
            stacklevel=3,
        )
