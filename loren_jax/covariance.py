r"""The damped rank-one Gaussian: LOREN's distribution of one fan-in vector.

For a covariance vector `a` of length n and a damping `rho > 0`, with `s = |a|^2`,

    Sigma      = rho (rho I + a a^T)^-1 = I - a a^T / (rho + s)
    Sigma^1/2  = I - kappa a a^T,   kappa = 1 / (sqrt(rho + s) (sqrt(rho + s) + sqrt(rho)))
    Sigma^-1   = I + a a^T / rho
    score      = d/da log N(y; 0, Sigma) = a / (rho + s) - (a^T y) y / rho

The scale is the unit one: far from `a` nothing is damped, so that `rho`, the perturbation scale and
the learning rate are independent knobs. The root is the principal one, positive definite and finite
at `a = 0`. The paper's root has the eigenvalue `-sqrt(rho / (rho + s))` along `a` instead and does
not exist at `a = 0`; both turn standard normal vectors into the same distribution. The score is a
function of the vector `y` itself, hence the same for either root.

Reference: LOREN, https://arxiv.org/abs/2511.07971, equations 7 to 10.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class DampedRankOne(NamedTuple):
    """The Gaussian `N(0, I - a a^T / (rho + |a|^2))` of each fan-in vector of a stack of matrices.

    Every method that takes `x` works along its fan-in `axis` (an int, or several axes that together
    have length n) and leaves the others alone; the stack's axes come first in `x`.

    Attributes:
      vector: `a`, one for each matrix of the stack, float32.
      damping: `rho > 0`, the weight of the identity in the curvature `rho I + a a^T`.

    >>> covariance = DampedRankOne(jnp.asarray([0.0, 2.0]), jnp.asarray(0.5))
    >>> covariance.to_dense().round(3).tolist()
    [[1.0, 0.0], [0.0, 0.111...]]
    """

    vector: Float[Array, "*stack n"]
    damping: Float[Array, ""]

    def apply_sqrt(self, x: Float[Array, "..."], axis: int | tuple[int, ...]) -> Array:
        """`Sigma^1/2 x`, the principal root: turns standard normal `x` into a sample."""
        total = self.damping + self._square_norm()
        kappa = 1 / (jnp.sqrt(total) * (jnp.sqrt(total) + jnp.sqrt(self.damping)))
        return self._subtract(x, kappa, axis)

    def apply(self, x: Float[Array, "..."], axis: int | tuple[int, ...]) -> Array:
        """`Sigma x`."""
        return self._subtract(x, 1 / (self.damping + self._square_norm()), axis)

    def score(
        self, samples: Float[Array, "..."], axis: int | tuple[int, ...]
    ) -> Float[Array, "*stack n"]:
        """Gradient of log p of `samples` with respect to the covariance vectors, float32.

        Every axis that is neither the stack's nor `axis` numbers independent vectors, whose scores
        are added up.
        """
        along, axes = self._along(samples, axis)
        others = tuple(i for i in range(self.vector.ndim - 1, samples.ndim) if i not in axes)
        projected = jnp.sum(along * samples, axes, keepdims=True)
        second_moment = jnp.sum(projected * samples, others).reshape(self.vector.shape)
        rows = math.prod(samples.shape[i] for i in others)
        total = (self.damping + self._square_norm())[..., None]
        return rows * self.vector / total - second_moment / self.damping

    def to_dense(self) -> Float[Array, "*stack n n"]:
        """`Sigma` as dense matrices; for tests."""
        size = self.vector.shape[-1]
        identity = jnp.broadcast_to(jnp.eye(size), (*self.vector.shape[:-1], size, size))
        return self.apply(identity, axis=-1)

    def _square_norm(self) -> Float[Array, "*stack"]:
        return jnp.sum(jnp.square(self.vector), -1)

    def _along(
        self, x: Float[Array, "..."], axis: int | tuple[int, ...]
    ) -> tuple[Array, tuple[int, ...]]:
        """The vectors, shaped to broadcast against `x`, and the axes as non-negative numbers."""
        axes = tuple(i % x.ndim for i in ((axis,) if isinstance(axis, int) else axis))
        depth = self.vector.ndim - 1
        shape = [x.shape[i] if i < depth or i in axes else 1 for i in range(x.ndim)]
        return self.vector.reshape(shape), axes

    def _subtract(self, x: Array, factor: Float[Array, "*stack"], axis) -> Array:
        """`x - factor a (a^T x)`."""
        along, axes = self._along(x, axis)
        factor = factor.reshape(factor.shape + (1,) * (x.ndim - factor.ndim))
        projected = jnp.sum(along * x, axes, keepdims=True)
        return x - (factor * projected) * along
