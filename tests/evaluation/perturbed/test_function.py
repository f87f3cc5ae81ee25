"""A function at perturbed weights has the derivatives that it was given, rule by rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weight_programs import CASES, IDS, X

from loren_jax.directions.matrices import MatrixView, view_of
from loren_jax.directions.structured import LowRank
from loren_jax.evaluation._perturbed.function import evaluate


@jax.custom_vjp
def straight_through(w, number):
    return X @ w * number


straight_through.defvjp(lambda w, number: (X @ w * number, None), lambda _, g: (7 * X.T @ g, None))


@jax.custom_jvp
def exaggerated(w):
    return X @ w


exaggerated.defjvp(lambda w, t: (X @ w[0], 7 * X @ t[0]))

DERIVATIVES = {
    name: CASES[name][:3]
    for name in (
        "x @ w.T",
        "stack as batch",
        "take with fill",
        "tied embedding",
        "heads in",
        "one traced layer",
        "split in three",
        "scaled",
        "stop gradient",
        "mixed precision",
        "checkpoint",
        "scan, carried",
        "cond",
        "elementwise",
    )
} | {
    "custom_vjp": (CASES["x @ w"][0], None, lambda w: straight_through(w, IDS[0, 1])),
    "custom_jvp": (CASES["x @ w"][0], None, jax.jit(exaggerated)),
    "custom_jvp in a scan": (
        CASES["scan over layers"][0],
        None,
        lambda w: jax.lax.scan(lambda h, p: (h + exaggerated(p), None), X, w)[0],
    ),
}


@pytest.mark.parametrize("case", DERIVATIVES.values(), ids=DERIVATIVES)
def test_derivatives_are_those_of_the_function(case):
    w, axes, fn = case
    view = view_of((), w, None if axes is None else lambda path, shape: axes)
    rng = np.random.default_rng(1)
    factors = tuple(
        jnp.asarray(rng.normal(size=(*view.stack, size, 2)), jnp.float32)
        for size in (view.m, view.n)
    )
    weigh = lambda y: jnp.sum(jnp.cos(jnp.arange(y.size)).reshape(y.shape) * y.astype(jnp.float32))
    lazy = lambda w, factors: weigh(evaluate(fn, w, LowRank(*factors, view), 0.1))
    oracle = lambda w, factors: weigh(fn(w + 0.1 * LowRank(*factors, view).to_dense()))
    both = lambda f: jax.jit(jax.value_and_grad(f, (0, 1)))(w, factors)
    tolerance = 0.1 if fn is CASES["mixed precision"][2] else 2e-4
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    jax.tree.map(close, both(lazy), both(oracle))


def test_what_is_computed_again_and_what_has_its_own_derivative_stays_lazy():
    """The dense operand of a derivative is no part of the program without one."""
    factor = jnp.ones((8, 1))
    direction = LowRank(factor, factor, MatrixView((8, 8), (0,), (1,)))
    for fn, kept in (
        (jax.checkpoint(lambda w: X @ w), "checkpoint"),
        (exaggerated, "custom_jvp_call"),
    ):
        jaxpr = jax.make_jaxpr(lambda w, fn=fn: evaluate(fn, w, direction))(jnp.ones((8, 8))).jaxpr
        (equation,) = (e for e in jaxpr.eqns if e.primitive.name in (kept, "remat2"))
        body = equation.params.get("call_jaxpr", equation.params.get("jaxpr"))
        shapes = [v.aval.shape for e in getattr(body, "jaxpr", body).eqns for v in e.outvars]
        assert (8, 8) not in shapes
