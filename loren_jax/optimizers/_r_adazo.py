"""R-AdaZO: SPSA pairs along isotropic directions, and Adam on the first moment."""

from optax import ScalarOrSchedule

from loren_jax.directions import isotropic
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import two_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.transforms.adazo import scale_by_adazo
from loren_jax.types import Evaluation, RankOrSigns, Scalar, Seed


@rebuildable
def r_adazo(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 1,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    rank: RankOrSigns = "auto",
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""R-AdaZO: Adam on an SPSA estimate, with the second moment of the first moment.

    With the estimate `g` of `mezo`:

    .. math::

        m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
        v \leftarrow \beta_2 v + (1 - \beta_2) m^2, \qquad
        x \leftarrow x - \eta \Big( \frac{m}{\sqrt v + \epsilon} + \lambda x \Big)

    Costs 2 K forward passes a step. State: two float32 copies of the trained parameters (frozen
    ones have none), a key and a few scalars. There is no bias correction, so the first step has the
    length `eta / sqrt(1 - b2)` in every entry, 32 `eta` with the defaults.

    Published: learning rate 1e-3, `b2` 0.999 (0.99 in the README's example), two directions and a
    scale of 5e-3, on synthetic problems; the code of the experiments on language models is not
    public.

    Differences from the published code: there, forward differences along unit vectors of each leaf,
    one leaf after another, at 2 K evaluations for each leaf and without the factor d of the
    paper; here MeZO's pairs, joint and Gaussian. `eps` is added to the root as in the code, not
    under it as in the paper.

    Args:
      learning_rate: `eta > 0`, a number or a schedule, in units of the parameters a step.
      num_directions: K, pairs a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: added to the root, in units of the gradient; zero or more.
      rank: r of the directions of a matrix; None for full Gaussian ones, `"auto"` for 1 where both
        sides have 64 units or more, else None; `"signs"` for full ones of 1 and -1, which are
        drawn faster.
      weight_decay: `lambda`, decoupled, once a step.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.
      Its updates are float32.

    Raises:
      ValueError: an argument out of range.

    >>> import jax.numpy as jnp, loren_jax
    >>> optimizer = r_adazo(0.01)
    >>> params = jnp.asarray([1.0, -2.0])
    >>> loss = lambda params: jnp.sum(params**2)
    >>> step, state = loren_jax.train_step(loss, optimizer), optimizer.init(params)
    >>> for _ in range(300):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 0.5)
    True

    References:
      Shu et al., Refining Adaptive Zeroth-Order Optimization at Ease, 2025,
      https://arxiv.org/abs/2502.01014
    """
    scale = scale_by_adazo(b1, b2, eps)
    directions = isotropic(rank, matrix_axes)
    estimator = estimate(
        directions, two_sided(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    return chain(estimator, scale, descend(learning_rate, weight_decay=weight_decay))


R_ADAZO = Entry(
    r_adazo, "isotropic", two_sided, "AdaZO, learning rate", "2 N",
    published={"num_directions": 2, "perturbation_scale": 5e-3, "b1": 0.9, "b2": 0.999,
               "eps": 1e-8, "rank": None},
    unit="leaves",
)  # fmt: skip
