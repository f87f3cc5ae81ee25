"""A loss over a large batch with the memory of a small one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from loren_jax import arguments
from loren_jax.precision import loss_dtype
from loren_jax.types import PyTree, ValueFn


def micro_batched(loss: Callable[[PyTree, PyTree], Any], batch: PyTree, size: int) -> ValueFn:
    r"""The mean loss of a batch, computed `size` rows at a time.

    .. math:: f(x) = \frac{1}{B} \sum_j B_j \, \text{loss}(x, \text{rows}_j)

    The micro-batches run in a loop inside one query, under that query's one direction, so the
    estimate is the full batch's: nothing is kept but a scalar of each, and only one micro-batch's
    activations are alive. A number of rows that `size` does not divide leaves a shorter last
    micro-batch, which counts by its rows.

    Measured on two layers of 64 units, 64 rows of 128 tokens, four at a time: a compiled step takes
    0.29 MB of temporary memory instead of 4.26. Hand the batch to the compiled step as an argument;
    what a step closes over is a constant, of which loops hold a copy.

    Where directions are full Gaussian and large, their noise is drawn anew for every micro-batch,
    as it is never stored; with a rank it is not.

    Args:
      loss: `(params, batch) -> scalar`, the mean over the rows of the batch that it gets. A mean
        over anything else, such as the tokens that are not padding, is averaged over rows here. So
        are auxiliary outputs, if they are scalars.
      batch: a pytree of arrays whose leading axis is the rows.
      size: rows at a time; at least 1. With all rows or more this is `loss` on the batch.

    Returns:
      `value_fn(params)` for `update` of any optimiser.

    Raises:
      TypeError: `size` is not an int.
      ValueError: `size` below 1, or leaves of `batch` without a common, non-empty leading axis.

    >>> rows = jnp.arange(5.0)
    >>> loss = lambda params, batch: jnp.mean((params - batch) ** 2)
    >>> float(micro_batched(loss, rows, 2)(1.0)), float(loss(1.0, rows))
    (3.0, 3.0)
    """
    arguments.count("size", size)
    rows = rows_of(batch)
    full, rest = divmod(rows, size)

    def value_fn(params: PyTree) -> Any:
        def mean(part: PyTree) -> PyTree:
            return jax.tree.map(_scalar, loss(params, part))

        def mean_of(number: Array) -> PyTree:
            at = lambda x: jax.lax.dynamic_index_in_dim(x, number, 1, False)
            return mean(jax.tree.map(at, split))

        if not full or rows == size:
            return mean(batch)
        # Every full-th row, so that devices which share a batch share each micro-batch too; taken
        # where it is needed, as a batch in another order would be a copy.
        split = jax.tree.map(lambda x: x[: full * size].reshape(size, full, *x.shape[1:]), batch)
        means = jax.lax.map(mean_of, jnp.arange(full))
        total = jax.tree.map(lambda x: size * jnp.sum(x), means)
        if rest:
            last = mean(jax.tree.map(lambda x: x[full * size :], batch))
            total = jax.tree.map(lambda total, x: total + rest * x, total, last)
        return jax.tree.map(lambda total: total / rows, total)

    return value_fn


def rows_of(batch: PyTree) -> int:
    """The common length of the leading axes."""
    shapes = {
        jax.tree_util.keystr(path): jnp.shape(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(batch)
    }
    lengths = {shape[0] if shape else 0 for shape in shapes.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"batch must hold arrays with one and the same number of rows on the leading axis, got "
            f"the shapes {shapes or 'of no leaf'}: close over what has no rows in loss."
        )
    return lengths.pop()


def _scalar(value: Any) -> Float[Array, ""]:
    if jnp.shape(value) != ():
        raise TypeError(
            f"loss must return a scalar, got shape {jnp.shape(value)}: reduce it with jnp.mean."
        )
    return jnp.asarray(value, loss_dtype())
