"""Inner solvers: Optimistix and Lineax."""

import jax
import jax.numpy as jnp
import lineax as lx
import optimistix as optx

from benchmarks.evidence.compatibility.cases import Cases
from benchmarks.evidence.compatibility.networks import normal

cases = Cases("optimistix", "lineax")
PARAMS = {"A": normal(1, 8, 8), "b": jnp.ones(8)}
START = jnp.zeros(8)
mean = lambda y: jnp.mean(y**2)


def fixed_point(p):
    """Of a layer."""
    layer = lambda y, args: jnp.tanh(p["A"] @ y + p["b"])
    return mean(optx.fixed_point(layer, optx.FixedPointIteration(1e-5, 1e-5), START).value)


def newton(p):
    """A root."""
    rest = lambda y, args: y - 0.5 * jnp.tanh(p["A"] @ y) - p["b"]
    return mean(optx.root_find(rest, optx.Newton(1e-5, 1e-5), START).value)


def least_squares(p):
    """Parameters go in as arguments."""
    own = {"args": p, "throw": False}
    rest = lambda y, a: a["A"] @ y - a["b"]
    return mean(optx.least_squares(rest, optx.LevenbergMarquardt(1e-4, 1e-4), START, **own).value)


def bfgs(p):
    """A ridge regression."""
    own = {"args": p, "throw": False}
    value = lambda y, a: jnp.sum((a["A"] @ y - a["b"]) ** 2) + jnp.sum(y**2)
    return mean(optx.minimise(value, optx.BFGS(1e-4, 1e-4), START, **own).value)


def iterative(p):
    """Two solvers that need no matrix."""
    square = lx.MatrixLinearOperator(p["A"] @ p["A"].T + jnp.eye(8), lx.positive_semidefinite_tag)
    shape = jax.ShapeDtypeStruct((8,), jnp.float32)
    function = lx.FunctionLinearOperator(lambda v: p["A"] @ v + v, shape)
    one = lx.linear_solve(square, p["b"], lx.CG(1e-5, 1e-5)).value
    return mean(one) + mean(lx.linear_solve(function, p["b"], lx.GMRES(1e-5, 1e-5)).value)


solved = lambda p: lx.linear_solve(lx.MatrixLinearOperator(p["A"] + jnp.eye(8)), p["b"]).value
cases.of(PARAMS, {"fixed_point, a deep equilibrium": fixed_point, "root_find, Newton": newton})
inner = {"least_squares, Levenberg-Marquardt": least_squares, "minimise, BFGS": bfgs}
cases.of(PARAMS, inner, tolerance=0.05, remark="the inner solver stops at 1e-4")
solves = {"linear_solve, LU": lambda p: mean(solved(p)), "linear_solve, CG and GMRES": iterative}
cases.of(PARAMS, solves)
