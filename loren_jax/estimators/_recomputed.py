"""Adam's direction without Adam's memory: moments of the last steps, recomputed from their slopes.

A step's estimate is a function of its noise, which a key makes again, and of its few slopes. So the
slopes of the last steps stand for all their estimates.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt32

from loren_jax import arguments, noise, schemes
from loren_jax.directions.apart import apart
from loren_jax.directions.queries import draw_queries
from loren_jax.directions.sums import leaf_by_leaf
from loren_jax.estimators._estimate import estimate, query_keys
from loren_jax.estimators.update_arguments import require_no_updates
from loren_jax.evaluation._sharded.layout import layout_of
from loren_jax.precision import loss_dtype
from loren_jax.transformation import Update, ZerothOrder, form
from loren_jax.types import (
    Distribution,
    EstimateState,
    Evaluation,
    PyTree,
    Scalar,
    ScalarOrSchedule,
    Scheme,
    Seed,
)


class RecomputedState(NamedTuple):
    """State of `recomputed_adam`: that of `estimate`, and the slopes of the last steps.

    Attributes:
      count, key, directions, losses, loss, nonfinite, aux: as in `EstimateState`.
      slopes: of the last h steps, the newest first; zero before the first step, and where a loss
        was not finite.
    """

    count: Int[Array, ""]
    key: UInt32[Array, "2"]
    directions: PyTree
    losses: Float[Array, "K S"]
    loss: Float[Array, ""]
    nonfinite: Int[Array, ""]
    slopes: Float[Array, "h K"]
    aux: PyTree = ()


def recomputed_adam(
    directions: Distribution,
    scheme: Scheme,
    horizon: int,
    num_directions: int,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    b1: Scalar = 0.7,
    b2: Scalar = 0.9,
    eps: Scalar = 1e-8,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""Replaces the updates by Adam's direction, of moments of the last h estimates alone.

    .. math::

        m = \frac{\sum_{j < n} \beta_1^j \hat g_{t - j}}{\sum_{j < n} \beta_1^j}, \qquad
        v = \frac{\sum_{j < n} \beta_2^j \hat g_{t - j}^2}{\sum_{j < n} \beta_2^j}, \qquad
        u = \frac{m}{\sqrt v + \epsilon}, \qquad n = \min(t + 1, h)

    The estimates are those of `estimate`, each made again from the noise and the slopes of its
    step. It is added to a tree leaf by leaf, and no tree of moments is held.

    Args:
      directions: the distribution of perturbations, one that neither learns nor keeps anything:
        what an older step has drawn must follow from its number.
      scheme: how losses become slopes.
      horizon: h, steps that count.
      num_directions: K, directions a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: added to the root, in units of the gradient; zero or more.
      chunk_size: forward passes that run at once; None for all where memory allows it, else 1.
      evaluation: how one query runs; None is `evaluation.perturbed`.
      key: a seed or a threefry key; the only source of randomness.

    Returns:
      An Optax transformation with a `RecomputedState`; its updates are float32 and point uphill. A
      step without a usable loss counts as an estimate of zero.

    Raises:
      ValueError: an argument out of range.

    >>> from loren_jax import directions, schemes
    >>> tx = recomputed_adam(directions.isotropic(), schemes.two_sided(), 10, num_directions=1)
    >>> params = jnp.ones(3)
    >>> updates, state = tx.update(None, tx.init(params), params, losses=jnp.asarray([[2.0, 1.0]]))
    >>> jnp.abs(updates)  # a first step is of one size
    Array([1., 1., 1.], dtype=float32)
    >>> state.slopes.shape
    (10, 1)

    References:
      AdaMeZO, https://arxiv.org/abs/2605.00650
    """
    arguments.count("horizon", horizon)
    arguments.fraction("b1", b1)
    arguments.fraction("b2", b2)
    arguments.non_negative("eps", eps)
    plain = estimate(
        directions, scheme, num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    query, layout = form(plain, "accumulate"), layout_of(evaluation)

    def init(params: PyTree) -> RecomputedState:
        start: Any = plain.init(params)
        zeros = jnp.zeros((horizon, num_directions), loss_dtype())
        return RecomputedState(**start._asdict(), slopes=zeros)

    def accumulate(
        state: PyTree, params: PyTree, into: PyTree | None, factor: Scalar, **given: PyTree
    ) -> tuple[PyTree, PyTree]:
        own = EstimateState(*(getattr(state, name) for name in EstimateState._fields))
        # The estimate that comes with the losses is not used, so that a compiler leaves it out.
        _, after = query(own, params, None, 1.0, **given)
        scale = arguments.value_at(perturbation_scale, state.count)
        weighed = lambda: schemes.weigh(scheme, after.losses, scale).slope
        newest = lambda: weighed()[None].astype(state.slopes.dtype)
        latest = lambda: jnp.concatenate([newest(), state.slopes[:-1]])
        slopes = apart(latest, after.losses)
        weights = tuple(_weights(decay, state.count, horizon) for decay in (b1, b2))
        with layout.context():
            described = layout.describe(params)
            drawn = _drawn_again(directions, described, own, slopes.shape)
            drawn = layout.place_directions(drawn, described, own.directions)
            one = lambda y, target: (y.moment_ratio(slopes, weights, eps, target, factor), None)
            total = layout.place_as_params(leaf_by_leaf(one, params, into, drawn)[0])
        return total, RecomputedState(**after._asdict(), slopes=slopes)

    def update(
        updates: PyTree | None, state: PyTree, params: PyTree | None = None, **given: PyTree
    ) -> tuple[PyTree, PyTree]:
        total, state = accumulate(state, params, None, 1.0, **given)
        require_no_updates(updates)
        return total, state

    shared = ("ask", "displacement", "scheme", "passes")
    facts = {name: form(plain, name) for name in shared}
    return ZerothOrder(init, Update(update, accumulate=accumulate, estimate=plain, **facts))


def _drawn_again(
    directions: Distribution, params: PyTree, state: EstimateState, shape: tuple[int, int]
) -> PyTree:
    """The directions of this step and those before it, the newest first: an axis of h K."""
    horizon, number = shape
    # All ages at once: a generator for each of them compiles for minutes where there are many.
    at_age = lambda age: noise.words(query_keys(state._replace(count=state.count - age), number))
    keys = noise.from_words(jax.vmap(at_age)(jnp.arange(horizon))).reshape(-1)
    draw = lambda key: directions.draw(state.directions, params, key)
    return draw_queries(draw, keys)[0]


def _weights(decay: Scalar, count: Int[Array, ""], horizon: int) -> Float[Array, " horizon"]:
    """`decay^j` of the steps that there have been, over their sum."""
    ages = jnp.arange(horizon)
    powers = jnp.where(ages <= count, jnp.asarray(decay, jnp.float32) ** ages, 0.0)
    return powers / jnp.sum(powers)
