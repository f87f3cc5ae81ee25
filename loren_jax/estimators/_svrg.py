"""A variance-reduced estimate: the noise of the minibatch is measured at a snapshot and taken off.

It is made of two estimates, which draw the same directions because they share their state: one
queries losses at a point, the other absorbs the difference between two points.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, UInt32

from loren_jax import arguments, schemes
from loren_jax.estimators._estimate import estimate
from loren_jax.estimators.update_arguments import require_no_updates, require_spelling
from loren_jax.precision import wide
from loren_jax.transformation import Update, ZerothOrder, form
from loren_jax.types import (
    Coefficients,
    Distribution,
    EstimateState,
    Evaluation,
    PyTree,
    ScalarOrSchedule,
    Scheme,
    Seed,
)
from loren_jax.updates import cast_like


class SvrgState(NamedTuple):
    """State of `svrg`: that of `estimate`, the snapshot, and its full estimate.

    Attributes:
      count, key, directions, nonfinite: as in `EstimateState`.
      losses: the latest step's as queried, finite or not: S columns at the parameters, of the full
        loss on a full step, and S at the snapshot, which are zero on a full step.
      loss: mean of the finite ones at the parameters.
      snapshot: the parameters of the latest full step, a copy in their dtypes.
      full_estimate: the estimate of that step, float32 at least; zero before the first.
      aux: the auxiliary outputs, placed as the losses are.
    """

    count: Int[Array, ""]
    key: UInt32[Array, "2"]
    directions: PyTree
    losses: Float[Array, "K twice_S"]
    loss: Float[Array, ""]
    nonfinite: Int[Array, ""]
    snapshot: PyTree
    full_estimate: PyTree
    aux: PyTree = ()


def svrg(
    directions: Distribution,
    scheme: Scheme,
    every: int,
    num_directions: int,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""Replaces the updates by a variance-reduced zeroth-order estimate of the gradient.

    .. math::

        \hat g_t = \begin{cases}
            G(F; x_t), \quad \text{kept as } \bar g, \text{ with } \bar x \leftarrow x_t
                & \text{if } q \text{ divides } t \\
            G(f_t; x_t) - G(f_t; \bar x) + \bar g & \text{otherwise}
        \end{cases}
        \qquad G(f; x) = \sum_{k=1}^{K} c_k\big(f(x + \varepsilon p_s y_k)\big) \, y_k

    F is the full loss and `f_t` that of the step's minibatch. Both estimates of a minibatch step
    use the same directions `y_k`, so that their difference, and the minibatch's noise with it,
    vanishes as x approaches the snapshot. `update` takes either both `value_fn`, the minibatch
    loss, and `full_value_fn`, the full one, at every call: a full step costs K S passes of the
    latter, any other 2 K S of the former. Or `losses`, `(K, 2 S)`, of this very step.

    A direction with a loss that is not finite, be it at the parameters or at the snapshot, has
    weight zero at both. A step without a usable direction moves nothing, and if it is a full one it
    keeps the old snapshot and its estimate. Directions learn from the losses at the parameters.

    Args:
      directions: the distribution of perturbations, the same leaves at every step.
      scheme: how losses become coefficients; a constant added to the loss must change nothing.
      every: q, steps from one full estimate to the next; 1 makes every step a full one.
      num_directions: K, directions a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      chunk_size: forward passes that run at once; None for all where memory allows it, else 1.
      evaluation: how one query runs; None is `evaluation.perturbed`.
      key: a seed or a threefry key; the only source of randomness.

    Returns:
      An Optax transformation with a `SvrgState`; its update points uphill.

    Raises:
      ValueError: an argument out of range; in `update`, `params` or a function missing.

    >>> from loren_jax import directions, schemes
    >>> tx = svrg(directions.isotropic(), schemes.two_sided(), every=2, num_directions=1)
    >>> params, rows = jnp.ones(3), jnp.eye(3)
    >>> full, part = (lambda params, n=n: jnp.mean((params[None] - rows[:n]) ** 2) for n in (3, 1))
    >>> _, state = tx.update(None, tx.init(params), params, value_fn=part, full_value_fn=full)
    >>> state.losses.shape
    (1, 4)

    References:
      MeZO-SVRG, https://arxiv.org/abs/2404.08080; Johnson and Zhang, 2013 (SVRG).
    """
    arguments.count("every", every)
    if not directions.linear:
        raise ValueError(
            "directions must give an estimate that is linear in the losses, as the difference of "
            "two is taken: leave momentum within the directions, or orthogonalisation, out."
        )
    make = functools.partial(
        estimate,
        num_directions=num_directions,
        perturbation_scale=perturbation_scale,
        chunk_size=chunk_size,
        evaluation=evaluation,
        key=key,
    )
    queried, difference = make(directions, scheme), make(directions, _difference(scheme))
    query, add = form(queried, "accumulate"), form(difference, "accumulate")

    def init(params: PyTree) -> SvrgState:
        # A true copy: an array shared with the parameters could not be donated together with them.
        copy = lambda leaf: jnp.array(leaf, jnp.result_type(leaf), copy=True)
        zeros = jax.tree.map(lambda x: jnp.zeros(jnp.shape(x), wide(x)), params)
        start: Any = difference.init(params)
        snapshot = jax.tree.map(copy, params)
        return SvrgState(**start._asdict(), snapshot=snapshot, full_estimate=zeros)

    def update(
        updates,
        state,
        params=None,
        *,
        value_fn=None,
        full_value_fn=None,
        losses=None,
        has_aux=False,
        **extra,
    ):
        require_spelling(extra)
        _check_sources(value_fn, full_value_fn, losses)
        require_no_updates(updates)
        full = state.count % every == 0
        # The state of the two estimates, which know of no auxiliary outputs.
        own = EstimateState(*(getattr(state, name) for name in EstimateState._fields))
        own, aux = own._replace(aux=()), optax.tree.zeros_like(state.aux)
        if losses is None:
            functions = (value_fn, full_value_fn)
            points = (params, state.snapshot)
            losses, aux = _probe(query, own, full, points, functions, has_aux)
        enough = jnp.sum(schemes.usable(jnp.atleast_2d(losses)).all(-1)) >= scheme.min_directions
        total, after = add(own, params, None, 1.0, losses=losses)
        here = after.losses[:, : len(scheme.points)]
        loss = jnp.mean(here, where=schemes.usable(here))
        snapshot = _replace(full & enough, params, state.snapshot)
        held = _replace(full & enough, total, state.full_estimate)
        # From the new estimate, which then is the old one: that one is read once and goes in place.
        plus = lambda own, held: own + jnp.where(~full & enough, held, 0.0)
        gradient = cast_like(params, jax.tree.map(plus, total, held))
        rest = after._replace(loss=loss, aux=aux)._asdict()
        return gradient, SvrgState(**rest, snapshot=snapshot, full_estimate=held)

    return ZerothOrder(init, Update(update, scheme=scheme, passes=2 * queried.passes))


