"""Directions along fan-in vectors, for a table of methods whose suite has trees of all shapes."""

import dataclasses
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np

from loren_jax import noise
from loren_jax.directions.matrices import view_of
from loren_jax.transformation import ZerothOrder


def factors_of(params):
    """Orthonormal fan-in vectors of every matrix: a quarter of all, or all of a small one."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    pairs = zip(noise.leaf_paths(params), leaves, strict=True)
    views = {path: view_of(*leaf) for path, leaf in pairs}
    return {path: _vectors(view) for path, view in views.items() if not view.is_vector}


def number_of_factors(n):
    """Of a matrix with so many inputs."""
    return n if n <= 8 else n // 4


def _vectors(view):
    basis, _ = np.linalg.qr(np.cos(np.arange(view.n**2, dtype=np.float64)).reshape(-1, view.n))
    basis = basis[:, : number_of_factors(view.n)].astype(np.float32)
    return jnp.broadcast_to(jnp.asarray(basis), (*view.stack, *basis.shape))


def with_own_factors(make):
    """The factory with `factors_of` whatever tree it is given as its `factors`.

    They are in the state from `init` on, so what else the optimiser does needs none.
    """

    @functools.wraps(make)
    def made(*arguments, **knobs):
        built = lambda factors: make(*arguments, factors=factors, **knobs)
        own, start = built({}), lambda params: built(factors_of(params))
        alone = own.estimate._replace(init=lambda params: start(params).estimate.init(params))
        update = dataclasses.replace(own.update, estimate=alone)
        return ZerothOrder(lambda params: start(params).init(params), update)

    parameters = inspect.signature(make).parameters.values()
    kept = [p.replace(kind=p.KEYWORD_ONLY) if p.name != "learning_rate" else p for p in parameters]
    made.__signature__ = inspect.Signature([p for p in kept if p.name != "factors"])
    return made
