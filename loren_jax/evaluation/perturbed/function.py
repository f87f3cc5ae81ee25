"""Any function at perturbed parameters: not only a loss, and with a derivative."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from loren_jax.evaluation.perturbed.interpreter import Interpreter
from loren_jax.evaluation.perturbed.leaves import is_perturbed
from loren_jax.evaluation.perturbed.query import any_used, enter_all
from loren_jax.evaluation.perturbed.rules import DIFFERENTIABLE
from loren_jax.types import PyTree, Scalar


def evaluate(
    function: Callable[[PyTree], PyTree], params: PyTree, directions: PyTree, scale: Scalar = 1.0
) -> PyTree:
    """`function(params + scale * directions)` without building that sum.

    The result is ordinary JAX code of the parameters, of the directions' arrays and of what the
    function closes over: it can be compiled, differentiated, mapped, and be perturbed once more.

    Args:
      function: any JAX code; traced once a call.
      params: the parameters.
      directions: a direction for each leaf.
      scale: factor of the directions.

    Returns:
      What the function returns, as arrays.

    Raises:
      ValueError: `function` uses none of the perturbed leaves.

    >>> from loren_jax.directions.matrices import MatrixView
    >>> from loren_jax.directions.structured import LowRank
    >>> ones = jnp.ones((8, 1))
    >>> directions = {"kernel": LowRank(ones, ones, MatrixView((8, 8), (0,), (1,)))}
    >>> multiply = lambda params: {"y": jnp.ones(8) @ params["kernel"]}
    >>> float(evaluate(multiply, {"kernel": jnp.zeros((8, 8))}, directions, 0.5)["y"][0])
    4.0
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(params)
    interpreter = Interpreter(DIFFERENTIABLE)
    values = enter_all(params, directions, jnp.asarray(scale, jnp.float32), interpreter)
    moved = any(map(is_perturbed, values))
    if moved and not any_used(closed.jaxpr, jax.tree.leaves(params), values):
        raise ValueError(
            "function uses none of the perturbed leaves of its first argument, so they cannot "
            "change what it returns. It must read the parameters from that argument, not close "
            "over them."
        )
    outputs = interpreter.run(closed.jaxpr, closed.consts, values)
    outputs = interpreter.dense(outputs, "output of the function")
    return jax.tree.unflatten(jax.tree.structure(shape), outputs)
