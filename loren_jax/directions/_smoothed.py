"""Directions at a random distance, weighted by a kernel that cancels a bias: KerZOO's."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax import arguments, noise
from loren_jax.directions.structured import Scaled
from loren_jax.types import Distribution, Scalar

Kernel: TypeAlias = Literal["linear", "cubic", "quintic"]

KERNELS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda s: 3 * s,
    "cubic": lambda s: 15 / 4 * s * (5 - 7 * s**2),
    "quintic": lambda s: 105 / 64 * s * (35 - 126 * s**2 + 99 * s**4),
}
"""Odd polynomials with `E[s K(s)] = 1` for uniform `s` in [-1, 1]; the cubic has `E[s^3 K] = 0`,
the quintic `E[s^5 K] = 0` too."""


def smoothed(
    directions: Distribution,
    half_width: Scalar = 0.5,
    kernel: Kernel = "cubic",
    constant: Scalar = 1.0,
) -> Distribution:
    r"""Queries at `r u` instead of `u` and estimates with `K(r) u`, a random radius `r` each query.

    .. math::

        r \sim \text{uniform}(-h, h), \qquad
        \hat g = \frac{f(x + \varepsilon r u) - f(x - \varepsilon r u)}{2 \varepsilon} K(r) u,
        \qquad K(r) = \frac{C}{h} \kappa(r / h)

    A pair's difference quotient is `r u . grad f + epsilon^2 r^3 (u . grad)^3 f / 6 + ...`. The
    kernel keeps the first term on average, `E[r K(r)] = C`, and removes the second,
    `E[r^3 K(r)] = 0`, with `kappa` one of

    ===========  ====================================================  ================
    `kernel`     `kappa(s)`                                            `E[(r K)^2]/C^2`
    ===========  ====================================================  ================
    `linear`     `3 s`; removes nothing                                1.8
    `cubic`      `15/4 s (5 - 7 s^2)`; removes `epsilon^2`             6.25
    `quintic`    `105/64 s (35 - 126 s^2 + 99 s^4)`; `epsilon^4` too   13.25
    ===========  ====================================================  ================

    The last column is the price: the estimate's second moment in units of the one at radius 1.

    The conditions hold for every half-width because of the `1 / h` outside and inside: `r = h s`
    gives `E[r K(r)] = C E[s kappa(s)]` and `E[r^3 K(r)] = h^2 C E[s^3 kappa(s)]`. A kernel that is
    made for [-1, 1] and used on [-h, h] as it is fulfils neither: for `h = 1/2` the cubic one has
    1.23 C and 0.18 C. It follows that half-width h at the scale `epsilon` is half-width 1 at `h
    epsilon`, draw for draw.

    Args:
      directions: what to smooth, such as `isotropic()`; not `diagonal`, whose curvatures are those
        at radius 1.
      half_width: `h > 0`.
      kernel: `linear`, `cubic` or `quintic`.
      constant: `C > 0`, a factor of the whole estimate.

    Returns:
      A distribution with the state of `directions`, for a scheme with pairs of opposite points.

    Raises:
      ValueError: an argument out of range.

    >>> from loren_jax.directions._isotropic import isotropic
    >>> tx = smoothed(isotropic())
    >>> drawn = tx.draw(tx.init(jnp.ones(3), noise.run_key(0)), jnp.ones(3), noise.run_key(1))
    >>> bool(abs(drawn.radius) <= 0.5)
    True

    References:
      KerZOO, https://arxiv.org/abs/2505.18886, where the quintic kernel's 105 is misprinted as 195.
    """
    arguments.positive("half_width", half_width)
    arguments.positive("constant", constant)
    arguments.choice("kernel", kernel, get_args(Kernel))

    def draw(state, params, key):
        normal = noise.normal_rows(noise.fold_name(key, "radius"), jnp.arange(1), 1)[0, 0]
        s = 2 * jax.scipy.stats.norm.cdf(normal) - 1
        radius, weight = half_width * s, constant / half_width * KERNELS[kernel](s)
        inner = directions.draw(state, params, key)
        return jax.tree.map(lambda _, one: Scaled(one, radius, weight), params, inner)

    return directions._replace(draw=draw)


def mean_squares(half_width: float, kernel: Kernel, constant: float) -> tuple[float, float]:
    """`E r^2`, of a query's numbers, and `E (r K(r))^2 / E r^2`, of an estimate's by its slopes'.

    A slope grows with its radius, so that the two are not independent. By a quadrature that is
    exact for these polynomials.

    Args:
      half_width: see `smoothed`, and there for the others.
      kernel: see there.
      constant: see there.

    Returns:
      Both.

    >>> [round(x, 6) for x in mean_squares(1.0, "cubic", 1.0)]
    [0.333333, 18.75]
    """
    s, weights = np.polynomial.legendre.leggauss(8)
    of_query = half_width**2 / 3
    of_estimate = float(np.sum(weights / 2 * (s * KERNELS[kernel](s)) ** 2))
    return of_query, constant**2 * of_estimate / of_query
