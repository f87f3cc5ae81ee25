"""A loss that is asked of each row of a batch at parameters of its own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from loren_jax.losses.micro_batches import rows_of
from loren_jax.types import Loss, PyTree

TOLERANCE = 1e-3
"""How far the loss of a batch may be from the mean of those of its rows, as a share of it."""


class Rows(NamedTuple):
    """A loss and the batch that it is asked for: `value_fn` of an update.

    Attributes:
      loss: `(params, batch, *rest) -> scalar`.
      batch: a pytree of arrays whose leading axis is the rows.
      rest: further arguments of the loss, the same for all rows.
    """

    loss: Callable[..., Any]
    batch: PyTree
    rest: tuple[Any, ...] = ()

    def __call__(self, params: PyTree) -> Loss:
        """The loss of the whole batch."""
        return self.loss(params, self.batch, *self.rest)

    @property
    def number(self) -> int:
        """How many rows there are."""
        return rows_of(self.batch)

    def of_row(self, number: Array) -> Callable[[PyTree], Loss]:
        """The loss of one row, a batch of one."""
        take = lambda x: jax.lax.dynamic_slice_in_dim(x, number, 1)
        return lambda params: self.loss(params, jax.tree.map(take, self.batch), *self.rest)

    def behind(self, put: Callable[[PyTree], PyTree]) -> "Rows":
        """The same of what `put` makes the parameters of."""
        loss = lambda some, batch, *rest: self.loss(put(some), batch, *rest)
        return self._replace(loss=loss)


def behind(value_fn: Callable[[PyTree], Any], put: Callable[[PyTree], PyTree]) -> Any:
    """`value_fn` of what `put` makes of its argument; rows that are asked apart stay so.

    Args:
      value_fn: a loss of the parameters.
      put: gives the parameters.

    Returns:
      A `value_fn` of the argument of `put`.
    """
    if isinstance(value_fn, Rows):
        return value_fn.behind(put)
    return lambda some: value_fn(put(some))


def per_example(loss: Callable[..., Any]) -> "PerExample":
    r"""A loss whose rows are each evaluated along a direction of their own.

    .. math:: f(x) = \frac{1}{B} \sum_{k=1}^{B} \ell_k(x), \qquad
        \hat g = \frac{1}{B} \sum_{k=1}^{B}
            \frac{\ell_k(x + \varepsilon u_k) - \ell_k(x - \varepsilon u_k)}{2 \varepsilon} u_k

    B directions cost two forward passes of the batch, as row k is evaluated along direction k alone
    and the product with the weights is shared; with the update, which is of rank B, a step took
    1.46 times one of a single pair (MiniLM, 16 x 32 tokens, CPU). With S the mean square of an
    example's gradient and G that of the mean gradient, the estimate's error falls from
    `d (G + (S - G) / B)` to `d S / B`: by much where the examples agree, hardly where they do not.

    Give `num_directions` the rows of a batch, and take a method with pairs or a centre, such as
    `mezo` or `grzo`. Matrices need a rank to be cheap. All rows run together; `chunk_size` is rows
    at a time. Directions share nothing between devices yet.

    Args:
      loss: `(params, batch, *rest) -> scalar`, the mean over the rows, each of which is worth the
        same whatever the others are. One that couples them, as by batch norm, negatives of the same
        batch or a mean over all tokens, is refused at the first step of `train_step`.

    Returns:
      What takes the loss's place in `train_step` and `fit`; by itself, `per_example(loss).bind(
      batch)` is a `value_fn` for `update`.

    >>> import loren_jax
    >>> loss = lambda w, rows: jnp.mean((rows @ w - 1.0) ** 2)
    >>> step = loren_jax.train_step(per_example(loss), optimizer := loren_jax.mezo(
    ...     0.01, num_directions=8))
    >>> rows, w = jax.random.normal(jax.random.key(0), (8, 3)), jnp.zeros(3)
    >>> w, state = step(w, optimizer.init(w), rows)
    >>> state[0].losses.shape
    (8, 2)

    References:
      GRZO, 2026, https://arxiv.org/abs/2606.02857
    """
    return PerExample(loss)


class PerExample:
    """What `per_example` makes: a loss, and that its rows are evaluated apart."""

    def __init__(self, loss: Callable[..., Any]):
        self.loss = loss

    def __call__(self, params: PyTree, batch: PyTree, *rest: Any) -> Loss:
        """The loss of the whole batch."""
        return self.loss(params, batch, *rest)

    def bind(self, batch: PyTree, *rest: Any) -> Rows:
        """The `value_fn` of a batch."""
        return Rows(self.loss, batch, rest)


def bind(loss: Callable[..., Any], *batch: PyTree) -> Callable[[PyTree], Any]:
    """The `value_fn` of any loss and a batch.

    Args:
      loss: `(params, *batch) -> scalar`, or what `per_example` made.
      *batch: its further arguments.

    Returns:
      A function of the parameters.
    """
    if isinstance(loss, PerExample):
        return loss.bind(*batch)
    return lambda params: loss(params, *batch)


def require_separable(loss: Callable[..., Any], params: PyTree, *batch: PyTree) -> None:
    """Raises where rows that are to be evaluated apart change each other's losses.

    Args:
      loss: any loss; nothing is asked of one that `per_example` did not make.
      params: parameters to compare it at.
      *batch: its further arguments.

    Raises:
      ValueError: the loss of the batch is not finite, or not the mean of those of its rows.
    """
    if not isinstance(loss, PerExample):
        return
    rows = loss.bind(*batch)

    def both(params: PyTree, batch: tuple[PyTree, ...]) -> tuple[Any, Any]:
        rows = loss.bind(*batch)
        one = lambda number: rows.of_row(number)(params)
        return rows(params), jax.lax.map(one, jnp.arange(rows.number))

    whole, alone = jax.tree.map(np.asarray, jax.jit(both)(params, batch))
    if not np.isfinite(whole):
        raise ValueError(
            f"per_example: the loss of the batch is {whole:.6g}, so that nothing tells whether its "
            "rows see each other: begin with parameters and rows whose loss is finite."
        )
    mean = np.mean(alone)
    if not abs(whole - mean) <= TOLERANCE * max(abs(whole), np.mean(np.abs(alone))):
        raise ValueError(
            f"per_example: the loss of the batch is {whole:.6g}, but the mean over its "
            f"{rows.number} rows, each alone, is {mean:.6g}, so they are coupled: make it a mean "
            "over rows that do not see each other, or take the loss without per_example."
        )
