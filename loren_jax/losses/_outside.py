"""Losses that come from Python: a metric without a gradient, a simulator, a rating.

The function is called on the host with a perturbed copy of the parameters, in the middle of a
compiled step. Where the losses come from another process, or later, ask and tell instead:
`loren_jax.journal.Session`.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from loren_jax.precision import loss_dtype
from loren_jax.types import PyTree


def outside(function: Callable[..., Any]) -> Callable[..., Float[Array, ""]]:
    """A Python function as a loss.

    Each query copies the perturbed parameters to the host and waits for the function; the queries
    of a step run one after another. A function that fails ends the step with its error.

    Args:
      function: `(params, *batch) -> float`, of NumPy arrays. It must give the same for the same
        arguments. The lower the better.

    Returns:
      `(params, *batch) -> loss`, for `value_fn` and inside `jax.jit`.

    >>> import jax.numpy as jnp
    >>> import loren_jax
    >>> wrong = lambda params, x, y: float(np.mean((x @ params > 0) != y))
    >>> loss = outside(wrong)
    >>> x, y = np.eye(3, dtype=np.float32), np.array([True, False, True])
    >>> optimizer = loren_jax.loren(0.3, perturbation_scale=0.3, num_directions=16)
    >>> step = loren_jax.train_step(loss, optimizer)
    >>> params = jnp.zeros(3)
    >>> state = optimizer.init(params)
    >>> for _ in range(20):
    ...     params, state = step(params, state, x, y)
    >>> wrong(np.asarray(params), x, y)
    0.0
    """

    def call(*arguments: PyTree) -> np.ndarray:
        arrays = jax.tree.map(np.asarray, arguments)
        value = function(*arrays)
        if value is None:  # which numpy would take for a number that is none
            raise TypeError("the function returned None: return a number, the loss")
        return np.asarray(value, loss_dtype()).reshape(())

    def loss(params: PyTree, *batch: PyTree) -> Float[Array, ""]:
        shape = jax.ShapeDtypeStruct((), loss_dtype())
        return jax.pure_callback(call, shape, params, *batch, vmap_method="sequential")

    return loss
