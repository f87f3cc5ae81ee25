"""FZOO: one-sided slopes divided by the spread of their losses, and plain descent."""

from optax import ScalarOrSchedule

from loren_jax.directions import isotropic
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import scaled_one_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, RankOrSigns, Scalar, Seed


@rebuildable
def fzoo(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 8,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    momentum: Scalar | None = None,
    rank: RankOrSigns = "signs",
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""FZOO: descent whose steps have one length, from losses compared with the one at the centre.

    .. math::

        \hat g = \frac{1}{K \sigma} \sum_{k=1}^{K}
            \big( f(x + \varepsilon u_k) - f(x) \big) u_k, \qquad u_k \in \{1, -1\}^d, \qquad
        x \leftarrow x - \eta \hat g

    `sigma` is the standard deviation of the `f(x + eps u_k)` of the step, so that the scale of the
    loss and epsilon drop out: steps are of one length, given by the learning rate.

    Costs K + 1 forward passes a step. State: a key and a few scalars; with momentum one float32
    copy of the trained parameters.

    Published values: OPT-13B with learning rate 5e-5, `perturbation_scale` 1e-4 and K 8 over 20,000
    steps; 1e-5 and 1e-3 are the defaults of the script.

    **Differences from the published code.** There, a step may take half of its losses from the step
    before, at parameters that have moved since; here all are its own. There, one kind of model
    alone evaluates several queries together; here any.

    Args:
      learning_rate: `eta > 0`, a number or a schedule: what a number of the parameters
        moves by in a step, times about `sqrt(K)`.
      num_directions: K >= 2, queries a step besides the one at the parameters.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      momentum: None keeps no buffer.
      rank: `"signs"` for directions of 1 and -1, as published; r of those of a matrix, None for
        full Gaussian ones, `"auto"` for 1 where both sides have 64 units or more, else None.
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
    >>> optimizer = fzoo(0.1)
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
      Dang et al., FZOO: Fast Zeroth-Order Optimizer for Fine-Tuning Large Language Models towards
      Adam-Scale Speed, 2025, https://arxiv.org/abs/2506.09034
    """
    directions = isotropic(rank, matrix_axes)
    estimator = estimate(
        directions,
        scaled_one_sided(),
        num_directions,
        perturbation_scale,
        chunk_size,
        evaluation,
        key,
    )
    return chain(estimator, descend(learning_rate, momentum=momentum, weight_decay=weight_decay))


FZOO = Entry(
    fzoo, "isotropic, of signs", scaled_one_sided, "momentum, learning rate",
    "0; with momentum + N",
    published={"num_directions": 8, "perturbation_scale": 1e-4, "momentum": None, "rank": "signs"},
)  # fmt: skip
