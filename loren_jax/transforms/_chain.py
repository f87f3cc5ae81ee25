"""`optax.chain` behind an estimate, which keeps the other forms of a step."""

from typing import Any

import optax

from loren_jax.transformation import Update, ZerothOrder, form, update_of


def chain(estimator: ZerothOrder, *after: optax.GradientTransformation) -> ZerothOrder:
    """Chains an estimate and what follows it.

    Where `descend` alone follows, the step also has the form `apply`, in place: the estimate is
    added to the parameters, or to the momentum, as it is computed, leaf by leaf, in a stack of
    layers layer by layer. Optax's tree of updates would be a second copy of every leaf, if only for
    a moment.

    Args:
      estimator: as `estimate` makes it.
      after: any of Optax's transformations, in their order.

    Returns:
      `optax.chain(estimator, *after)`, with what the estimate can do and tell, and `apply` where
      that is possible.

    >>> import jax.numpy as jnp
    >>> from loren_jax import directions, estimate, schemes
    >>> estimator = estimate(directions.isotropic(), schemes.two_sided(), num_directions=1)
    >>> optimizer = chain(estimator, optax.scale(-0.1))
    >>> params = jnp.ones(3)
    >>> state = optimizer.init(params)
    >>> plus, minus = (optimizer.ask(params, state, 0, point) for point in (0, 1))
    >>> bool(jnp.allclose((plus + minus) / 2, params))
    True
    """
    tx = optax.chain(estimator, *after)
    where, accumulate = form(estimator, "ask"), form(estimator, "accumulate")
    fuse: Any = form(after[0], "fuse") if accumulate and len(after) == 1 else None

    def ask(params, state, direction, point):
        return where(params, state[0], direction, point)

    def displacement(params, state, direction, point):
        return form(estimator, "displacement")(params, state[0], direction, point)

    def apply(params, state, **sources):
        estimate_state, after_state = state
        add = lambda into, factor: accumulate(estimate_state, params, into, factor, **sources)
        params, estimate_state, after_state = fuse(add, params, after_state)
        return params, (estimate_state, after_state)

    whole = Update(
        update_of(tx),
        ask=where and ask,
        displacement=form(estimator, "displacement") and displacement,
        apply=fuse and apply,
        scheme=form(estimator, "scheme"),
        passes=form(estimator, "passes"),
        estimate=form(estimator, "estimate") or estimator,
    )
    return ZerothOrder(tx.init, whole)
