"""GRZO: pairs of queries, one direction for each example, divided by the spread of their slopes."""

from optax import ScalarOrSchedule

from loren_jax.directions import isotropic
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import scaled_two_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, RankOrSigns, Scalar, Seed


@rebuildable
def grzo(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 16,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    momentum: Scalar | None = None,
    rank: RankOrSigns = "auto",
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""GRZO: descent along pairs whose slopes are divided by their spread, one for each example.

    .. math::

        d_k = \tfrac{1}{2} \big( \ell_k(x + \varepsilon u_k) - \ell_k(x - \varepsilon u_k) \big),
        \qquad \hat g = \frac{1}{K \sigma} \sum_{k=1}^{K} d_k u_k, \qquad
        x \leftarrow x - \eta \hat g

    `sigma` is the standard deviation of the `d_k`. With a loss made by
    `loren_jax.losses.per_example` each `l_k` is that of one row of the batch, K rows in all, and a
    step costs two forward passes of the batch, whatever K is. With any other loss all `l_k` are
    that of the whole batch and a step costs 2 K passes.

    State: a key and a few scalars; with momentum one float32 copy of the trained parameters.

    **Differences from the published code.** There, directions of all examples share one random
    matrix, whose rows and columns have other signs for each; here each example has its own rank-1
    direction where matrices are large. There, the estimate is divided by `2 epsilon`, so that its
    learning rate is `2 epsilon` times ours: 1e-7 at 1e-3 is 5e-5 here.

    Args:
      learning_rate: `eta > 0`, a number or a schedule: what a number of the parameters
        moves by in a step, times about `sqrt(K)`.
      num_directions: K >= 2, pairs a step; with `per_example` the rows of a batch.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      momentum: None keeps no buffer.
      rank: r of the directions of a matrix; None for full Gaussian ones, `"auto"` for 1 where both
        sides have 64 units or more, else None; `"signs"` for full ones of 1 and -1.
      weight_decay: decoupled, once a step.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.

    Raises:
      ValueError: an argument out of range.

    >>> import jax, jax.numpy as jnp, optax
    >>> optimizer = grzo(0.1)
    >>> params = jnp.asarray([1.0, -2.0])
    >>> loss = lambda params: jnp.sum(params**2)
    >>> @jax.jit
    ... def step(params, state):
    ...     updates, state = optimizer.update(None, state, params, value_fn=loss)
    ...     return optax.apply_updates(params, updates), state
    >>> state = optimizer.init(params)
    >>> for _ in range(200):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 0.1)
    True

    References:
      GRZO, 2026, https://arxiv.org/abs/2606.02857
    """
    directions = isotropic(rank, matrix_axes)
    estimator = estimate(
        directions,
        scaled_two_sided(),
        num_directions,
        perturbation_scale,
        chunk_size,
        evaluation,
        key,
    )
    return chain(estimator, descend(learning_rate, momentum=momentum, weight_decay=weight_decay))


GRZO = Entry(
    grzo, "isotropic, one for each example", scaled_two_sided, "momentum, learning rate",
    "0; with momentum + N",
    published={"num_directions": 16, "perturbation_scale": 1e-3, "momentum": None, "rank": "signs"},
)  # fmt: skip
