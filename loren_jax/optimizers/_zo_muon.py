"""ZO-Muon: a subspace estimate, orthogonalised before it is lifted."""

from collections.abc import Callable, Hashable

import jax
import optax
from optax import ScalarOrSchedule

from loren_jax import arguments
from loren_jax.directions._subspace import subspace
from loren_jax.directions.matrices import AxesOf, view_of
from loren_jax.directions.orthogonal import Orthogonalise
from loren_jax.estimators import estimate
from loren_jax.optimizers.entry import Entry, rebuildable
from loren_jax.schemes import one_sided
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import chain, descend
from loren_jax.types import Evaluation, PyTree, Scalar, Seed


@rebuildable
def zo_muon(
    learning_rate: ScalarOrSchedule,
    *,
    num_directions: int = 4,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    vector_learning_rate: ScalarOrSchedule = 1e-7,
    rank: int = 64,
    every: int = 100,
    orthogonalise: Orthogonalise = "newton_schulz",
    power_rank: int | None = None,
    weight_decay: Scalar = 0.0,
    matrix_axes: AxesOf | None = None,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""ZO-Muon: descent along the orthogonalised estimate in a random subspace of the outputs.

    .. math::

        c_k = \frac{f(x + \varepsilon P \Psi_k) - f(x)}{\varepsilon K}, \qquad
        G = \sum_{k=1}^{K} c_k \Psi_k, \qquad
        W \leftarrow W - \eta P \, \mathrm{msign}(G)

    P (m x r) has orthonormal columns, uniform over all such bases; it is drawn every `every` steps
    and serves all queries. Psi (r x n) is standard normal. `msign` replaces the singular values of
    G by 1, up to the tolerance of five Newton-Schulz steps (`newton_schulz`). A matrix so moves by
    `learning_rate * sqrt(r)` in Frobenius norm at every step, whatever the scale of the loss: the
    learning rate alone makes it settle, so give it a schedule.

    With `orthogonalise="power"` this is ZO-MOPI: of G, most of which is noise, only the k leading
    singular directions count, as one power iteration a step finds them from the V of the step
    before:

    .. math::

        V \leftarrow \mathrm{QR}\big( G^\top (G V) \big), \qquad
        U_{:, i} = \frac{G V_{:, i}}{|G V_{:, i}|}, \qquad
        W \leftarrow W - \eta P U V^\top

    A matrix so moves by `learning_rate * sqrt(k)`. V is on the side of the inputs, so a new P keeps
    it. On one and the same G, U V^T tends to the matrix sign of its k leading directions; with k
    as large as `rank`, to that of G.

    Vectors move along the plain estimate, `x - eta_v sum c z`, with a learning rate of their own.

    Costs K + 1 forward passes a step: the loss at the parameters is queried once. State: P, m r
    floats for an m x n matrix of rank `r = min(rank, m, n)`; none for vectors.
    With `"power"` V as well, n k floats; it takes some r n k operations a matrix and a QR of n x k,
    in place of the products of r x n and r x r matrices of five Newton-Schulz steps.

    Published values: OPT-13B with learning rate 1e-2, vectors 1e-7, rank 64, `every` 100, K 4 and
    `perturbation_scale` 1e-3 over 8,000 steps (40,000 forward passes, as MeZO's 20,000 steps);
    vision transformers with K 16 and vectors 1e-4; K was searched in {4, 8, 16}. A small head is a
    matrix too: with 2 rows its step of norm `eta sqrt(2)` is coarse; an optimiser of its own mends
    that. ZO-MOPI's: k 32 of rank 64, `every` 500, K 8 and learning rate 1e-2, vectors 1e-7, over
    4,000 steps.

    **Differences from the published code.** There, the step that renews P draws one for each query
    and applies all of them through the last, so that once in `every` steps the update goes along
    directions that were never evaluated; here one P serves all queries and the update. There,
    Newton-Schulz runs in the parameters' dtype, where the norm of G can overflow; here in float32,
    and free of the scale of G. There, a rank above a matrix's dimension fails; here it is clamped.
    There, vectors are never decayed and their learning rate is a constant of the code; here every
    trained leaf is decayed at its own learning rate. ZO-MOPI's paper has pairs and a momentum, its
    code one-sided queries and by default none; here it is as the code.

    Args:
      learning_rate: `eta > 0` of matrices, a number or a schedule: the spectral norm of a step.
      num_directions: K, queries a step besides the one at the parameters.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters; an
        entry of `P Psi` has variance r / m on average.
      vector_learning_rate: `eta_v > 0` of vectors, a number or a schedule.
      rank: r, clamped to the lesser dimension of each matrix.
      every: steps that a P is kept.
      orthogonalise: `"newton_schulz"` makes all singular values of G 1, `"power"` keeps the leading
        singular directions alone.
      power_rank: k of `"power"`, clamped to the rank of each matrix; None is 32.
      weight_decay: decoupled, once a step, at each leaf's learning rate.
      matrix_axes: `(path, shape) -> MatrixAxes` for leaves whose axes Flax's names do not tell.
      chunk_size: forward passes that run at once; None for as many as memory allows.
      evaluation: how one query runs; None is `loren_jax.evaluation.perturbed`.
      key: a seed or a threefry key.

    Returns:
      The optimiser, whose `update` takes `value_fn` or `losses`; see `loren_jax.estimate`.

    Raises:
      ValueError: an argument out of range.

    >>> import jax.numpy as jnp, loren_jax
    >>> optimizer = zo_muon(optax.linear_schedule(0.1, 0.0, 100), rank=2, every=10)
    >>> params = {"kernel": jnp.ones((4, 3))}
    >>> loss = lambda params: jnp.sum(params["kernel"] ** 2)
    >>> step, state = loren_jax.train_step(loss, optimizer), optimizer.init(params)
    >>> for _ in range(100):
    ...     params, state = step(params, state)
    >>> bool(loss(params) < 1.0)
    True

    References:
      Lang et al., Powering Up Zeroth-Order Training via Subspace Gradient Orthogonalization, 2026,
      https://arxiv.org/abs/2602.17155
      ZO-MOPI, https://arxiv.org/abs/2605.09034
    """
    arguments.positive("vector_learning_rate", vector_learning_rate)
    directions = subspace(rank, every, matrix_axes, orthogonalise, power_rank)
    estimator = estimate(
        directions, one_sided(), num_directions, perturbation_scale, chunk_size, evaluation, key
    )
    after: dict[Hashable, optax.GradientTransformation] = {
        "matrix": descend(learning_rate, weight_decay=weight_decay),
        "vector": descend(vector_learning_rate, weight_decay=weight_decay),
    }
    return chain(estimator, optax.partition(after, _kinds(matrix_axes)))


ZO_MUON = Entry(
    zo_muon, "random subspace of the outputs", one_sided, "orthogonalised, two rates",
    "m r; with power + n k",
    published={"num_directions": 4, "perturbation_scale": 1e-3, "rank": 64, "every": 100,
               "vector_learning_rate": 1e-7},
    unit="leaves",
)  # fmt: skip


def _kinds(matrix_axes: AxesOf | None) -> Callable[[PyTree], PyTree]:
    """Says of each leaf whether it is a matrix or a vector."""

    def kind(path, leaf):
        return "vector" if view_of(path, leaf, matrix_axes).is_vector else "matrix"

    return lambda params: jax.tree_util.tree_map_with_path(kind, params)
