"""Fourier transforms, solvers and functions of matrices."""

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import mean_square, normal

cases = Cases("jax")
X = normal(0, 8, 16)
KERNEL = {"kernel": normal(1, 16, 16)}
EYE = jnp.eye(16)


def positive(p):
    """A positive definite matrix of the weight."""
    return p["kernel"] @ p["kernel"].T + 0.5 * EYE


def functions(p):
    """Of matrices, many."""
    w = p["kernel"]
    values = jnp.linalg.svd(w, compute_uv=False), jnp.linalg.eigvalsh(positive(p))
    parts = mean_square(jnp.linalg.qr(w)[0]) + mean_square(jax.scipy.linalg.expm(w))
    return parts + sum(map(jnp.sum, values)) + jnp.linalg.slogdet(positive(p))[1]


def filtered(p):
    """A long convolution by the transforms of both."""
    both = jnp.fft.rfft(X, axis=-1) * jnp.fft.rfft(p["kernel"][0])
    return mean_square(jnp.fft.irfft(both, n=16))


def triangular(p):
    """The root of a positive matrix, solved."""
    root = jnp.linalg.cholesky(positive(p))
    return mean_square(jax.scipy.linalg.solve_triangular(root, X.T, lower=True))


def linear_solve(p):
    """With a rule of its own."""
    times = lambda v: positive(p) @ v
    solve = lambda times, b: jnp.linalg.solve(positive(p), b)
    return mean_square(lax.custom_linear_solve(times, X[0], solve, symmetric=True))


def root(p):
    """Of a layer, with a rule of its own."""
    rest = lambda z: z - 0.3 * jnp.tanh(p["kernel"] @ z) - X[0]
    solve = lambda f, z: lax.fori_loop(0, 30, lambda _, z: z - f(z), z)
    tangent = lambda g, y: jnp.linalg.solve(jax.jacobian(g)(y), y)
    return mean_square(lax.custom_root(rest, jnp.zeros(16), solve, tangent))


def cayley(p):
    """An orthogonal matrix."""
    skew = p["kernel"] - p["kernel"].T
    return mean_square(X @ jnp.linalg.solve(EYE + skew, EYE - skew))


def powers(p):
    """Of a matrix, its trace and its diagonal."""
    w = p["kernel"]
    return mean_square(X @ jnp.linalg.matrix_power(w, 3)) + jnp.trace(w) + jnp.sum(jnp.diag(w))


cg = lambda p: jax.scipy.sparse.linalg.cg(positive(p), X[0], maxiter=20)[0]
gmres = lambda p: jax.scipy.sparse.linalg.gmres(lambda v: positive(p) @ v, X[0], maxiter=5)[0]
losses = {
    "FFT of a weight": filtered,
    "FFT of activations": lambda p: mean_square(jnp.fft.fft(X @ p["kernel"])),
    "solve": lambda p: mean_square(jnp.linalg.solve(p["kernel"] + 3 * EYE, X.T)),
    "cholesky, solve_triangular": triangular,
    "qr, svd, eigvalsh, expm, slogdet": functions,
    "cg": lambda p: mean_square(cg(p)),
    "gmres": lambda p: mean_square(gmres(p)),
    "custom_linear_solve": linear_solve,
    "custom_root": root,
    "Cayley transform": cayley,
    "matrix_power, trace, diag": powers,
}
cases.of(KERNEL, losses)
