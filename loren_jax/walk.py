"""How far the noise of a run may lead: what `automatic` takes as its walk."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from loren_jax import arguments
from loren_jax.lengths import Lengths
from loren_jax.losses._per_example import bind
from loren_jax.losses.loss_function import loss_and_aux
from loren_jax.transformation import ZerothOrder, update_of
from loren_jax.types import PyTree, Scheme

SHARE = 0.15
"""Of the first loss: what noise of the size of a whole run's walk adds to it."""
LONGEST, CORRECTED = 3.0, 6.0
"""By how much steps grow at most for what was gained, and for what is corrected; the greater of the
two is the bound of both together."""
FIRST, MOST = 0.05, 8.0
"""The first noise of `measure_walk`, and by how much a batch changes it at most."""
SEARCHED_BATCHES, SOME = 4, 9
"""Batches of it, those of the first steps, and directions in each."""


class MeasuredWalk(NamedTuple):
    """What `measure_walk` finds.

    Attributes:
      walk: how far noise may lead, in units of the parameters.
      longest: by how much steps may grow still, `automatic`'s argument.
      passes: forward passes that it took.
    """

    walk: float
    longest: float
    passes: int


def measure_walk(
    loss: Callable[..., Any],
    params: PyTree,
    batches: Callable[[int], PyTree],
    factory: Callable[..., ZerothOrder],
    *,
    steps: int | None = None,
    share: float = SHARE,
    chance: float = math.inf,
    **knobs: Any,
) -> MeasuredWalk:
    r"""How far the noise of a run may lead, along the directions of a method: `automatic`'s `walk`.

    .. math::

        s: \quad E\, e(s) = \gamma f(x), \qquad
        e(s) = \tfrac{1}{2} \big( f(x + s u) + f(x - s u) \big) - f(x)

    .. math::

        \omega = s \operatorname{clip}(\kappa, 1, 6), \qquad
        \kappa = \frac{\gamma f(x) \sqrt{T}}{d \, \sigma s}, \qquad
        d = \frac{2 (E e)^2}{\operatorname{Var} e}

    For cross-entropy the even part `e` is `s^2 / 2` times the trace of the curvature, which is the
    mean square of an example's gradient too: the noise of the estimate. A search from 0.05 on,
    batch by batch and by that square law; the median of what the last three of four say.

    Noise of the size of `s` is what the parameters bear if nothing corrects it. Where it falls on
    few directions, a run of `T` steps does: `Var e` over Gaussian directions tells that the trace
    is one of `d` equal curvatures `2 gamma f / (d s^2)`, and steps with estimates of root mean
    square `sigma` (that of the slopes over the root of `num_directions`) shrink what lies along
    them by `exp(-kappa)` if they lead as far as `s` in all. What is left of noise then grows with
    the root of the steps' length only, and steps may be longer: by `kappa`, at which noise that
    comes and goes costs a quarter of `gamma f`, and by six at most, as curvatures are not equal.
    So it is along the inputs (`input_subspace`); isotropic noise falls on too many directions for
    nine to tell how many, and `kappa` is left out.

    Args:
      loss: `(params, batch) -> scalar`, above zero. Of an object with the fields `loss` and
        `trained` the first is `f`, and slopes are those of the second, the loss that is trained.
      params: where the run begins.
      batches: the batch of a step, from its number.
      factory: see `automatic`.
      steps: T, those of the run, for `kappa`; None leaves it out.
      share: `gamma`.
      chance: see `automatic`; a share of the loss is one of no more than this.
      **knobs: see `automatic`; `num_directions` is of the run; nine are drawn here, the same
        for each batch.

    Returns:
      The noise, as a root mean square of the numbers of a parameter's change, by how much steps may
      grow, and the cost.

    Raises:
      ValueError: the loss is not positive and finite at the start, or noise that is as large, or as
        small, as the search can go adds too little to it, or too much.

    >>> import loren_jax
    >>> loss = lambda x, batch: 1.0 + 0.5 * jnp.mean(x**2)
    >>> found = measure_walk(loss, jnp.zeros(4000), lambda step: (), loren_jax.mezo, share=0.5)
    >>> round(found.walk, 1), found.passes
    (1.0, 76)
    """
    arguments.above_zero("chance", chance)
    if steps is not None:
        arguments.count("steps", steps)
    probe = _probe_of(loss, factory, knobs | {"num_directions": SOME})
    scale, found = FIRST, []
    for number in range(SEARCHED_BATCHES):
        centre, even, slopes = probe(params, batches(number), jnp.float32(scale))
        centre = float(centre)
        if not math.isfinite(centre):
            raise ValueError(
                f"the loss is {centre:g} where the run begins: look at the model's own loss on the "
                f"batch of step {number}."
            )
        if centre <= 0:
            raise ValueError(
                f"the loss is {centre:g} where the run begins, and a learning rate is found from a "
                "share of it: give one, or add a constant to the loss."
            )
        even, slopes = (np.float64(x) / min(centre, chance) for x in (even, slopes))
        scale *= _factor(float(even.mean()), share)
        found.append((scale, even, slopes))
    # The first one was far from where it belongs, and one of those that are left may be.
    scales, evens, slopes = zip(*found[1:], strict=True)
    walk = sorted(scales)[len(scales) // 2]
    reach = MOST ** (SEARCHED_BATCHES - 1)
    if walk >= FIRST * reach:
        raise ValueError(f"noise of {walk:.3g} hardly adds to the loss: give a learning rate.")
    if walk <= FIRST / reach:
        raise ValueError(
            f"noise of {walk:.3g} in the parameters still makes the loss more than {share:.0%} "
            "larger, or no number: give a learning rate, or look at what the loss does beside "
            "its parameters."
        )
    own, corrected = Lengths.of(factory, knobs, 1.0), 1.0
    # Nine directions tell five from fifty, not fifty from hundreds, as isotropic noise has.
    if steps is not None and own.given.get("factors"):
        spread = math.sqrt(float(np.mean(np.square(slopes))) / own.given["num_directions"])
        noise = spread * walk * dimensions(np.stack(evens))
        # Without slopes, or with losses that noise lowers, there is nothing to be told.
        corrected = share * math.sqrt(steps) / noise if noise > 0 else 1.0
        corrected = min(max(1.0, corrected), CORRECTED)
    passes = search_passes(own.first.scheme)
    return MeasuredWalk(walk * corrected, max(1.0, LONGEST / corrected), passes)


def dimensions(evens: Float[np.ndarray, "B K"]) -> float:
    r"""In how many directions of equal curvature noise would be as unequal as it is.

    .. math::

        d = \frac{2 \sum_{a < b} \bar e_a \bar e_b}
            {\sum_{a < b} \operatorname{Cov}_k(e_{ak}, e_{bk})}, \qquad
        \bar e_b = \operatorname{mean}_k e_{bk}

    A variance within a batch would count what its examples differ by, which no run corrects; the
    covariance of two batches along the same directions leaves it out.

    Args:
      evens: what noise along K directions adds to the losses of B batches.

    Returns:
      `d`; infinity where the batches do not agree.

    >>> evens = np.asarray([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])
    >>> dimensions(evens)
    8.0
    """
    means = evens.mean(1)
    apart = evens - means[:, None]
    between = _others(apart @ apart.T) / (evens.shape[1] - 1)
    # Of sums, as the mean of one batch may be near zero, or below.
    return 2.0 * _others(np.outer(means, means)) / between if 0 < between < math.inf else math.inf


def _others(products: np.ndarray) -> float:
    """The sum of products of different batches."""
    return float(products.sum() - np.trace(products))


def _probe_of(
    loss: Callable[..., Any], factory: Callable[..., ZerothOrder], knobs: dict[str, Any]
) -> Callable[..., tuple[Array, Array, Array]]:
    """`(params, batch, scale)` to the loss, and of each direction its even part and its slope."""
    own = Lengths.of(factory, knobs, 1.0)
    scheme = own.first.scheme
    signs = _signs(scheme)
    away = [i for i, point in enumerate(scheme.points) if point != 0]
    points = jnp.asarray([sign * scheme.points[i] for sign in signs for i in away])

    def probe(params: PyTree, batch: PyTree, scale: Array) -> tuple[Array, Array, Array]:
        value_fn = bind(loss, batch)
        (centre, _), state = loss_and_aux(value_fn)(params), own.first.init(params)

        def at(sign: float) -> tuple[Array, Array]:
            moved = own.make(1.0, sign * scale / jnp.sqrt(own.moved(state, params)))
            _, after = update_of(moved)(None, state, params, value_fn=value_fn)
            losses = optax.tree.get(after, "losses")
            trained = getattr(optax.tree.get(after, "aux", ()), "trained", losses)
            return losses[:, jnp.asarray(away)], trained[:, jnp.asarray(away)]

        losses, trained = (jnp.concatenate(x, 1) for x in zip(*map(at, signs), strict=True))
        slopes = trained @ points / (scale * jnp.sum(points**2))
        return centre, jnp.mean(losses, 1) - centre, slopes

    return jax.jit(probe)


def search_passes(scheme: Scheme) -> int:
    """Forward passes that `measure_walk` takes with a method of this scheme.

    >>> import loren_jax
    >>> search_passes(loren_jax.mezo(0.1).scheme)
    76
    """
    each = sum(point != 0 for point in scheme.points) * len(_signs(scheme))
    return SEARCHED_BATCHES * (SOME * each + 1)


def _signs(scheme: Scheme) -> tuple[float, ...]:
    """By what its points are multiplied, so that there is a mirrored one for each."""
    return (1.0,) if -1.0 in scheme.points else (1.0, -1.0)


def _factor(found: float, wanted: float) -> float:
    """By what noise must grow for so much more of the loss, if that grows as its square."""
    if not found < math.inf:
        return 1 / MOST
    return min(max(math.sqrt(wanted / max(found, 1e-9 * wanted)), 1 / MOST), MOST)
