"""Any function at perturbed parameters: not only a loss, and with a derivative."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from loren_jax.evaluation._perturbed.interpreter import Interpreter
from loren_jax.evaluation._perturbed.query import interpret
from loren_jax.evaluation._perturbed.rules import DIFFERENTIABLE
from loren_jax.types import PyTree, Scalar


def evaluate(
    function: Callable[[PyTree], PyTree], params: PyTree, directions: PyTree, scale: Scalar = 1.0
) -> PyTree:
    """`function(params + scale * directions)` without building that sum.

    The result is ordinary JAX code of the parameters, of the directions' arrays and of what the
    function closes over: it can be compiled, differentiated, mapped, and be perturbed once more.
    The function, any JAX code, is traced once a call. ValueError: it uses no perturbed leaf.

    >>> from loren_jax.directions.matrices import MatrixView
    >>> from loren_jax.directions.structured import LowRank
    >>> ones = jnp.ones((8, 1))
    >>> directions = {"kernel": LowRank(ones, ones, MatrixView((8, 8), (0,), (1,)))}
    >>> multiply = lambda params: {"y": jnp.ones(8) @ params["kernel"]}
    >>> float(evaluate(multiply, {"kernel": jnp.zeros((8, 8))}, directions, 0.5)["y"][0])
    4.0
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(params)
    scale, interpreter = jnp.asarray(scale, jnp.float32), Interpreter(DIFFERENTIABLE)
    outputs = interpret(closed, params, directions, scale, interpreter, "function")
    return jax.tree.unflatten(jax.tree.structure(shape), outputs)
