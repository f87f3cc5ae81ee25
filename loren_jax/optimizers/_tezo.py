"""TeZO and TeZO-m: SPSA pairs along weighted sums of fixed rank-one matrices."""

from optax import ScalarOrSchedule

from loren_jax.directions._temporal import temporal
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import two_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, Scalar, Seed


@rebuildable
def tezo(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 1,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    momentum: Scalar | None = None,
    rank: int = 32,
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""TeZO: gradient descent on an SPSA estimate with r random numbers a matrix and step.

    .. math::

        Z_k = U \mathrm{diag}(\tau_k) V^\top, \quad \tau_k \sim N(0, I_r), \qquad
        c_k = \frac{f(x + \varepsilon Z_k) - f(x - \varepsilon Z_k)}{2 \varepsilon K}, \qquad
        W \leftarrow W - \eta \sum_k c_k Z_k

    U (m x r) and V (n x r) are standard normal, drawn once for the whole run. A matrix therefore
    never leaves its start plus the span of the r matrices `u_s v_s^T`. Vectors have standard normal
    directions, as in MeZO. With momentum (TeZO-m) the average lives in the weights:

    .. math::

        M \leftarrow \beta M + (1 - \beta) \sum_k c_k \tau_k, \qquad
        W \leftarrow W - \eta U \mathrm{diag}(M) V^\top

    Costs 2 K forward passes a step. State: U and V, (m + n) r floats for an m x n matrix of rank
    `r = min(rank, m, n)`; with momentum r more, and m for a vector of length m. M starts at zero
    and is an average: the effective learning rate is `learning_rate`.

    The entries of Z have variance r, and the estimate is r times as long as an unbiased one: a
    MeZO-like step has the learning rate divided by r and `perturbation_scale` by `sqrt(r)`.

    Published values: the paper chooses a rank for each layer from the spectrum of its weights,
    about 31 on average; here one rank serves all. Its learning rates are not known to us, and
    there is no public code to differ from. TeZO-Adam is not offered.

    Args:
      learning_rate: `eta > 0`, a number or a schedule.
      num_directions: K, pairs a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters over
        those of the direction, whose entries have variance r.
      momentum: `beta` in [0, 1); None keeps no average.
      rank: r, clamped to the lesser dimension of each matrix.
      weight_decay: decoupled, once a step.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.
      Without momentum its step is in place.

    Raises:
      ValueError: an argument out of range.

    >>> import jax.numpy as jnp, loren_jax
    >>> optimizer = tezo(0.001, rank=3)
    >>> params = {"kernel": jnp.ones((4, 3))}
    >>> loss = lambda params: (jnp.sum(params["kernel"]) - 10.0) ** 2
    >>> step, state = loren_jax.train_step(loss, optimizer), optimizer.init(params)
    >>> for _ in range(100):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 1.0)
    True

    References:
      Sun et al., TeZO: Empowering the Low-Rankness on the Temporal Dimension in the Zeroth-Order
      Optimization for Fine-tuning LLMs, 2025, https://arxiv.org/abs/2501.19057
    """
    directions = temporal(rank, momentum, matrix_axes)
    estimator = estimate(
        directions, two_sided(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    return chain(estimator, descend(learning_rate, weight_decay=weight_decay))


TEZO = Entry(
    tezo, "sums of fixed rank-one matrices", two_sided, "momentum, learning rate",
    "(m + n) r; with momentum + r",
    published={"num_directions": 1, "perturbation_scale": 1e-3, "momentum": None},
    unit="directions",
)  # fmt: skip
