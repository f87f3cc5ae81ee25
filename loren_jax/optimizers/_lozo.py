"""LOZO and LOZO-M: SPSA pairs along low-rank directions whose fan-in factor is kept for a while."""

from optax import ScalarOrSchedule

from loren_jax.directions._low_rank import FactorScale, low_rank
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import two_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, Scalar, Seed


@rebuildable
def lozo(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 1,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    rank: int = 2,
    every: int = 50,
    factor_scale: FactorScale = "unit",
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""LOZO: gradient descent on an SPSA estimate along low-rank directions, lazily sampled.

    .. math::

        c_k = \frac{f(x + \varepsilon U_k V^\top) - f(x - \varepsilon U_k V^\top)}
            {2 \varepsilon K}, \qquad
        W \leftarrow W - \eta \Big( \sum_k c_k U_k \Big) V^\top

    U (m x r) is standard normal and fresh for each pair; V (n x r) is drawn every `every` steps and
    kept in between, so that a matrix moves within one row space at a time. Vectors have standard
    normal directions, as in MeZO.

    Costs 2 K forward passes a step. State: V, n r floats for an m x n matrix (m fan-out, n fan-in)
    of rank `r = min(rank, m, n)`; none for vectors.

    Published values: `perturbation_scale` 1e-3, one pair; OPT-13B with learning rate in {1e-6,
    1e-7}, rank in {1, 2} and `every` in {50, 100} over 20,000 steps; RoBERTa-large with learning
    rate 1e-6 or 1e-7, rank 4 and `every` 50 or 100. They are for the scale "unit".

    **Differences from the published code.** There, the step that renews V draws it from the stream
    that the update replays for U, so once in `every` steps, the first included, the update goes
    along a direction that was never evaluated; here the evaluated direction is always the applied
    one. There, the estimate is r times that of the paper; here so by default, and the paper's with
    `factor_scale="rank"`. There, parameters are perturbed in place and drift in half precision;
    here they are never modified.

    Args:
      learning_rate: `eta > 0`, a number or a schedule.
      num_directions: K, pairs a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters over
        those of the direction, whose entries have variance r ("sqrt_rank": 1).
      rank: r, clamped to the lesser dimension of each matrix.
      every: steps that a V is kept.
      factor_scale: "unit" is the official code's; "rank" divides the estimate by r, which makes it
        unbiased; "sqrt_rank" divides the direction by sqrt(r), which does too.
      weight_decay: decoupled, once a step.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.

    Raises:
      ValueError: an argument out of range.

    >>> import jax.numpy as jnp, loren_jax
    >>> optimizer = lozo(0.01, every=10)
    >>> params = {"kernel": jnp.ones((4, 3))}
    >>> loss = lambda params: jnp.sum(params["kernel"] ** 2)
    >>> step, state = loren_jax.train_step(loss, optimizer), optimizer.init(params)
    >>> for _ in range(100):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 1.0)
    True

    References:
      Chen et al., Enhancing Zeroth-order Fine-tuning for Language Models with Low-rank Structures,
      2025, https://arxiv.org/abs/2410.07698
    """
    directions = low_rank(rank, every, factor_scale, matrix_axes=matrix_axes)
    estimator = estimate(
        directions, two_sided(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    return chain(estimator, descend(learning_rate, weight_decay=weight_decay))


LOZO = Entry(
    lozo, "low rank, one factor kept", two_sided, "learning rate", "n r",
    published={"num_directions": 1, "perturbation_scale": 1e-3, "rank": 2, "every": 50,
               "factor_scale": "unit"},
    unit="directions",
)  # fmt: skip


@rebuildable
def lozo_m(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 1,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    momentum: Scalar = 0.9,
    rank: int = 2,
    every: int = 50,
    factor_scale: FactorScale = "unit",
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""LOZO-M: LOZO with momentum at the size of the factor, not of the matrix.

    .. math::

        M \leftarrow \beta M + (1 - \beta) \sum_k c_k U_k, \qquad W \leftarrow W - \eta M V^\top

    with `c`, U and V as in `lozo`. When V is renewed, M is moved into the new row space first:
    `M V_old^T V_new / n`. Vectors have the same moving average of `sum c z`. The first step is not
    dampened: `M = sum c U`.

    Costs 2 K forward passes a step. State: V and M, (m + n) r floats for an m x n matrix of rank
    `r = min(rank, m, n)`, and m for a vector of length m. M is an average: the effective learning
    rate is `learning_rate`, not `learning_rate / (1 - momentum)`.

    Published values: as for `lozo`, with `momentum` 0.9 (RoBERTa-large).

    **Differences from the published code**, beyond those of `lozo`: M is moved at every renewal;
    there, with `every` 1 it is reset at each step instead.

    Args:
      learning_rate: `eta > 0`, a number or a schedule.
      num_directions: K, pairs a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule; see `lozo`.
      momentum: `beta` in [0, 1).
      rank: r, clamped to the lesser dimension of each matrix.
      every: steps that a V is kept.
      factor_scale: "unit", "rank" or "sqrt_rank"; see `lozo`.
      weight_decay: decoupled, once a step.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.

    Raises:
      ValueError: an argument out of range.

    >>> import jax.numpy as jnp
    >>> import optax
    >>> optimizer = lozo_m(0.02)
    >>> params = {"kernel": jnp.ones((4, 3))}
    >>> loss = lambda params: jnp.sum(params["kernel"] ** 2)
    >>> state = optimizer.init(params)
    >>> updates, state = optimizer.update(None, state, params, value_fn=loss)
    >>> bool(loss(optax.apply_updates(params, updates)) < loss(params))
    True

    References:
      LOZO, https://arxiv.org/abs/2410.07698
    """
    directions = low_rank(rank, every, factor_scale, momentum, matrix_axes)
    estimator = estimate(
        directions, two_sided(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    return chain(estimator, descend(learning_rate, weight_decay=weight_decay))


LOZO_M = Entry(
    lozo_m, "low rank, one factor kept", two_sided, "momentum, learning rate", "(m + n) r",
    published={"num_directions": 1, "perturbation_scale": 1e-3, "rank": 4, "every": 50,
               "factor_scale": "unit", "momentum": 0.9},
    unit="directions", plain=False,
)  # fmt: skip
