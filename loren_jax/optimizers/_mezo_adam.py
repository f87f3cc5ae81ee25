"""MeZO-Adam: SPSA pairs along isotropic directions, and Adam."""

import optax
from optax import ScalarOrSchedule

from loren_jax import arguments
from loren_jax.directions import isotropic
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import two_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.transforms.precision import in_float32
from loren_jax.types import Evaluation, RankOrSigns, Scalar, Seed


@rebuildable
def mezo_adam(
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
    r"""MeZO-Adam: Adam on an SPSA estimate, with decoupled weight decay.

    With the estimate `g` of `mezo`:

    .. math::

        m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
        x \leftarrow x - \eta \Big( \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} +
            \epsilon} + \lambda x \Big)

    Costs 2 K forward passes a step. State: two float32 copies of the trained parameters (frozen
    ones have none), two counts, a key and a few scalars.

    What to expect: with few directions all entries of an estimate share one random factor, so `v`
    is nearly the same everywhere once it averages many steps, and this is MeZO with momentum and a
    step size that normalises itself.

    Published learning rates, full fine-tuning: 1e-4 to 1e-8 at `perturbation_scale` 1e-3 to 1e-5
    for OPT-1.3B, 1e-5 to 1e-8 at 1e-2 to 1e-4 for OPT-13B; 20,000 steps of 16 examples.

    Differences from the published code: there, moments have the parameters' dtype, and in bfloat16
    `v` never decays; here they are float32. The reimplementation in LOREN's repository takes one
    step of Adam for each pair, K times the length; here one a step. Weight decay acts on every
    trained leaf.

    Args:
      learning_rate: `eta > 0`, a number or a schedule, in units of the parameters a step.
      num_directions: K, pairs a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      b1: decay of the first moment, in [0, 1).
      b2: decay of the second moment, in [0, 1).
      eps: added to the root, in units of the gradient; above zero.
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
    >>> optimizer = mezo_adam(0.05)
    >>> params = jnp.asarray([1.0, -2.0])
    >>> loss = lambda params: jnp.sum(params**2)
    >>> step, state = loren_jax.train_step(loss, optimizer), optimizer.init(params)
    >>> for _ in range(200):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 0.1)
    True

    References:
      Malladi et al., Fine-Tuning Language Models with Just Forward Passes, 2023,
      https://arxiv.org/abs/2305.17333
    """
    arguments.fraction("b1", b1)
    arguments.fraction("b2", b2)
    arguments.positive("eps", eps)
    adam = in_float32(optax.scale_by_adam(b1, b2, eps))
    directions = isotropic(rank, matrix_axes)
    estimator = estimate(
        directions, two_sided(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    return chain(estimator, adam, descend(learning_rate, weight_decay=weight_decay))


MEZO_ADAM = Entry(
    mezo_adam, "isotropic", two_sided, "Adam, learning rate", "2 N",
    published={"num_directions": 1, "perturbation_scale": 1e-3, "b1": 0.9, "b2": 0.999,
               "eps": 1e-8, "rank": None},
    unit=None,
)  # fmt: skip
