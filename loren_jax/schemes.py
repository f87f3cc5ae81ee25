"""Where the loss is queried along a direction, and how the losses become coefficients.

* `leave_one_out`: one query a direction; each loss is compared with the mean of the others
  (REINFORCE leave-one-out). LOREN's.
* `two_sided`: a query on either side of the parameters; half their difference is the slope (SPSA).
  MeZO's.
* `one_sided`: one query a direction, compared with the loss at the parameters. ZO-Muon's.
* `three_point`: a pair and the loss at the parameters, whose second difference is the curvature
  along the direction. HiZOO's.
* `clipped`: any of these with a bound on its slopes. QZO's.
* `scaled_one_sided`, `scaled_two_sided`: the same, their slopes divided by the spread of a step's.
  FZOO's and GRZO's.

A point of zero is the same for all directions: it is queried once a step and stands in every row.

A loss that is not usable, which is one that is not finite or beyond `HUGE`, has weight zero, and so
has everything that only it could be compared with; the coefficients of the others are those of a
step without it.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from loren_jax.arguments import positive
from loren_jax.precision import wide
from loren_jax.types import Coefficients, Scalar, Scheme

HUGE = 1e15
"""Losses beyond this are as good as infinite: divided by the perturbation scale, multiplied with
noise and squared, as learning does, they would leave float32's range."""


