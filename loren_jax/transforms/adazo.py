"""R-AdaZO's scaling: Adam whose second moment is that of the first."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from loren_jax import arguments
from loren_jax.precision import wide
from loren_jax.types import PyTree, Scalar


class ScaleByAdazoState(NamedTuple):
    """State of `scale_by_adazo`: two float32 trees like the parameters.

    Attributes:
      mu: the first moment, of the estimates.
      nu: the second moment, of `mu`.
    """

    mu: PyTree
    nu: PyTree


def scale_by_adazo(
    b1: Scalar = 0.9, b2: Scalar = 0.999, eps: Scalar = 1e-8
) -> optax.GradientTransformationExtraArgs:
    r"""Scales by the root of the second moment of the first moment.

    .. math::

        m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
        v \leftarrow \beta_2 v + (1 - \beta_2) m^2, \qquad
        u = \frac{m}{\sqrt v + \epsilon}

    Averaging comes first, so `v` sees a gradient of less variance than Adam's does. There is no
    bias correction: under a constant gradient the first update is `1 / sqrt(1 - b2)`, 32 with the
    defaults, and falls to 3.5 after a hundred steps and to 1. Warm the learning rate up where that
    is too much.

    Args:
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second, in [0, 1).
      eps: added to the root, in units of the gradient; zero or more.

    Returns:
      An `optax.GradientTransformationExtraArgs`; state and updates are float32, 2 N numbers for N
      parameters.

    Raises:
      ValueError: an argument out of range.

    >>> tx = scale_by_adazo(b1=0.0, b2=0.75, eps=0.0)
    >>> updates, state = tx.update(jnp.asarray([4.0, -1.0]), tx.init(jnp.zeros(2)))
    >>> updates
    Array([ 2., -2.], dtype=float32)

    References:
      R-AdaZO, https://arxiv.org/abs/2502.01014
    """
    arguments.fraction("b1", b1)
    arguments.fraction("b2", b2)
    arguments.non_negative("eps", eps)

    def init(params):
        zeros = lambda: jax.tree.map(lambda p: jnp.zeros(jnp.shape(p), wide(p)), params)
        return ScaleByAdazoState(mu=zeros(), nu=zeros())

    def update(updates, state, params=None, **extra):
        del params, extra
        average = lambda decay: lambda old, new: decay * old + (1 - decay) * new
        gradient = jax.tree.map(lambda u: u.astype(wide(u)), updates)
        mu = jax.tree.map(average(b1), state.mu, gradient)
        nu = jax.tree.map(average(b2), state.nu, jax.tree.map(jnp.square, mu))
        # Where nothing has been seen there is nothing to divide, also by no eps.
        ratio = lambda m, v: jnp.where(v > 0, m / jnp.where(v > 0, jnp.sqrt(v) + eps, 1.0), 0.0)
        scaled = jax.tree.map(ratio, mu, nu)
        return scaled, ScaleByAdazoState(mu, nu)

    return optax.GradientTransformationExtraArgs(init, update)
