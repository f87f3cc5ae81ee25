"""Directions along the inputs of each matrix, where the signal lies."""

from collections.abc import Mapping
from typing import Any

from optax import ScalarOrSchedule

from loren_jax.directions import spanned
from loren_jax.directions.matrices import AxesOf
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry
from loren_jax.schemes import leave_one_out
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, Rank, Scalar, Seed


def input_subspace(
    learning_rate: ScalarOrSchedule,
    factors: Mapping[str, Any],
    *,
    num_directions: int = 6,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    momentum: Scalar | None = None,
    rank: Rank = "auto",
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""Leave-one-out descent along the principal directions of every matrix's inputs.

    .. math::

        Y_k = Z_k A^\top, \quad Z_k \in R^{m \times q} \text{ standard normal}, \qquad
        f_k = f(X + \varepsilon Y_k), \qquad
        c_k = \frac{1}{K - 1} \Big( f_k - \tfrac{1}{K} \sum_j f_j \Big)

    .. math::

        M \leftarrow \beta M + \frac{1}{\varepsilon} \sum_k c_k Y_k, \qquad
        X \leftarrow X - \eta (M + \lambda X)

    The gradient of a matrix lies in the span of the vectors that flow into it, so the q directions
    along which these vary most hold most of the signal, and few dimensions of noise. `A` is found
    once, before the first step, by `loren_jax.inputs.input_factors`: one forward pass, without
    labels. An m x n matrix moves within the span of its `A` on the fan-in side; where its q
    directions are fewer than n, what lies outside of them is never trained. Leaves without factors,
    such as biases, have isotropic directions. On MiniLM's head it reaches a loss in a fifth of the
    passes of isotropic directions; on a prompted decoder sixteen directions alike need a third of
    MeZO's, weighted by their variances (`power=1`) they gain nothing; see the references.

    Costs K forward passes a step. State: `A`, n q floats for an m x n matrix, and with momentum one
    float32 copy of the trained parameters. A direction takes m q random numbers, and all queries
    share one projection of the activations.

    Args:
      learning_rate: `eta > 0`, a number or a schedule; 3 to 10 times that of isotropic directions.
      factors: path of a leaf, such as `layers/up/kernel`, to its `A`: `(*stack, n, q)`.
      num_directions: K >= 2.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      momentum: `beta`; None keeps no buffer.
      rank: of the directions of matrices without factors; see `loren`.
      weight_decay: `lambda`, decoupled, once a step.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.

    Raises:
      ValueError: an argument out of range; on `init`, factors of the wrong shape, or of no leaf.

    >>> import jax.numpy as jnp, loren_jax
    >>> from loren_jax.inputs import input_factors
    >>> x = jnp.asarray([[1.0, 2.0, 0.0, 0.0], [-2.0, 1.0, 0.0, 0.0], [1.0, -3.0, 0.0, 0.0]])
    >>> loss = lambda params: jnp.mean((x @ params["kernel"] - x[:, :2]) ** 2)
    >>> params = {"kernel": jnp.zeros((4, 2))}
    >>> optimizer = input_subspace(0.03, input_factors(loss, params, count=2))
    >>> step, state = loren_jax.train_step(loss, optimizer), optimizer.init(params)
    >>> for _ in range(100):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 1e-3)
    True
    >>> params["kernel"][2:].tolist()  # nothing flows in there, so nothing moves
    [[0.0, 0.0], [0.0, 0.0]]

    References:
      benchmarks/RESEARCH.md of this package; the scheme is that of LOREN,
      https://arxiv.org/abs/2511.07971
    """
    directions = spanned(factors, rank, matrix_axes)
    estimator = estimate(
        directions, leave_one_out(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    return chain(estimator, descend(learning_rate, momentum=momentum, weight_decay=weight_decay))


INPUT_SUBSPACE = Entry(
    input_subspace,
    "along the inputs of each matrix",
    leave_one_out,
    "momentum, learning rate",
    "n q; with momentum + N",
    costs="K, at the start one of each batch of inputs",
    unit="directions",
)
