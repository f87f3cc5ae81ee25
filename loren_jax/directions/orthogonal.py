"""The nearest orthogonal matrix, by a Newton-Schulz iteration, or its leading directions alone."""

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Orthogonalise: TypeAlias = Literal["newton_schulz", "power"]

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Muon's: singular values leave zero fast and end between 0.7 and 1.2, not at 1 exactly."""
ROUNDING = 1e-6
"""Singular values, over the norm of their matrix, that float32 cannot tell from zero."""


def newton_schulz(matrix: Float[Array, "*stack m n"]) -> Float[Array, "*stack m n"]:
    r"""`msign(G) = U V^T` for each matrix `G = U S V^T` of a stack, with singular values near 1.

    .. math:: X_0 = G / |G|_F, \qquad X \leftarrow a X + (b A + c A^2) X, \quad A = X X^\top

    In float32 at full precision, on any backend. The result does not depend on the scale of G; a
    matrix of zeros stays one.

    >>> newton_schulz(jnp.diag(jnp.asarray([3.0, -1.0]))).round(1)
    Array([[ 0.8,  0. ],
           [ 0. , -1.1]], dtype=float32)

    References:
      Jordan et al., Muon, 2024, https://kellerjordan.github.io/posts/muon
    """
    x = _unit_norm(matrix.astype(jnp.float32))
    wide = x.shape[-2] <= x.shape[-1]
    x = x if wide else jnp.matrix_transpose(x)
    a, b, c = COEFFICIENTS
    with jax.default_matmul_precision("highest"):
        for _ in range(STEPS):
            gram = x @ jnp.matrix_transpose(x)
            x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x if wide else jnp.matrix_transpose(x)


def power_iteration(
    matrix: Float[Array, "*stack m n"], right: Float[Array, "*stack n k"]
) -> tuple[Float[Array, "*stack m k"], Float[Array, "*stack n k"]]:
    r"""U and V whose `U V^T` nears the matrix sign of the k leading singular directions.

    .. math::

        V \leftarrow \mathrm{QR}\big( G^\top (G V) \big), \qquad
        U_{:, i} = \frac{G V_{:, i}}{|G V_{:, i}|}

    One iteration for each matrix of a stack; on one and the same G they converge, on a G that
    changes from step to step V follows what its steps have in common. In float32 at full precision.
    The result does not depend on the scale of G. A matrix of zeros keeps its V, and of U those
    columns are zero that G has no direction for.

    >>> start = jnp.ones((2, 1)) / jnp.sqrt(2)
    >>> left, right = power_iteration(jnp.diag(jnp.asarray([3.0, -1.0])), start)
    >>> (left @ right.T).round(1)
    Array([[ 1. ,  0.1],
           [-0. , -0. ]], dtype=float32)

    References:
      ZO-MOPI, https://arxiv.org/abs/2605.09034
    """
    x = _unit_norm(matrix.astype(jnp.float32))
    with jax.default_matmul_precision("highest"):
        moved, _ = jnp.linalg.qr(jnp.matrix_transpose(x) @ (x @ right))
        right = jnp.where(jnp.any(x != 0, (-2, -1), keepdims=True), moved, right)
        left = x @ right
    size = jnp.sqrt(jnp.sum(jnp.square(left), -2, keepdims=True))
    return left / jnp.where(size > ROUNDING, size, jnp.inf), right


def _unit_norm(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Each matrix over its Frobenius norm; in two steps, as squares of large entries overflow."""
    over = lambda x, size: x / jnp.where(size > 0, size, 1.0)
    x = over(x, jnp.max(jnp.abs(x), (-2, -1), keepdims=True))
    return over(x, jnp.sqrt(jnp.sum(jnp.square(x), (-2, -1), keepdims=True)))
