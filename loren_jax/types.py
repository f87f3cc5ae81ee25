"""The contracts between the parts; no computation.

A zeroth-order step is *directions* x *scheme* x *evaluation*, followed by an ordinary Optax chain:

* `Directions` say what is perturbed and how: the distribution, and what it learns.
* a `Scheme` says at which multiples of a direction the loss is queried, and how the losses become
  one coefficient per direction.
* an `Evaluation` says how one query runs on the hardware. It never changes the result.

`loren_jax.estimators.estimate` puts the three together as an Optax transformation. Every method of
the library is a point of this design; see `loren_jax.optimizers`.

Letters: `K` directions of one step, `S` points a direction, `m` fan-out, `n` fan-in, `r` rank.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

from jaxtyping import Array, Float, Int, Key, UInt32

PyTree: TypeAlias = Any
"""Any nested container of arrays; parameters, states and trees of directions are such."""

Scalar: TypeAlias = float | int | Array
"""A number, or what `optax.inject_hyperparams` makes of one."""

Rank: TypeAlias = int | Literal["auto"] | None
"""Of directions: None for full Gaussian ones, an integer r for rank-r matrices; `"auto"` is rank 1
for matrices of 64 units or more on both sides and full Gaussian for all else."""

Loss: TypeAlias = Float[Array, ""]
ValueFn: TypeAlias = Callable[[PyTree], Any]
"""The user's own loss: parameters in, a scalar out. Data is closed over. What else it may return,
`loren_jax.losses.loss_function` says."""

LossAndAux: TypeAlias = tuple[Loss, PyTree]
"""A loss and auxiliary outputs, `()` where there are none."""

Mask: TypeAlias = PyTree | Callable[[str], bool] | Callable[[PyTree], PyTree]
"""Which leaves are trained: a pytree of bools like the parameters, a function of a leaf's path, or
one of the tree that returns such a pytree, as Optax has them."""


class MatrixAxes(NamedTuple):
    """Which axes of a leaf form the matrices that it is a stack of.

    Attributes:
      fan_in: the axis, or axes, that a forward pass sums over. The covariance lives here.
      fan_out: the axis, or axes, of the outputs; empty where the leaf is a stack of vectors.

    All other axes are the stack (layers). Negative axes count from the end.

    >>> MatrixAxes(fan_in=-2, fan_out=-1)  # a Flax `kernel`, alone or stacked over layers
    MatrixAxes(fan_in=-2, fan_out=-1)
    """

    fan_in: int | tuple[int, ...]
    fan_out: int | tuple[int, ...] = ()


class Coefficients(NamedTuple):
    """What a scheme makes of the losses; float32.

    Attributes:
      slope: factor of each direction in the estimate of the gradient, loss per unit of parameter.
        Shape `(K,)`.
      score: factor of each direction's score of log p in the gradient that the distribution's own
        parameters get, in units of the loss. Shape `(K,)`.
    """

    slope: Float[Array, " K"]
    score: Float[Array, " K"]


class Scheme(NamedTuple):
    """Where the loss is queried along a direction, and how losses become coefficients.

    Attributes:
      points: multiples of `perturbation_scale * direction` at which the loss is queried (length S).
      weigh: `(losses of shape (K, S), perturbation_scale) -> Coefficients`. A loss that is not
        finite gets weight zero, as does what it is compared with.
      min_directions: the least K that this scheme can work with.
    """

    points: tuple[float, ...]
    weigh: Callable[[Float[Array, "K S"], Float[Array, ""]], Coefficients]
    min_directions: int = 1


class Directions(NamedTuple):
    """A distribution of perturbations for a pytree of parameters, and what it learns. Pure.

    Attributes:
      init: `(params, key) -> state`.
      refresh: `(state, params, key) -> state`, at the start of a step, before any draw.
      draw: `(state, params, key) -> tree`, one query: for each leaf a
        `loren_jax.directions.Direction`. Only shapes, dtypes and paths of `params` matter.
      absorb: `(state, params, directions, coefficients, into=None) -> (estimate, state)`. The
        directions carry a leading axis K. One call both sums the estimate and learns, because for
        seeded noise the dear part of either is to draw the noise again. The estimate is float32;
        with a tree `into` it is added to that, in its dtypes and in place where it is donated.
      linear: whether the estimate is linear in the coefficients, so that a learning rate can be
        multiplied into them.
    """

    init: Callable[[PyTree, Key[Array, ""]], PyTree]
    refresh: Callable[[PyTree, PyTree, Key[Array, ""]], PyTree]
    draw: Callable[[PyTree, PyTree, Key[Array, ""]], PyTree]
    absorb: Callable[..., tuple[PyTree, PyTree]]
    linear: bool = True


class Query(NamedTuple):
    """How to query a function at perturbed parameters.

    Attributes:
      run: `(directions of one query, scale) -> what the function returns`, any pytree of arrays, at
        `params + scale * directions`.
      activation_bytes: the largest value that one query computes for itself; None where a query
        costs a copy of the parameters, so that only one should run at a time.
      shared_bytes: what all queries share beside the parameters, as what the function closes over.
      groups: of devices, that the queries of a step are spread over.
      spread: `(numbers -> results, number) -> results`: those of all queries, each group evaluating
        its share; None where there is one group.
    """

    run: Callable[[PyTree, Float[Array, ""]], PyTree]
    activation_bytes: int | None = None
    shared_bytes: int = 0
    groups: int = 1
    spread: Callable[[Callable[[Array], PyTree], int], PyTree] | None = None


Evaluation: TypeAlias = Callable[[Callable[[PyTree], PyTree], PyTree], Query]
"""`(function, params) -> Query`. The parameters are never modified. Which evaluation is used
changes the result by rounding alone. Where weights are, or are cast to, a narrow type, that can be
much: perturbed copies round the perturbation together with the weight, so what is below half a
spacing of the weight is lost; `perturbed` keeps it in float32 and is the better of the two."""


class EstimateState(NamedTuple):
    """State of `estimate`. Losses are those of the latest step, before its update.

    Attributes:
      count: steps taken.
      key: the numbers of the run's key; a step's noise is a function of it and of `count`. Numbers,
        as files and NumPy take no typed keys.
      directions: what the distribution has learned.
      losses: every loss of the step as queried, finite or not; float64 where JAX has that on.
      loss: mean of the finite ones, NaN where there is none; infinite before the first step.
      nonfinite: how many losses of the whole run were not finite.
      aux: the auxiliary outputs of the step's queries, each array `(K, S, ...)`; `()` where the
        loss has none, before the first step (see `loren_jax.with_aux`) and zeros after one that was
        given losses.
    """

    count: Int[Array, ""]
    key: UInt32[Array, "2"]
    directions: PyTree
    losses: Float[Array, "K S"]
    loss: Float[Array, ""]
    nonfinite: Int[Array, ""]
    aux: PyTree = ()