def usable(losses: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Which losses count.

    Args:
      losses: any shape.

    Returns:
      A bool for each: whether it is finite and not absurdly large.

    >>> usable(jnp.asarray([1.0, jnp.nan, jnp.inf, -1e30])).tolist()
    [True, False, False, False]
    """
    return jnp.abs(losses) < HUGE  # False for NaN


def weigh(scheme: Scheme, losses: Float[Array, "K S"], scale: Float[Array, ""]) -> Coefficients:
    """What a scheme makes of a step's losses; zeros at a scale of zero, as a schedule may end at.

    Args:
      scheme: the scheme.
      losses: of all queries.
      scale: of the perturbation.

    Returns:
      The coefficients.

    >>> weigh(two_sided(), jnp.asarray([[1.0, 1.0]]), jnp.asarray(0.0)).slope
    Array([0.], dtype=float32)
    """
    there = (scale != 0) & jnp.isfinite(scale)
    slope, score = scheme.weigh(losses, jnp.where(there, scale, 1.0))
    return Coefficients(jnp.where(there, slope, 0.0), jnp.where(there, score, 0.0))


def leave_one_out() -> Scheme:
    r"""One query a direction, compared with the mean of the other queries.

    .. math::

        c_k = \frac{1}{K - 1} \Big( f_k - \frac{1}{K} \sum_j f_j \Big)
            = \frac{1}{K} \Big( f_k - \frac{1}{K - 1} \sum_{j \ne k} f_j \Big), \qquad
        \hat g = \frac{1}{\varepsilon} \sum_k c_k u_k

    The baseline of each query is independent of its own direction, so the estimate is as unbiased
    as the one without a baseline, and a constant added to the loss changes nothing. Its squared
    error on a linear loss is `(d + 1) / (K - 1)` times the squared gradient norm in d dimensions,
    with K forward passes.

    Returns:
      A scheme with the one point 1; it needs two directions.

    >>> leave_one_out().weigh(jnp.asarray([[1.0], [2.0], [6.0]]), jnp.asarray(0.5)).score
    Array([-1. , -0.5,  1.5], dtype=float32)

    References:
      Kool et al., Buy 4 REINFORCE samples, get a baseline for free!, 2019.
    """

    def weigh(losses: Float[Array, "K 1"], scale: Float[Array, ""]) -> Coefficients:
        score = _centre(losses[:, 0].astype(wide(losses)))
        return Coefficients(slope=score / scale, score=score)

    return Scheme(points=(1.0,), weigh=weigh, min_directions=2)


def two_sided() -> Scheme:
    r"""A pair of queries a direction, averaged over the directions at one point.

    .. math:: c_k = \frac{f(x + \varepsilon u_k) - f(x - \varepsilon u_k)}{2 \varepsilon K}

    Two forward passes a direction. The even part of the losses, which is what a covariance can
    learn from, is compared between pairs as in `leave_one_out`; with a single pair it is zero.

    Returns:
      A scheme with the points 1 and -1.

    >>> two_sided().weigh(jnp.asarray([[3.0, 1.0]]), jnp.asarray(0.5)).slope
    Array([2.], dtype=float32)

    References:
      Spall, 1992 (SPSA); MeZO, https://arxiv.org/abs/2305.17333
    """

    def weigh(losses: Float[Array, "K 2"], scale: Float[Array, ""]) -> Coefficients:
        (plus, minus), used = _finite_rows(losses)
        even = jnp.where(jnp.all(usable(losses), -1), (plus + minus) / 2, jnp.nan)
        return Coefficients(slope=(plus - minus) / (2 * scale * used), score=_centre(even))

    return Scheme(points=(1.0, -1.0), weigh=weigh)


def one_sided() -> Scheme:
    r"""One query a direction, compared with the loss at the parameters.

    .. math:: c_k = \frac{f(x + \varepsilon u_k) - f(x)}{\varepsilon K}

    K + 1 forward passes. Where the centre's loss is not finite, every weight
    is zero.

    Returns:
      A scheme with the points 0 and 1.

    >>> one_sided().weigh(jnp.asarray([[1.0, 2.0], [1.0, 0.0]]), jnp.asarray(0.5)).slope
    Array([ 1., -1.], dtype=float32)
    """

    def weigh(losses: Float[Array, "K 2"], scale: Float[Array, ""]) -> Coefficients:
        (centre, plus), used = _finite_rows(losses)
        comparable = jnp.where(usable(losses[:, 0]), losses[:, 1], jnp.nan)
        score = _centre(comparable.astype(wide(losses)))
        return Coefficients(slope=(plus - centre) / (scale * used), score=score)

    return Scheme(points=(0.0, 1.0), weigh=weigh)


def three_point() -> Scheme:
    r"""A pair of queries a direction and the loss at the parameters.

    .. math::

        c_k = \frac{f(x + \varepsilon u_k) - f(x - \varepsilon u_k)}{2 \varepsilon K}, \qquad
        h_k = \frac{|f(x + \varepsilon u_k) + f(x - \varepsilon u_k) - 2 f(x)|}
            {2 \varepsilon^2 K}

    `h`, the `score`, estimates half the absolute curvature along each direction. 2 K + 1 forward
    passes.

    Returns:
      A scheme with the points 0, 1 and -1.

    >>> three_point().weigh(jnp.asarray([[1.0, 3.0, 1.0]]), jnp.asarray(0.5))
    Coefficients(slope=Array([2.], dtype=float32), score=Array([4.], dtype=float32))

    References:
      HiZOO, https://arxiv.org/abs/2402.15173
    """

    def weigh(losses: Float[Array, "K 3"], scale: Float[Array, ""]) -> Coefficients:
        (centre, plus, minus), used = _finite_rows(losses)
        second = jnp.abs((plus - centre) + (minus - centre))
        score = second / (2 * scale**2 * used)
        return Coefficients(slope=(plus - minus) / (2 * scale * used), score=score)

    return Scheme(points=(0.0, 1.0, -1.0), weigh=weigh)


def clipped(scheme: Scheme, limit: Scalar | None) -> Scheme:
    r"""A scheme whose slopes are bounded, so that one odd batch cannot throw the parameters off.

    .. math:: c_k \leftarrow \max(-L / K, \min(L / K, c_k))

    With one direction it is the slope along it, the projected gradient, that is bounded by L. K
    counts the directions whose losses are usable. The estimate is biased where a bound is met.

    Args:
      scheme: the scheme.
      limit: `L > 0`, in units of the loss by those of the parameters; None for no bound.

    Returns:
      A scheme with the same points, and the same score.

    >>> clipped(two_sided(), 1.5).weigh(jnp.asarray([[3.0, 1.0]]), jnp.asarray(0.5)).slope
    Array([1.5], dtype=float32)

    References:
      Quantized zeroth-order optimization (QZO), https://arxiv.org/abs/2505.13430
    """
    if limit is None:
        return scheme
    positive("max_slope", limit)

    def weigh(losses: Float[Array, "K S"], scale: Float[Array, ""]) -> Coefficients:
        found = scheme.weigh(losses, scale)
        rows = jnp.maximum(jnp.sum(jnp.all(usable(losses), -1)), 1)
        bound = (limit / rows).astype(found.slope.dtype)
        return found._replace(slope=jnp.clip(found.slope, -bound, bound))

    return scheme._replace(weigh=weigh)


def scaled_one_sided() -> Scheme:
    r"""`one_sided` slopes, divided by their standard deviation within the step.

    .. math:: c_k = \frac{f(x + \varepsilon u_k) - f(x)}{K \sigma}, \qquad
        \sigma^2 = \frac{1}{K} \sum_j \Big( f_j - \frac{1}{K} \sum_i f_i \Big)^2

    Neither the scale of the loss nor that of the perturbation changes a step then: how long it is
    the learning rate alone says. Where losses differ by no more than their rounding every weight is
    zero.

    Returns:
      A scheme with the points 0 and 1; it needs two directions.

    >>> losses = jnp.asarray([[1.0, 2.0], [1.0, 0.0]])
    >>> [scaled_one_sided().weigh(c * losses, jnp.asarray(0.5)).slope for c in (1, 9)]
    [Array([ 0.5, -0.5], dtype=float32), Array([ 0.5, -0.5], dtype=float32)]

    References:
      FZOO, https://arxiv.org/abs/2506.09034
    """
    return _scale(one_sided(), lambda centre, plus: plus - centre)


def scaled_two_sided() -> Scheme:
    r"""`two_sided` slopes, divided by their standard deviation within the step.

    .. math:: c_k = \frac{d_k}{K \sigma}, \qquad
        d_k = \tfrac{1}{2} \big( f(x + \varepsilon u_k) - f(x - \varepsilon u_k) \big), \qquad
        \sigma^2 = \frac{1}{K} \sum_j \Big( d_j - \frac{1}{K} \sum_i d_i \Big)^2

    Returns:
      A scheme with the points 1 and -1; it needs two directions.

    >>> scaled_two_sided().weigh(jnp.asarray([[3.0, 1.0], [1.0, 3.0]]), jnp.asarray(0.5)).slope
    Array([ 0.5, -0.5], dtype=float32)

    References:
      GRZO, https://arxiv.org/abs/2606.02857
    """
    return _scale(two_sided(), lambda plus, minus: (plus - minus) / 2)


def forward_passes(scheme: Scheme, num_directions: int) -> int:
    """Forward passes of a step.

    Args:
      scheme: its points; one at zero is queried once for all directions.
      num_directions: K.

    Returns:
      Their number.

    >>> forward_passes(two_sided(), 3), forward_passes(three_point(), 3)
    (6, 7)
    """
    zeros = scheme.points.count(0.0)
    return num_directions * (len(scheme.points) - zeros) + bool(zeros)


def _finite_rows(losses: Float[Array, "K S"]) -> tuple[Float[Array, "S K"], Array]:
    """The losses point by point, zero in rows that are not finite, and how many rows are."""
    losses = losses.astype(wide(losses))
    finite = jnp.all(usable(losses), -1)
    return jnp.where(finite[:, None], losses, 0.0).T, jnp.maximum(jnp.sum(finite), 1)


def _centre(losses: Float[Array, " K"]) -> Float[Array, " K"]:
    """`(f_k - mean f) / (K - 1)` over the finite losses; zero for the others."""
    finite = usable(losses)
    number = jnp.sum(finite)
    # Losses differ in their last digits. Measured from one of them the differences are exact, and
    # the mean rounds on their scale instead of the losses' own.
    pivot = losses[jnp.argmax(finite)]
    values = jnp.where(finite, losses - pivot, 0.0)
    mean = jnp.sum(values) / jnp.maximum(number, 1)
    return jnp.where(finite, values - mean, 0.0) / jnp.maximum(number - 1, 1)


def _scale(scheme: Scheme, difference: Callable[..., Float[Array, " K"]]) -> Scheme:
    """The scheme with differences of the losses at its points, divided by their spread."""

    def weigh(losses: Float[Array, "K S"], scale: Float[Array, ""]) -> Coefficients:
        rows, number = _finite_rows(losses)
        used = jnp.all(usable(losses), -1)
        differences = jnp.where(used, difference(*rows), 0.0)
        # Measured from one of them equal ones leave nothing, also where a product and a difference
        # are fused; a mean of equal ones is rounded, and one divided by that is a step of 1e6.
        apart = jnp.where(used, differences - differences[jnp.argmax(used)], 0.0)
        apart = jnp.where(used, apart - jnp.sum(apart) / number, 0.0)
        spread = jnp.sqrt(jnp.sum(apart**2) / number)
        known = spread > 4 * jnp.finfo(rows.dtype).eps * jnp.max(jnp.abs(rows))
        slope = jnp.where(known, differences / (number * jnp.where(known, spread, 1.0)), 0.0)
        return Coefficients(slope=slope, score=scheme.weigh(losses, scale).score)

    return Scheme(scheme.points, weigh, max(2, scheme.min_directions))
