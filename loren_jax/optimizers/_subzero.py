"""SubZero: SPSA pairs along directions in random subspaces of rows and columns."""

from optax import ScalarOrSchedule

from loren_jax.directions._core_subspace import core_subspace
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import two_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, Scalar, Seed


@rebuildable
def subzero(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 1,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    rank: int = 24,
    every: int = 1000,
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""SubZero: gradient descent on an SPSA estimate in lazily renewed random subspaces.

    .. math::

        Z_k = \frac{\sqrt{m n}}{r} U z_k V^\top, \quad z_k \sim N(0, I_{r \times r}), \qquad
        W \leftarrow W - \eta \sum_{k=1}^{K}
            \frac{f(x + \varepsilon Z_k) - f(x - \varepsilon Z_k)}{2 \varepsilon K} Z_k

    U (m x r) and V (n x r) have orthonormal columns, uniform over all such bases; they are drawn
    every `every` steps and kept in between, and only the core z is fresh. A direction has the norm
    of a Gaussian one. Vectors have standard normal directions, as in MeZO.

    Costs 2 K forward passes a step. State: U and V, (m + n) r floats for an m x n matrix of rank
    `r = min(rank, m, n)`; none for vectors.

    Published values: for prompt tuning rank 24, `every` 1000, learning rate 1e-3 and
    `perturbation_scale` 1e-2; the code's own defaults are rank 8 and `every` 2000. ZO-Muon's
    authors fine-tune OPT-13B in full with rank 48, `every` 1000, learning rate 1e-7 and
    `perturbation_scale` 1e-3.

    **Differences from the published code.** There, U and V come from a global generator that each
    step seeds anew, so that a run cannot be resumed; here from the run's key and the step. There, a
    rank above a matrix's lesser dimension fails; here it is clamped. There, thin matrices of
    adapters are reshaped to nearly square ones; here a leaf is the matrix that `matrix_axes` says.
    There, parameters are perturbed in place and drift in half precision; here they are never
    modified.

    Args:
      learning_rate: `eta > 0`, a number or a schedule.
      num_directions: K, pairs a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      rank: r, clamped to the lesser dimension of each matrix.
      every: steps that U and V are kept.
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
    >>> optimizer = subzero(0.02, rank=2, every=10)
    >>> params = {"kernel": jnp.ones((4, 3))}
    >>> loss = lambda params: jnp.sum(params["kernel"] ** 2)
    >>> step, state = loren_jax.train_step(loss, optimizer), optimizer.init(params)
    >>> for _ in range(100):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 1.0)
    True

    References:
      Yu et al., Zeroth-Order Fine-Tuning of LLMs in Random Subspaces, 2025,
      https://arxiv.org/abs/2410.08989
    """
    directions = core_subspace(rank, every, matrix_axes)
    estimator = estimate(
        directions, two_sided(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    return chain(estimator, descend(learning_rate, weight_decay=weight_decay))


SUBZERO = Entry(
    subzero, "random subspaces of both sides", two_sided, "learning rate", "(m + n) r",
    published={"num_directions": 1, "perturbation_scale": 1e-2, "rank": 24, "every": 1000},
    unit="directions",
)  # fmt: skip
