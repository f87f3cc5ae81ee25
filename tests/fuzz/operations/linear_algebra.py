"""Factorisations and solutions, of matrices that are far from singular.

Signs and phases that a factorisation may choose freely are left out of what it gives.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import linalg

from ..drafts import Draft, Value, need
from ..precision import is_floating
from .table import add, operation


def square(v: Any) -> Any:
    """A matrix for each of the leading axes: the largest square part, in float32 at least."""
    size = min(v.shape[-2:])
    return v[..., :size, :size].astype(jnp.promote_types(v.dtype, jnp.float32))


def positive(v: Any) -> Any:
    """A positive definite matrix."""
    v = square(v)
    return v @ jnp.swapaxes(v, -1, -2) + 2 * jnp.eye(v.shape[-1], dtype=v.dtype)


def regular(v: Any) -> Any:
    """A matrix of which the diagonal is the largest part, by unequal steps."""
    v = jnp.tanh(square(v))
    return 0.5 * v + jnp.diag(2.0 + jnp.arange(v.shape[-1], dtype=v.dtype))


def direct(v: Any) -> Any:
    """The value itself, where JAX takes its type."""
    return v


def _gives(name: str) -> Any:
    """What of a factorisation does not depend on a free choice."""
    get = lambda f: getattr(linalg, f)
    return {
        "cholesky": lambda v: get(name)(positive(v)),
        "cholesky_update": lambda v: jnp.abs(
            get(name)(
                jnp.swapaxes(get("cholesky")(positive(v)), -1, -2),
                v[..., 0].astype(jnp.promote_types(v.dtype, jnp.float32))[: min(v.shape[-2:])],
            )
        ),
        "eig": lambda v: jnp.sort(jnp.abs(get(name)(regular(v))[0]), -1),
        "eigh": lambda v: get(name)(positive(v))[1],
        "hessenberg": lambda v: jnp.abs(get(name)(regular(v))[0]),
        "householder_product": lambda v: get(name)(square(v), 0.5 * square(v)[..., 0]),
        "lu": lambda v: get(name)(regular(v))[0],
        "lu_pivots_to_permutation": lambda v: get(name)(
            get("lu")(regular(v))[1], square(v).shape[-1]
        ),
        "ormqr": lambda v: get(name)(square(v), 0.5 * square(v)[..., 0], square(v)),
        "qdwh": lambda v: get(name)(regular(v))[0],
        "qr": lambda v: jnp.abs(get(name)(regular(v))[1]),
        "schur": lambda v: jnp.trace(get(name)(regular(v))[0], axis1=-2, axis2=-1),
        "svd": lambda v: get(name)(regular(v))[1],
        "symmetric_product": lambda v: get(name)(square(v), square(v), symmetrize_output=True),
        "tridiagonal": lambda v: jnp.abs(get(name)(positive(v))[1]),
        "tridiagonal_solve": lambda v: get(name)(
            *(jnp.full_like(square(v)[..., 0], c) for c in (0.25, 2.0, 0.5)), square(v)
        ),
    }[name]


def _factorisation(name: str) -> Any:
    def make(draft: Draft, x: Value) -> Any:
        need(x.ndim >= 2 and is_floating(x.dtype) and min(x.shape[-2:]) > 1)
        need(name not in ("cholesky_update", "qdwh") or x.ndim == 2)
        need(name != "tridiagonal_solve" or min(x.shape[-2:]) > 2)
        function = _gives(name)
        return "", lambda t, v: function(v), ()

    return make


for _name in [
    "cholesky",
    "cholesky_update",
    "eig",
    "eigh",
    "hessenberg",
    "householder_product",
    "lu",
    "lu_pivots_to_permutation",
    "ormqr",
    "qdwh",
    "qr",
    "schur",
    "svd",
    "symmetric_product",
    "tridiagonal",
    "tridiagonal_solve",
]:
    add(f"linalg.{_name}", _factorisation(_name), (f"linalg.{_name}",))


@operation("linalg.triangular_solve", "linalg.triangular_solve")
def triangular_solve(draft: Draft, x: Value) -> Any:
    """The value as the matrix, its diagonal set to one, or as the right-hand sides."""
    need(x.ndim >= 2 and np.dtype(x.dtype) in (np.float32, np.float64))
    left, lower, transposed = draft.flip(), draft.flip(), draft.flip()
    options = {"left_side": left, "lower": lower, "transpose_a": transposed}
    options["unit_diagonal"] = True
    if draft.flip():
        size = x.shape[-2] if left else x.shape[-1]
        a = draft.operand((*x.shape[:-2], size, size), x.dtype)
        apply = lambda t, v, a: linalg.triangular_solve(0.5 * a, v, **options)
        return f"right-hand side {options}", apply, (a,)
    need(x.shape[-1] == x.shape[-2])
    b = draft.array(x.shape, x.dtype)
    return f"{options}", lambda t, v, b: linalg.triangular_solve(v, b, **options), (b,)


@operation("custom_linear_solve")
def custom_linear_solve(draft: Draft, x: Value) -> Any:
    """The value as the matrix or as the right-hand side."""
    need(x.ndim == 2 and is_floating(x.dtype) and x.dtype in (np.float32, np.float64))
    as_matrix = draft.flip()
    y = draft.operand(x.shape, x.dtype)

    def apply(t: Any, v: Any, y: Any) -> Any:
        a, b = (v, y) if as_matrix else (y, v)
        matrix = regular(a)
        solve = lambda matvec, b: jnp.linalg.solve(matrix, b)
        b = b[: matrix.shape[0], 0]
        return lax.custom_linear_solve(lambda z: matrix @ z, b, solve, solve)

    return "matrix" if as_matrix else "right-hand side", apply, (y,)


@operation("custom_root")
def custom_root(draft: Draft, x: Value) -> Any:
    """Of `z + tanh(z)/4 = the value`, by iteration."""
    need(x.dtype in (np.float32, np.float64))

    def apply(t: Any, v: Any) -> Any:
        function = lambda z: z + 0.25 * jnp.tanh(z) - v
        step = lambda i, z: z - function(z)
        solve = lambda f, z: jax.lax.fori_loop(0, 30, step, z)
        return lax.custom_root(function, jnp.zeros_like(v), solve, lambda g, y: y)

    return "", apply, ()
