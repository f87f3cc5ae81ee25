"""The zeroth-order gradient estimate as an Optax transformation.

A step is two halves. *Probe* needs the model: it costs the forward passes and returns a few losses.
*Absorb* needs the losses alone: with the state it determines the update. So `update` takes either
`value_fn` and does both, or `losses` from elsewhere (a journal, another process) and does the
second.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key

from loren_jax import arguments, noise, schemes
from loren_jax.directions.apart import apart
from loren_jax.directions.queries import draw_queries, one_query
from loren_jax.estimators.update_arguments import (
    of_shape,
    require_no_updates,
    require_one,
    require_params,
    require_rows,
    require_spelling,
)
from loren_jax.evaluation._materialised import displace
from loren_jax.evaluation._perturbed import perturbed
from loren_jax.evaluation._sharded.layout import layout_of
from loren_jax.evaluation.queries import evaluate_queries
from loren_jax.evaluation.rows import evaluate_rows
from loren_jax.losses._per_example import Rows
from loren_jax.losses.loss_function import loss_and_aux
from loren_jax.precision import loss_dtype
from loren_jax.transformation import Update, ZerothOrder
from loren_jax.types import (
    Coefficients,
    Distribution,
    EstimateState,
    Evaluation,
    PyTree,
    ScalarOrSchedule,
    Scheme,
    Seed,
)
from loren_jax.updates import cast_like


def estimate(
    directions: Distribution,
    scheme: Scheme,
    num_directions: int,
    perturbation_scale: ScalarOrSchedule = 1e-3,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Seed = 0,
) -> ZerothOrder:
    r"""Replaces the updates by a zeroth-order estimate of the gradient.

    .. math:: \hat g = \sum_{k=1}^{K} c_k y_k, \qquad y_k \sim \text{directions},
        \quad c = \text{scheme}\big(f(x + \varepsilon p_s y_k)\big)

    `update(updates, state, params, *, value_fn=None, losses=None, has_aux=False, **extra)` takes
    exactly one of

    * `value_fn`: the loss, `params -> scalar`. Close over the batch; it stays the same for all
      queries of a step. Costs `num_directions * len(scheme.points)` forward passes. With
      `has_aux=True` it returns `(loss, aux)`; it may also return an object with the field `loss`.
      The auxiliary outputs of all queries are in the state, `(K, S, ...)`: see `with_aux`.
    * `losses`: the `(K, S)` losses of this very step, queried elsewhere. Costs no forward pass.

    `updates` is None: there is no gradient to take. Zeros are taken too. Unknown extra arguments
    are ignored, as Optax asks.

    Args:
      directions: the distribution of perturbations, and what it learns.
      scheme: where the loss is queried and how losses become coefficients.
      num_directions: K, directions a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      chunk_size: forward passes that run at once; 1 is a loop, K S is one `vmap`; None takes all,
        or those of one direction where noise is drawn on demand, if memory allows it, else 1.
      evaluation: how one query runs; None is `evaluation.perturbed`, and `evaluation.materialised`
        is its oracle. None and not the function, as `optax.inject_hyperparams` takes every function
        for a schedule.
      key: a seed or a threefry key; the only source of randomness.

    Returns:
      An Optax transformation with an `EstimateState`, `accumulate`, `ask`. Its update has the
      parameters' shapes and dtypes and points uphill, as a gradient does. Losses that are not
      finite have no weight: where none is finite the estimate is zero, and
      `optax.tree.get(state, "nonfinite")` counts them.

    Raises:
      ValueError: an argument out of range; in `update`, `params` missing, none or both of
        `value_fn` and `losses`, or updates that are not zero.
      TypeError: in `update`, a misspelt argument, or a `value_fn` that is no function or returns no
        floating-point scalar.

    >>> from loren_jax import directions, schemes
    >>> tx = estimate(directions.isotropic(), schemes.two_sided(), num_directions=1)
    >>> params = {"w": jnp.ones(3)}
    >>> loss = lambda params: jnp.sum(params["w"] ** 2)
    >>> state = tx.init(params)
    >>> gradient, state = tx.update(None, state, params, value_fn=loss)
    >>> optax.tree.get(state, "losses").shape
    (1, 2)
    """
    why = ": this scheme compares the queries of a step with each other, so raise num_directions"
    why = "" if scheme.min_directions == 1 else why
    arguments.count("num_directions", num_directions, scheme.min_directions, why)
    arguments.positive_at_start("perturbation_scale", perturbation_scale)
    if chunk_size is not None:
        arguments.count("chunk_size", chunk_size)
    own = _Estimate(directions, scheme, num_directions, perturbation_scale, chunk_size, evaluation)

    def init(params: PyTree) -> EstimateState:
        run = noise.run_key(key)
        if params is None:  # a tree without leaves passes, as Optax initialises with one
            require_params(params)
        return EstimateState(
            count=jnp.zeros((), jnp.int32),
            key=noise.words(run),
            directions=directions.init(params, noise.fold_name(run, "init")),
            losses=jnp.full(own.shape, jnp.inf, loss_dtype()),
            loss=jnp.asarray(jnp.inf, loss_dtype()),
            nonfinite=jnp.zeros((), jnp.int32),
        )

    def update(updates, state, params=None, **given):
        estimated, state = accumulate(state, params, None, 1.0, **given)
        require_no_updates(updates)  # behind what else may be wrong, which says more
        return cast_like(params, estimated), state

    def accumulate(
        state, params, into, factor, *, value_fn=None, losses=None, has_aux=False, **extra
    ):
        require_spelling(extra)
        require_one(value_fn, losses, extra)
        return own.step(state, params, into, factor, value_fn, losses, has_aux)

    linear = accumulate if directions.linear else None
    passes = schemes.forward_passes(scheme, num_directions)
    facts = {"scheme": scheme, "passes": passes, "displacement": own.displacement}
    return ZerothOrder(init, Update(update, own.ask, linear, **facts))


@dataclass(frozen=True)
class _Estimate:
    """The arguments of `estimate`, and what it does with them."""

    directions: Distribution
    scheme: Scheme
    num_directions: int
    perturbation_scale: Any
    chunk_size: int | None
    evaluation: Evaluation | None

    @property
    def shape(self) -> tuple[int, int]:
        """`(K, S)`."""
        return self.num_directions, len(self.scheme.points)

    def step(self, state, params, into, factor, value_fn, losses, has_aux):
        """`(into + factor * estimate, state)`."""
        params, layout = require_params(params), layout_of(self.evaluation)
        scale = arguments.value_at(self.perturbation_scale, state.count)
        aux = optax.tree.zeros_like(state.aux)
        with layout.context():
            described, learned, drawn, axes = self.draw(state, params, layout)
            if value_fn is not None:
                queried, aux = self.query(value_fn, has_aux, params, drawn, axes, scale)
                # A replay gets them as numbers: no sum of the loss may be fused with what follows.
                losses = apart(lambda: queried, queried)
            losses, aux = layout.replicate((of_shape(losses, self.shape), aux))
            slope, score = schemes.weigh(self.scheme, losses, scale)
            # What is learned is kept in float32.
            coefficients = Coefficients(slope * factor, score.astype(jnp.float32))
            absorb = self.directions.absorb
            total, learned = absorb(learned, described, drawn, coefficients, into)
            total, learned = layout.place_as_params(total), layout.place_learned(learned, params)
        return total, _next(state, learned, losses, aux)

    def query(self, value_fn, has_aux, params, drawn, axes, scale):
        """The losses of the step and what else the loss returns."""
        how: dict[str, Any] = {"points": self.scheme.points, "scale": scale}
        how |= {"chunk_size": self.chunk_size}
        how |= {"evaluation": self.evaluation or perturbed, "axes": axes}
        if not isinstance(value_fn, Rows):
            return evaluate_queries(loss_and_aux(value_fn, has_aux), params, drawn, **how)
        require_rows(value_fn.number, self.num_directions, self.scheme)
        of_row = lambda number: loss_and_aux(value_fn.of_row(number), has_aux)
        return evaluate_rows(of_row, value_fn.number, params, drawn, **how)

    def ask(self, params, state, direction, point):
        """The parameters at which one loss is asked for."""
        layout = layout_of(self.evaluation)
        drawn, multiple = self.displacement(params, state, direction, point)
        with layout.context():
            return layout.place_as_params(displace(params, drawn, multiple))

    def displacement(self, params, state, direction, point):
        """The directions of one query, and the multiple of them that is added."""
        params, layout = require_params(params), layout_of(self.evaluation)
        scale = arguments.value_at(self.perturbation_scale, state.count)
        multiple = jnp.asarray(self.scheme.points, jnp.float32)[point] * scale
        with layout.context():
            _, _, drawn, axes = self.draw(state, params, layout)
            return one_query((drawn, axes), direction), multiple

    def draw(self, state, params, layout):
        """What the parameters are, what has been learned, the step's directions and their axes.

        Which of the directions' arrays have an axis K, the axes tell.
        """
        key = noise.fold(noise.from_words(state.key), state.count)
        described = layout.describe(params)
        refresh = self.directions.refresh
        learned = refresh(state.directions, described, noise.fold_name(key, "refresh"))
        learned = layout.place_learned(learned, params)
        queries = query_keys(state, self.num_directions)
        draw = lambda query: self.directions.draw(learned, described, query)
        drawn, axes = draw_queries(draw, queries)
        return described, learned, layout.place_directions(drawn, described, learned), axes


def query_keys(state: EstimateState, number: int) -> Key[Array, " number"]:
    """The keys of the directions of the step that a state is about to take.

    Args:
      state: its `key` and `count` say which.
      number: K.

    Returns:
      Typed keys.
    """
    return noise.fold_all(noise.fold(noise.from_words(state.key), state.count), (number,))


def _next(state: EstimateState, learned: PyTree, losses: jax.Array, aux: PyTree) -> EstimateState:
    finite = schemes.usable(losses)
    return state._replace(
        count=jnp.asarray(optax.safe_increment(state.count)),
        directions=learned,
        losses=losses,
        loss=jnp.sum(jnp.where(finite, losses, 0.0)) / jnp.sum(finite),
        nonfinite=state.nonfinite + jnp.sum(~finite, dtype=jnp.int32),
        aux=aux,
    )