def _probe(query, own, full, points, functions, has_aux):
    """The losses and auxiliary outputs: on all data, or at both points of a minibatch.

    What the losses add up to is not used, so that a compiler leaves it out.
    """
    (params, snapshot), (part, whole) = points, functions

    def ask(function, at):
        step = query(own, at, None, 1.0, value_fn=function, has_aux=has_aux)[1]
        return step.losses, step.aux

    def of_all():
        here = ask(whole, params)
        return _side_by_side(here, optax.tree.zeros_like(here))

    return jax.lax.cond(full, of_all, lambda: _side_by_side(ask(part, params), ask(part, snapshot)))


def _side_by_side(here: PyTree, there: PyTree) -> PyTree:
    """What was queried at the parameters, then at the snapshot or zeros: `(K, 2 S, ...)`."""
    return jax.tree.map(lambda *both: jnp.concatenate(both, 1), here, there)


def _difference(scheme: Scheme) -> Scheme:
    """The scheme at the parameters less the same at the snapshot, where zeros have no slope."""

    def weigh(losses: Float[Array, "K twice_S"], scale: Float[Array, ""]) -> Coefficients:
        finite = schemes.usable(losses).all(-1, keepdims=True)
        here, there = jnp.split(jnp.where(finite, losses, jnp.nan), 2, -1)
        at_params, at_snapshot = scheme.weigh(here, scale), scheme.weigh(there, scale)
        return Coefficients(at_params.slope - at_snapshot.slope, at_params.score)

    return Scheme(2 * scheme.points, weigh, scheme.min_directions)


def _replace(condition: Bool[Array, ""], new: PyTree, kept: PyTree) -> PyTree:
    """`new` in place of `kept` where the condition holds."""
    either = lambda new, old: jnp.where(condition, new, old).astype(old.dtype)
    return jax.tree.map(either, new, kept)


def _check_sources(value_fn: Any, full_value_fn: Any, losses: ArrayLike | None) -> None:
    functions = {"value_fn": value_fn, "full_value_fn": full_value_fn}
    given = " and ".join(name for name, fn in functions.items() if fn is not None)
    missing = " and ".join(name for name, fn in functions.items() if fn is None)
    if losses is not None and given:
        raise ValueError(f"update got losses and {given}: pass losses=array alone.")
    if losses is None and missing:
        raise ValueError(
            f"update got no {missing}: pass value_fn, the minibatch's loss, and full_value_fn, the "
            "loss of all data, at every call, as a compiled step may need either; or losses=array."
        )
