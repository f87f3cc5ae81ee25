"""MeZO-SVRG: SPSA with a control variate at a snapshot, and two learning rates."""

from typing import Any

import jax.numpy as jnp
import optax
from optax import ScalarOrSchedule

from loren_jax import arguments
from loren_jax.directions import isotropic
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators._svrg import svrg
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import two_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, RankOrSigns, Scalar, Seed


@rebuildable
def mezo_svrg(
    learning_rate: ScalarOrSchedule,
    *,
    full_learning_rate: ScalarOrSchedule | None = None,
    every: int = 2,
    num_directions: int = 1,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    rank: RankOrSigns = "auto",
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""MeZO-SVRG: every q-th step on all data, the others on a minibatch less its noise.

    .. math::

        G(f; x) = \frac{1}{K} \sum_{k=1}^{K}
            \frac{f(x + \varepsilon u_k) - f(x - \varepsilon u_k)}{2 \varepsilon} u_k, \qquad
        u_k \sim N(0, I)

    .. math::

        t \bmod q = 0: \quad & \bar g \leftarrow G(F; x), \quad \bar x \leftarrow x, \quad
            x \leftarrow x - \eta_1 \bar g \\
        \text{otherwise}: \quad & x \leftarrow x - \eta_2
            \big( G(f_t; x) - G(f_t; \bar x) + \bar g \big)

    F is the loss on all training data, `f_t` that on the step's minibatch. The two estimates of a
    minibatch step share their directions, so that the minibatch's noise cancels near the snapshot.
    The noise of the directions does not: the kept estimate has that of its own until the next one.

    Costs 2 K full passes on every q-th step and 4 K minibatch passes on the others; with
    minibatches of a share s of the data that is `2 K (1 + 2 (q - 1) s) / q` full passes a step.
    State: 2 N numbers for N trained parameters, the snapshot in their dtypes and the full estimate
    in float32. Where a pass over all data is too expensive, give a large fixed part of it as the
    full loss.

    Published settings for RoBERTa-large on 512 examples: q = 2, minibatches of 64,
    `perturbation_scale` 1e-3, `eta_1` in {1e-4, 1e-5}, `eta_2` in {1e-5, 1e-6}.

    **Differences from the published code.** There, the snapshot is a list of references, so that
    the second estimate is evaluated at the current parameters; here it is a copy. There, the two
    estimates have seeds of their own, so that subtracting one adds variance; here they share their
    directions. There, both learning rates are divided by `anneal` when the minibatch loss rises;
    here a schedule says what they are. There, the coefficient of the full estimate is rounded to
    the parameters' dtype; here it is float32.

    Args:
      learning_rate: `eta_2 > 0`, of the minibatch steps, a number or a schedule of the step.
      full_learning_rate: `eta_1 > 0`, of the full steps, a number or a schedule of the step; None
        is ten times `learning_rate`, as the published grids are.
      every: q, steps from one full estimate to the next, the first of which is step 0.
      num_directions: K, pairs a step and a point.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      rank: r of the directions of a matrix; None for full Gaussian ones, `"auto"` for 1 where both
        sides have 64 units or more, else None; `"signs"` for full ones of 1 and -1, which are
        drawn faster.
      weight_decay: decoupled, once a step, times that step's learning rate.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser; its `update` takes `value_fn` and `full_value_fn`, at every call, or `losses`.

    Raises:
      ValueError: an argument out of range, or one of the two functions missing.

    >>> import jax.numpy as jnp, loren_jax
    >>> optimizer = mezo_svrg(0.02, every=4)
    >>> data = jnp.asarray([[1.0, 2.0], [3.0, 0.0], [-1.0, 1.0], [1.0, 1.0]])
    >>> loss = lambda params, rows: jnp.mean((params[None] - rows) ** 2)
    >>> full_loss = lambda params: loss(params, data)
    >>> step = loren_jax.train_step(loss, optimizer, full_loss=full_loss)
    >>> params = jnp.zeros(2)
    >>> state = optimizer.init(params)
    >>> for t in range(200):
    ...     params, state = step(params, state, data[t % 4, None])
    >>> bool(jnp.abs(params - jnp.mean(data, 0)).max() < 0.1)
    True

    References:
      Gautam et al., Variance-reduced Zeroth-Order Methods for Fine-Tuning Language Models, 2024,
      https://arxiv.org/abs/2404.08080
    """
    queries = (num_directions, perturbation_scale, chunk_size, evaluation, key)
    estimator = svrg(isotropic(rank, matrix_axes), two_sided(), every, *queries)
    rate = _alternating(learning_rate, full_learning_rate, every)
    return chain(estimator, descend(rate, weight_decay=weight_decay))


MEZO_SVRG = Entry(
    mezo_svrg, "isotropic", two_sided, "control variate, two rates", "2 N",
    published={"num_directions": 1, "perturbation_scale": 1e-3, "every": 2, "rank": None},
    costs="2 K on all data, then 4 K", full_every="every",
    walk=0.14,
)  # fmt: skip


def _alternating(learning_rate: Any, full_learning_rate: Any, every: int) -> optax.Schedule:
    """The schedule that is `full_learning_rate` on every `every`-th step.

    Its counter and the estimate's both start at zero and count every update of the chain.
    """
    arguments.positive("learning_rate", learning_rate)
    if full_learning_rate is not None:
        arguments.positive("full_learning_rate", full_learning_rate)

    def rate(step):
        minibatch = arguments.value_at(learning_rate, step)
        full = 10 * minibatch
        if full_learning_rate is not None:
            full = arguments.value_at(full_learning_rate, step)
        return jnp.where(step % every == 0, full, minibatch)

    return rate
