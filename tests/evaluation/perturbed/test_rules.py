"""Every rule against `to_dense`: the same loss, and dense only where no rule can help."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from weight_programs import CASES, SEEDED

from loren_jax import noise
from loren_jax.directions import LowRank, Seeded, Zero
from loren_jax.directions.matrices import view_of
from loren_jax.evaluation import materialised
from loren_jax.evaluation._perturbed.interpreter import Interpreter
from loren_jax.evaluation._perturbed.query import interpret
from loren_jax.evaluation._perturbed.rules import RULES

K = 3

ALL = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def each_third(first):
    """Of what changes little from one operation to the next; the campaign mixes all of it."""
    names = list(CASES)[first::3]
    return pytest.mark.parametrize("case", [CASES[name] for name in names], ids=names)


def low_rank(w, axes, rank, count=K):
    """Directions with plain numbers: no generator has to be compiled."""
    view = view_of((), w, None if axes is None else lambda path, shape: axes)
    rng = np.random.default_rng(1)
    draw = lambda *shape: jnp.asarray(rng.normal(size=(count, *view.stack, *shape)), jnp.float32)
    return LowRank(draw(view.m, rank), draw(view.n, rank), view)


def loss_of(fn):
    weigh = lambda y: jnp.sum(jnp.cos(jnp.arange(y.size)).reshape(y.shape) * y.astype(jnp.float32))
    return lambda params: weigh(fn(params["w"])) + 0.1 * jnp.sum(params["b"])


def both(case, direction, dtype=jnp.float32, over=jax.vmap):
    w, _, fn, _ = case
    params = {"w": w.astype(dtype), "b": jnp.ones(2)}
    zero = Zero(view_of((), params["b"]))
    seen = []

    def lazy(d):
        interpreter = Interpreter(RULES, lambda *told: seen.append(told[-1]))
        closed = jax.make_jaxpr(loss_of(fn))(params)
        return interpret(closed, params, {"w": d, "b": zero}, jnp.float32(0.1), interpreter)[0]

    def oracle(d):
        return materialised(loss_of(fn), params).run({"w": d, "b": zero}, jnp.float32(0.1))

    # One program, as compiling two takes longer.
    return *jax.jit(over(lambda d: (lazy(d), oracle(d))))(direction), seen


def assert_close(case, actual, expected):
    tolerance = 0.05 if case is CASES["mixed precision"] else 2e-4
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@ALL
def test_low_rank_under_vmap(case):
    """Three queries at once, rank 2: the same losses, dense only where declared."""
    actual, expected, seen = both(case, low_rank(case[0], case[1], 2))
    assert_close(case, actual, expected)
    assert set(seen) <= set(case[3]), f"made dense by {seen}"
    assert bool(seen) == bool(case[3])


@each_third(1)
def test_rank_one_in_a_loop(case):
    over = lambda query: lambda directions: jax.lax.map(query, directions)
    actual, expected, _ = both(case, low_rank(case[0], case[1], 1), over=over)
    assert_close(case, actual, expected)


@each_third(2)
def test_bfloat16_weights(case):
    """Within the rounding of the materialised weights, which the lazy path does not even make."""
    if case[2] is CASES["cast to integers"][2]:
        pytest.skip("integers of a rounded weight jump")
    actual, expected, _ = both(case, low_rank(case[0], case[1], 1), jnp.bfloat16)
    np.testing.assert_allclose(actual, expected, rtol=0.1, atol=0.35)


@pytest.mark.parametrize("name", SEEDED)
def test_seeded(name):
    """Noise drawn at the place of use equals the noise drawn for the whole leaf."""
    case = CASES[name]
    w, axes, _, _ = case
    view = view_of((), w, None if axes is None else lambda path, shape: axes)
    keys = jax.vmap(lambda key: noise.fold_all(key, view.stack))(
        noise.fold_all(noise.run_key(0), (K,))
    )
    actual, expected, _ = both(case, Seeded(keys, None, view))
    assert_close(case, actual, expected)
