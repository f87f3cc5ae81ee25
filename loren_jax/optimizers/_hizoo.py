"""HiZOO: SPSA along directions scaled by a learned diagonal of the curvature."""

from optax import ScalarOrSchedule

from loren_jax.directions._diagonal import SMOOTHING, diagonal
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import three_point
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, Scalar, Seed


@rebuildable
def hizoo(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 1,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    smoothing: Scalar = SMOOTHING,
    bounds: tuple[Scalar, Scalar] = (1e-3, 1e3),
    use_same_diagonal: bool = False,
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""HiZOO: descent on an SPSA estimate that a learned diagonal Hessian preconditions.

    .. math::

        f_k^\pm = f(x \pm \varepsilon D^{-1/2} z_k), \quad z_k \sim N(0, I), \qquad
        h_k = \frac{|f_k^+ + f_k^- - 2 f(x)|}{2 \varepsilon^2}

    .. math::

        D' = (1 - \alpha) D + \frac{\alpha}{K} \sum_k h_k D \circ z_k \circ z_k, \qquad
        \hat g = \frac{1}{K} \sum_k \frac{f_k^+ - f_k^-}{2 \varepsilon} D'^{-1/2} z_k, \qquad
        x \leftarrow x - \eta (\hat g + \lambda x)

    Costs 2 K + 1 forward passes a step. State: `D`, one float32 copy of the trained parameters, a
    key and a few scalars.

    Published: `perturbation_scale` 1e-3, `smoothing` 1e-8, 20,000 steps of 16 examples, learning
    rate 1e-6 for OPT-13B (the script's default is 1e-5, later comparisons use 1e-7).

    Differences from the published code: there, `D` has the parameters' dtype, in which its steps
    are below half a spacing unless `|f^+ + f^- - 2 f| z^2` is of the order of the loss itself, so
    that half-precision HiZOO is MeZO; here it is float32. There, `D` has no bounds; here it is
    clipped. There, the script's smoothing is 0 unless another is asked for; here it is the
    README's. There, a fourth forward pass serves the log, and schedules advance once an epoch; here
    neither. The reimplementation in LOREN's repository moves the parameters after every direction;
    here the directions are averaged at one point. `use_same_diagonal` mends the published bias of
    perturbing with `D` and updating with `D'`.

    Args:
      learning_rate: `eta > 0`, a number or a schedule.
      num_directions: K, pairs a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      smoothing: `alpha` in [0, 1): how fast `D` follows, in 1 / steps. What small values mean in
        float32 is in `loren_jax.directions.diagonal`.
      bounds: least and largest entry of `D`, around its start at 1.
      use_same_diagonal: whether the update uses `D` like the queries, not `D'`.
      weight_decay: `lambda`, decoupled, once a step, never on `D`.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.

    Raises:
      ValueError: an argument out of range.

    >>> import jax.numpy as jnp, loren_jax
    >>> optimizer = hizoo(0.05, smoothing=1e-2)
    >>> params = jnp.asarray([1.0, -2.0])
    >>> loss = lambda params: jnp.sum(jnp.asarray([1.0, 5.0]) * params**2)
    >>> step, state = loren_jax.train_step(loss, optimizer), optimizer.init(params)
    >>> for _ in range(100):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 0.2)
    True

    References:
      Zhao et al., Second-Order Fine-Tuning without Pain for LLMs: a Hessian Informed Zeroth-Order
      Optimizer, 2024, https://arxiv.org/abs/2402.15173
    """
    directions = diagonal(smoothing, bounds, use_same_diagonal, matrix_axes)
    estimator = estimate(
        directions, three_point(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    return chain(estimator, descend(learning_rate, weight_decay=weight_decay))


HIZOO = Entry(
    hizoo, "learned diagonal covariance", three_point, "learning rate", "N",
    published={"num_directions": 1, "perturbation_scale": 1e-3, "smoothing": 1e-8},
    unit="directions",
)  # fmt: skip
