"""MeZO-BCD: SPSA pairs along one block of parameters at a time."""

from collections.abc import Callable, Hashable

from optax import ScalarOrSchedule

from loren_jax.blocks import Order, blockwise
from loren_jax.directions import isotropic
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import two_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, Mask, RankOrSigns, Seed


@rebuildable
def mezo_bcd(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 1,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    order: Order = "random",
    blocks: Callable[[str], Hashable] | None = None,
    always: Mask | None = None,
    rank: RankOrSigns = "auto",
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""MeZO-BCD: MeZO on one block of leaves a step, each block once a cycle.

    .. math::

        \hat g = \frac{1}{K} \sum_{k=1}^{K}
            \frac{f(x + \varepsilon u_k) - f(x - \varepsilon u_k)}{2 \varepsilon} u_k, \qquad
        u_k \sim N(0, I_{b_t}), \qquad x_{b_t} \leftarrow x_{b_t} - \eta \hat g_{b_t}

    The blocks are the embeddings, each layer, and what is left (final norm, head); the number of
    the block is data, so that layers in a stack (a `scan` over them) share one compiled program.
    Layers that are no stack have one each, and compile one after another.

    Costs 2 K forward passes a step, of which the layers before the block are evaluated once for
    all queries; noise and update are made for the block alone. State: the order of the B blocks, B
    + 2 integers. No weight decay and no momentum, which would touch every parameter at every step.

    Published learning rates are MeZO's. A block is moved in one of B steps, so per parameter B
    times fewer updates are made than with MeZO at equal steps.

    Differences from the published code: none is public. Which leaves form a block and in which
    order they come is this library's reading of the paper: a new permutation each cycle.

    Args:
      learning_rate: `eta > 0`, a number or a schedule.
      num_directions: K, pairs a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      order: `"random"`, a new permutation each cycle; `"cyclic"`, one permutation for the run;
        `"ascending"`, from the embedding through the layers to the head.
      blocks: `path -> label`; leaves of one label form a block, or a block a layer where all are
        stacks of equally many layers. None for the default above.
      always: leaves that every step moves, as a new head that would else learn B times slower.
      rank: r of the directions of a matrix; None for full Gaussian ones, `"auto"` for 1 where both
        sides have 64 units or more, else None; `"signs"` for full ones of 1 and -1, which are
        drawn faster.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell;
        negative axes, as it is asked about stacks and about single layers.
      chunk_size: forward passes that run at once; None is all 2 K, which share what lies before
        the block, for 2 K times the activations behind it.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.

    Raises:
      ValueError: an argument out of range.

    >>> import jax, jax.numpy as jnp, loren_jax
    >>> optimizer = mezo_bcd(0.1)
    >>> params = {"embedding": jnp.ones((2, 2)), "layers": {"kernel": jnp.ones((3, 2, 2))}}
    >>> loss = lambda params: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))
    >>> step, state = loren_jax.train_step(loss, optimizer), optimizer.init(params)
    >>> for _ in range(100):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 4)
    True

    References:
      MeZO-BCD, https://arxiv.org/abs/2501.19099
    """
    chunk_size = 2 * num_directions if chunk_size is None else chunk_size
    directions = isotropic(rank, matrix_axes)
    estimator = estimate(
        directions, two_sided(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    optimizer = chain(estimator, descend(learning_rate))
    parts = {"order": order, "blocks": blocks, "always": always, "matrix_axes": matrix_axes}
    return blockwise(optimizer, **parts)


MEZO_BCD = Entry(
    mezo_bcd, "isotropic, one block a step", two_sided, "learning rate", "0",
    costs="2 K, in part shared",
    published={"num_directions": 1, "perturbation_scale": 1e-3, "rank": None},
)  # fmt: skip
