"""The contracts between the parts; no computation.

A zeroth-order step is *directions* x *scheme* x *evaluation*, followed by an ordinary Optax chain:

* A `Distribution` says what is perturbed and how, and what it learns from the losses.
* A `Scheme` says at which multiples of a direction the loss is queried, and how the losses become
  one coefficient per direction.
* An `Evaluation` says how one query runs on the hardware. It never changes the result.

`loren_jax.estimators.estimate` puts the three together as an Optax transformation. Every method of
the library is a point of this design; see `loren_jax.optimizers`.

Letters: `K` directions of one step, `S` points a direction, `m` fan-out, `n` fan-in, `r` rank.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int, Key, UInt32

PyTree: TypeAlias = Any
"""Any nested container of arrays; parameters, states and trees of directions are such."""

JSON: TypeAlias = str | int | float | bool | list[Any] | tuple[Any, ...] | dict[str, Any] | None
"""What a line of a file of ours can say."""

Scalar: TypeAlias = float | int | Array
"""A number, or what `optax.inject_hyperparams` makes of one."""

Rank: TypeAlias = int | Literal["auto"] | None
"""Of directions: None for full Gaussian ones, an integer r for rank-r matrices; `"auto"` is rank 1
for matrices of 64 units or more on both sides and full Gaussian for all else."""

RankOrSigns: TypeAlias = int | Literal["auto", "signs"] | None
"""As `Rank`; `"signs"` is full directions of independent signs, 1 or -1, of the same covariance as
Gaussian ones. Sixty-four take the random bits of one Gaussian number, which where few tokens meet
a weight is most of what a step costs."""

ScalarOrSchedule: TypeAlias = Scalar | Callable[[ArrayLike], ArrayLike]
"""A number, or what it is at each step, as Optax's schedules are."""

Index: TypeAlias = int | np.integer | Int[Array, ""]
"""Which one of several: a layer, a query, a column; traced or not."""

Seed: TypeAlias = int | np.integer | Array | np.ndarray
"""What a run's key is made of, by `loren_jax.noise.run_key`: an integer, or one threefry key, typed
(`jax.random.key`) or raw (`jax.random.PRNGKey`); traced or not. Keys of other generators are
refused there."""

Leaf: TypeAlias = ArrayLike | jax.ShapeDtypeStruct
"""A leaf of the parameters, or its description."""

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


@runtime_checkable
class HasShapeAndDtype(Protocol):
    """Arrays of JAX and NumPy, descriptions of such, literals of a traced program."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        ...

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        ...


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


class InitFn(Protocol):
    """What a distribution knows before the first step."""

    def __call__(self, params: PyTree, key: Key[Array, ""], /) -> PyTree:
        """Returns the state, arrays of shapes that never change.

        Args:
          params: the parameters; only shapes, dtypes and paths matter.
          key: for what is drawn once a run.
        """
        ...


class RefreshFn(Protocol):
    """What happens at the start of a step, before any draw, as a basis that is drawn anew."""

    def __call__(self, state: PyTree, params: PyTree, key: Key[Array, ""], /) -> PyTree:
        """Returns the state that the step's queries are drawn with."""
        ...


class DrawFn(Protocol):
    """The draw of one query."""

    def __call__(self, state: PyTree, params: PyTree, key: Key[Array, ""], /) -> PyTree:
        """Returns a `loren_jax.directions.Direction` for each leaf.

        Args:
          state: as refreshed.
          params: the parameters; only shapes, dtypes and paths matter.
          key: the query's own.
        """
        ...


class AbsorbFn(Protocol):
    """The estimate and what is learned, from coefficients alone.

    One call does both, because for seeded noise drawing it again is most of the cost of either.
    """

    def __call__(
        self,
        state: PyTree,
        params: PyTree,
        directions: PyTree,
        coefficients: Coefficients,
        into: PyTree | None = None,
    ) -> tuple[PyTree, PyTree]:
        """Returns `(estimate, state)`.

        Args:
          state: as refreshed.
          params: the parameters; only shapes, dtypes and paths matter.
          directions: of the step's K queries, their own arrays with a leading axis K.
          coefficients: of the K directions.
          into: a tree that the estimate is added to, in its dtypes and in place where it is
            donated; None for the estimate alone, which is float32.
        """
        ...


class Distribution(NamedTuple):
    """A distribution of perturbations for a pytree of parameters, and what it learns. Pure.

    Attributes:
      init: `(params, key) -> state`.
      refresh: `(state, params, key) -> state`.
      draw: `(state, params, key) -> tree of Direction`.
      absorb: `(state, params, directions, coefficients, into=None) -> (estimate, state)`.
      linear: whether the estimate is linear in the coefficients, so that a learning rate can be
        multiplied into them.
    """

    init: InitFn
    refresh: RefreshFn
    draw: DrawFn
    absorb: AbsorbFn
    linear: bool = True


class Query(NamedTuple):
    """How to query a function at perturbed parameters.

    Attributes:
      run: `(directions of one query, scale) -> what the function returns`, any pytree of arrays, at
        `params + scale * directions`.
      activation_bytes: the largest value that one query computes for itself; None where a query
        costs a copy of the parameters, so that only one should run at a time.
      shared_bytes: of the parameters and of what the function closes over, what each query reads.
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
