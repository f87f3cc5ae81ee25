"""`optax.chain` behind an estimate, which still tells where the losses of a step are asked for."""

from collections.abc import Callable
from typing import Any

import jax
import optax

from loren_jax.estimators.estimate import Estimator
from loren_jax.types import PyTree


class Chain(optax.GradientTransformationExtraArgs):
    """An `optax.chain` whose first part is an estimate.

    Attributes:
      ask: `(params, state, direction, point) -> params`: the parameters at which the loss in that
        row and column of the step's `losses` is taken, a perturbed copy.
    """

    ask: Callable[..., PyTree]

    def __new__(cls, init, update, ask):  # noqa: D102
        self = super().__new__(cls, init, update)
        self.ask = ask
        return self


def chain(estimator: Estimator, *after: optax.GradientTransformation) -> Chain:
    """Chains an estimate and what follows it.

    Args:
      estimator: as `estimate` makes it.
      after: any of Optax's transformations, in their order.

    Returns:
      `optax.chain(estimator, *after)`, and `ask`.

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
    return Chain(tx.init, tx.update, asking(estimator))


def asking(estimator: Estimator) -> Callable[..., PyTree]:
    """The estimate's `ask`, given the state of a chain that it is the first part of."""

    def ask(params: PyTree, state: Any, direction: int | jax.Array, point: int | jax.Array):
        return estimator.ask(params, state[0], direction, point)

    return ask
