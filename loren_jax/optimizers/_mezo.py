"""MeZO: SPSA pairs along isotropic directions, and plain descent."""

from optax import ScalarOrSchedule

from loren_jax.directions import isotropic
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import clipped, two_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, RankOrSigns, Scalar, Seed


@rebuildable
def mezo(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 1,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    momentum: Scalar | None = None,
    rank: RankOrSigns = "auto",
    weight_decay: Scalar = 0.0,
    max_slope: Scalar | None = None,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""MeZO (ZO-SGD): gradient descent on an SPSA estimate.

    .. math::

        \hat g = \frac{1}{K} \sum_{k=1}^{K}
            \frac{f(x + \varepsilon u_k) - f(x - \varepsilon u_k)}{2 \varepsilon} u_k, \qquad
        u_k \sim N(0, I), \qquad x \leftarrow x - \eta \hat g

    Costs 2 K forward passes a step. State: a key and a few scalars; with momentum one float32 copy
    of the trained parameters. Several directions are averaged at one point.

    Published learning rates at `perturbation_scale` 1e-3: 1e-6 and 1e-7 for OPT-13B, 1e-7 to 1e-5
    for RoBERTa-large; with LoRA 1e-4 and 5e-5 at 1e-2. With momentum the effective rate is
    `learning_rate / (1 - momentum)`.

    Differences from the published code: the parameters are never perturbed in place, so nothing
    has to be restored and nothing drifts in half precision; noise is float32 and belongs to a
    leaf's path; weight decay acts on every trained leaf.

    Args:
      learning_rate: `eta > 0`, a number or a schedule.
      num_directions: K, pairs a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      momentum: None keeps no buffer.
      rank: r of the directions of a matrix; None for full Gaussian ones, `"auto"` for 1 where both
        sides have 64 units or more, else None; `"signs"` for full ones of 1 and -1, which are
        drawn faster.
      weight_decay: decoupled, once a step.
      max_slope: bound of the slope along each direction, in loss by unit of the parameters; None
        for none. QZO, which trains the scales of quantised matrices, takes 100.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.

    Raises:
      ValueError: an argument out of range.

    >>> import jax, jax.numpy as jnp, optax
    >>> optimizer = mezo(0.1)
    >>> params = jnp.asarray([1.0, -2.0])
    >>> loss = lambda params: jnp.sum(params**2)
    >>> @jax.jit
    ... def step(params, state):
    ...     updates, state = optimizer.update(None, state, params, value_fn=loss)
    ...     return optax.apply_updates(params, updates), state
    >>> state = optimizer.init(params)
    >>> for _ in range(50):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 0.1)
    True

    References:
      Malladi et al., Fine-Tuning Language Models with Just Forward Passes, 2023,
      https://arxiv.org/abs/2305.17333
    """
    directions = isotropic(rank, matrix_axes)
    estimator = estimate(
        directions,
        clipped(two_sided(), max_slope),
        num_directions,
        perturbation_scale,
        chunk_size,
        evaluation,
        key,
    )
    return chain(estimator, descend(learning_rate, momentum=momentum, weight_decay=weight_decay))


MEZO = Entry(
    mezo, "isotropic", two_sided, "momentum, learning rate", "0; with momentum + N",
    published={"num_directions": 1, "perturbation_scale": 1e-3, "momentum": None, "rank": None},
)  # fmt: skip
