"""The nearest orthogonal matrix, by a Newton-Schulz iteration."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Muon's: singular values leave zero fast and end between 0.7 and 1.2, not at 1 exactly."""


def newton_schulz(
    matrix: Float[Array, "*stack rows columns"],
) -> Float[Array, "*stack rows columns"]:
    r"""Approximates `msign(G) = U V^T`, where `U S V^T` is the singular value decomposition of G.

    .. math:: X_0 = G / |G|_F, \qquad X \leftarrow a X + (b A + c A^2) X, \quad A = X X^\top

    In float32 at full precision, on any backend. The result does not depend on the scale of G; a
    matrix of zeros stays one.

    Args:
      matrix: a stack of matrices.

    Returns:
      For each of them a matrix with the same singular vectors and singular values near 1.

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


def _unit_norm(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Each matrix over its Frobenius norm; in two steps, as squares of large entries overflow."""
    for size in (lambda x: jnp.max(jnp.abs(x), (-2, -1), keepdims=True), _norm):
        total = size(x)
        x = x / jnp.where(total > 0, total, 1.0)
    return x


def _norm(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jnp.sqrt(jnp.sum(jnp.square(x), (-2, -1), keepdims=True))
