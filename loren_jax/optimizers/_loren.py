"""LOREN: curvature-aware zeroth-order descent with a learned low-rank covariance."""

from optax import ScalarOrSchedule

from loren_jax.directions import rank_one
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import leave_one_out
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, Rank, Scalar, Seed


@rebuildable
def loren(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 6,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    damping: Scalar = 0.1,
    covariance_learning_rate: Scalar = 1e-3,
    momentum: Scalar | None = None,
    rank: Rank = "auto",
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""LOREN: leave-one-out estimate under a learned, damped rank-one covariance.

    .. math::

        y_k = (I - \kappa a a^\top) u_k, \qquad
        f_k = f(x + \varepsilon y_k), \qquad
        c_k = \frac{1}{K - 1} \Big( f_k - \tfrac{1}{K} \sum_j f_j \Big)

    .. math::

        m \leftarrow \beta m + \frac{1}{\varepsilon} \sum_k c_k y_k, \qquad
        x \leftarrow x - \eta (m + \lambda x), \qquad
        a \leftarrow a - \nu \sum_k c_k \nabla_a \log p(y_k)

    `kappa` makes `y` a sample of `N(0, I - a a^T / (rho + |a|^2))`; see `loren_jax.covariance`.
    Each matrix has one `a` on its fan-in side. The estimate's expectation is the preconditioned
    gradient `Sigma grad f`.

    Costs K forward passes a step. State: `a`, n floats for an m x n matrix, and with momentum one
    float32 copy of the trained parameters.

    With a `rank` r the directions are `P Q^T / sqrt(r)` with standard normal factors, whose second
    moment is the identity too, so the estimate stays unbiased. For r = 1 the mean squared error on
    a linear loss is `(m+2)(n+2) - 1` times the squared gradient norm of the matrix instead of `m n
    + 1`: a factor of about `1 + 2/m + 2/n`. It needs `(m + n) r` random numbers instead of `m n`.

    **Differences from the paper's text.** The scale is the unit one: `Sigma^1/2` has no factor
    `1 / sqrt(rho)`, so damping, perturbation scale and learning rate are independent. The paper's
    `(epsilon, eta)` correspond to `(epsilon / sqrt(rho), eta / rho)` here. The root is the
    principal one, which exists at `a = 0`; the paper's is indefinite and gives the same
    distribution. With a rank the score is that of the fan-in factor, which is exact. Weight decay
    never acts on `a`.

    **Differences from the official code.** There, one rank-one term spans the whole flattened
    matrix; here, as in the paper, each row has its own block. There, momentum, `a` and weight
    decay act once a query, with directions rebuilt from an `a` they were not evaluated with; here
    once a step. There, the gradient of `a` carries `epsilon^2 sqrt(rho)`, below float32's spacing,
    and collapses to a scalar for vectors; here it is the score. There, vectors have no momentum;
    here they have. There, perturbing in place lets half-precision weights drift; here parameters
    are never modified.

    ============================  =============================================================
    official                      here, for the same expected motion
    ============================  =============================================================
    `num_queries`                 `num_directions`
    `zo_eps`, `damping`           `perturbation_scale`, `damping`
    `lr` on matrices              `learning_rate`; total gain `1 / (1 - momentum)` in both
    `lr` on vectors               `learning_rate * (1 - momentum)`; they have no momentum there
    its 0.9 once a query          `momentum = 0.9 ** K` and `learning_rate * 10 * (1 - 0.9 ** K)`
    `lr_cov`                      `covariance_learning_rate = lr_cov * zo_eps**2 * sqrt(damping)`
    `weight_decay` (0.01 always)  `weight_decay * K * lr / learning_rate`
    ============================  =============================================================

    Args:
      learning_rate: `eta > 0`, a number or a schedule; start at MeZO's. Momentum multiplies it by
        `1 / (1 - momentum)`.
      num_directions: K >= 2.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      damping: `rho > 0`.
      covariance_learning_rate: `nu`; zero freezes the covariance.
      momentum: `beta`; None keeps no buffer, for the same loss at `1 / (1 - beta)` times the rate.
      rank: r of the directions of a matrix; None for full Gaussian ones, `"auto"` for 1 where both
        sides have 64 units or more, else None.
      weight_decay: `lambda`, decoupled, once a step, never on `a`.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.

    Raises:
      ValueError: an argument out of range.

    >>> import jax, jax.numpy as jnp, optax
    >>> optimizer = loren(0.1)
    >>> params = {"kernel": jnp.ones((3, 2))}
    >>> loss = lambda params: jnp.sum(params["kernel"] ** 2)
    >>> @jax.jit
    ... def step(params, state):
    ...     updates, state = optimizer.update(None, state, params, value_fn=loss)
    ...     return optax.apply_updates(params, updates), state
    >>> state = optimizer.init(params)
    >>> for _ in range(200):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 0.2)
    True
    >>> optax.tree.get(state, "losses").shape
    (6, 1)

    References:
      LOREN, https://arxiv.org/abs/2511.07971
    """
    directions = rank_one(damping, covariance_learning_rate, rank, matrix_axes)
    estimator = estimate(
        directions, leave_one_out(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    return chain(estimator, descend(learning_rate, momentum=momentum, weight_decay=weight_decay))


LOREN = Entry(
    loren, "learned rank-one covariance", leave_one_out, "momentum, learning rate",
    "n; with momentum + N",
    published={"num_directions": 6, "perturbation_scale": 1e-3, "damping": 0.1,
               "covariance_learning_rate": 1e-3, "momentum": 0.9, "rank": None},
)  # fmt: skip
