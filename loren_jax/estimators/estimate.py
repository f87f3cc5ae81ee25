"""The zeroth-order gradient estimate as an Optax transformation.

A step is two halves. *Probe* needs the model: it costs the forward passes and returns a few losses.
*Absorb* needs the losses alone: with the state it determines the update. So `update` takes either
`value_fn` and does both, or `losses` from elsewhere (a journal, another process) and does the
second.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from loren_jax import arguments, noise, schemes
from loren_jax.directions.queries import draw_queries, one_query
from loren_jax.evaluation.materialised import displaced
from loren_jax.evaluation.perturbed import perturbed
from loren_jax.evaluation.queries import evaluate_queries
from loren_jax.evaluation.sharded.layout import Layout, Whole, layout_of
from loren_jax.types import Coefficients, Directions, EstimateState, Evaluation, PyTree, Scheme


class Estimator(optax.GradientTransformationExtraArgs):
    """An estimate that can also be added to a tree without being built first.

    Attributes:
      accumulate: `(state, params, into, factor, *, value_fn=None, losses=None) -> (tree, state)`:
        `into + factor * estimate`, in the dtypes of `into` and leaf by leaf, layer by layer.
      ask: `(params, state, direction, point) -> params`: a copy of the parameters, perturbed as for
        the loss in that row and column of the step's `losses`.
    """

    accumulate: Callable[..., tuple[PyTree, EstimateState]]
    ask: Callable[..., PyTree]

    def __new__(cls, init, update, accumulate, ask):  # noqa: D102
        self = super().__new__(cls, init, update)
        self.accumulate, self.ask = accumulate, ask
        return self


def estimate(
    directions: Directions,
    scheme: Scheme,
    *,
    num_directions: int,
    perturbation_scale: Any = 1e-3,
    chunk_size: int | None = None,
    evaluation: Evaluation | None = None,
    key: Any = 0,
) -> Estimator:
    r"""Replaces the updates by a zeroth-order estimate of the gradient.

    .. math:: \hat g = \sum_{k=1}^{K} c_k y_k, \qquad y_k \sim \text{directions},
        \quad c = \text{scheme}\big(f(x + \varepsilon p_s y_k)\big)

    `update(updates, state, params, *, value_fn=None, losses=None, **extra)` takes exactly one of

    * `value_fn`: the loss, `params -> scalar`. Close over the batch; it stays the same for all
      queries of a step. Costs `num_directions * len(scheme.points)` forward passes.
    * `losses`: the `(K, S)` losses of this very step, queried elsewhere. Costs no forward pass.

    `updates` is ignored and may be None. Unknown extra arguments are ignored, as Optax asks.

    Args:
      directions: the distribution of perturbations, and what it learns.
      scheme: where the loss is queried and how losses become coefficients.
      num_directions: K, directions a step.
      perturbation_scale: `epsilon > 0`, a number or a schedule, in units of the parameters.
      chunk_size: forward passes that run at once; None for all where memory allows it, else 1.
      evaluation: how one query runs; None is `evaluation.perturbed`. None and not the function, as
        `optax.inject_hyperparams` takes every function for a schedule.
      key: a seed or a threefry key; the only source of randomness.

    Returns:
      An `optax.GradientTransformationExtraArgs` with an `EstimateState`, `accumulate`, `ask`. Its
      update has the parameters' shapes and dtypes and points uphill, as a gradient does.

    Raises:
      ValueError: an argument out of range; in `update`, `params` missing, or none or both of
        `value_fn` and `losses`.

    >>> from loren_jax import directions, schemes
    >>> tx = estimate(directions.isotropic(), schemes.two_sided(), num_directions=1)
    >>> params = {"w": jnp.ones(3)}
    >>> loss = lambda params: jnp.sum(params["w"] ** 2)
    >>> state = tx.init(params)
    >>> gradient, state = tx.update(None, state, params, value_fn=loss)
    >>> optax.tree.get(state, "losses").shape
    (1, 2)
    """
    arguments.count("num_directions", num_directions, scheme.min_directions, _why(scheme))
    arguments.positive("perturbation_scale", perturbation_scale)
    if chunk_size is not None:
        arguments.count("chunk_size", chunk_size)
    shape = (num_directions, len(scheme.points))
    layout = layout_of(evaluation)

    def init(params: PyTree) -> EstimateState:
        run = noise.run_key(key)
        return EstimateState(
            count=jnp.zeros((), jnp.int32),
            key=run,
            directions=directions.init(_given(params), noise.fold_name(run, "init")),
            losses=jnp.full(shape, jnp.inf, jnp.float32),
            loss=jnp.asarray(jnp.inf, jnp.float32),
            nonfinite=jnp.zeros((), jnp.int32),
        )

    def update(updates, state, params=None, *, value_fn=None, losses=None, **extra):
        del updates, extra
        estimated, state = step(state, params, value_fn, losses, None, 1.0)
        cast = lambda leaf, gradient: gradient.astype(jnp.result_type(leaf))
        return jax.tree.map(cast, params, estimated), state

    def accumulate(state, params, into, factor, *, value_fn=None, losses=None):
        return step(state, params, value_fn, losses, into, factor)

    def ask(params, state, direction, point):
        params = _given(params)
        scale = arguments.scheduled(perturbation_scale, state.count)
        multiple = jnp.asarray(scheme.points, jnp.float32)[point] * scale
        moved = lambda drawn: displaced(params, one_query(drawn, direction), multiple)
        with layout.context():
            step = _Step(directions, state, params, num_directions, layout)
            return layout.placed(step.probe(moved))

    def query(value_fn, params, scale, drawn):
        settings = {"evaluation": evaluation or perturbed, "chunk_size": chunk_size}
        where = {"points": scheme.points, "scale": scale, "axes": drawn[1]}
        return evaluate_queries(value_fn, params, drawn[0], **where, **settings)

    def step(state, params, value_fn, losses, into, factor):
        params = _given(params)
        _check_exactly_one(value_fn, losses)
        scale = arguments.scheduled(perturbation_scale, state.count)
        with layout.context():
            step = _Step(directions, state, params, num_directions, layout)
            if value_fn is not None:
                losses = step.probe(lambda drawn: query(value_fn, params, scale, drawn))
            losses = layout.everywhere(_of_shape(losses, shape))
            coefficients = scheme.weigh(losses, scale)
            coefficients = coefficients._replace(slope=coefficients.slope * factor)
            total, learned = step.absorb(coefficients, into)
            total, learned = layout.placed(total), layout.learned(learned, params)
        return total, _next(state, learned, losses)

    return Estimator(init, update, accumulate, ask)


class _Step:
    """One step's directions: drawn when they are asked for, of the case that the step follows."""

    def __init__(
        self,
        directions: Directions,
        state: EstimateState,
        params: PyTree,
        number: int,
        layout: Layout | Whole,
    ):
        key = noise.fold(state.key, state.count)
        self.layout, self.params = layout, layout.described(params)
        learned = directions.refresh(state.directions, self.params, noise.fold_name(key, "refresh"))
        self.learned = layout.learned(learned, params)
        self.queries = noise.fold_all(key, (number,))
        if directions.cases is None:
            self.case, self.cases, self.drawn = None, [directions], self.draw(directions)
        else:
            self.case, self.cases = directions.cases(self.learned, self.params)

    def draw(self, case: Directions) -> tuple[PyTree, PyTree]:
        """The tree of K queries, and which of its arrays have an axis K."""
        draw = lambda query: case.draw(self.learned, self.params, query)
        tree, axes = draw_queries(draw, self.queries)
        return self.layout.drawn(tree, self.params, self.learned), axes

    def probe(self, query: Callable[[Any], Any]) -> Any:
        """What is asked of the directions: the losses."""
        if self.case is None:
            return query(self.drawn)
        branches = [lambda case=case: query(self.draw(case)) for case in self.cases]
        return jax.lax.switch(self.case, branches)

    def absorb(self, coefficients: Coefficients, into: PyTree | None) -> tuple[PyTree, PyTree]:
        """The estimate, added to `into`, and what was learned.

        Of several cases each has a loop of one turn or none: unlike a branch it changes its carry
        in place, so the leaves that a case does not touch cost nothing.
        """
        add = lambda case, drawn, into: case.absorb(
            self.learned, self.params, drawn, coefficients, into
        )
        if self.case is None:
            return add(self.cases[0], self.drawn[0], into)
        if into is None:
            into = jax.tree.map(lambda x: jnp.zeros(jnp.shape(x), jnp.float32), self.params)
        for i, case in enumerate(self.cases):
            turns = (self.case == i).astype(jnp.int32)
            turn = lambda _, into, case=case: add(case, self.draw(case)[0], into)[0]
            into = jax.lax.fori_loop(0, turns, turn, into)
        return into, self.learned


def _next(state: EstimateState, learned: PyTree, losses: jax.Array) -> EstimateState:
    finite = schemes.usable(losses)
    return EstimateState(
        count=jnp.asarray(optax.safe_increment(state.count)),
        key=state.key,
        directions=learned,
        losses=losses,
        loss=jnp.sum(jnp.where(finite, losses, 0.0)) / jnp.sum(finite),
        nonfinite=state.nonfinite + jnp.sum(~finite, dtype=jnp.int32),
    )


def _why(scheme: Scheme) -> str:
    return (
        ""
        if scheme.min_directions == 1
        else (
            ": this scheme compares the queries of a step with each other, so raise num_directions"
        )
    )


def _given(params: PyTree) -> PyTree:
    if params is None:
        raise ValueError(
            "params is None: directions are drawn around the parameters. Pass them, as in "
            "update(None, state, params, value_fn=loss)."
        )
    return params


def _check_exactly_one(value_fn: Any, losses: Any) -> None:
    if (value_fn is None) == (losses is None):
        raise ValueError(
            f"update got {'neither' if value_fn is None else 'both'} of value_fn and losses: pass "
            "value_fn=loss, a function of the parameters, to query the loss, or losses=array to "
            "absorb losses that were queried elsewhere."
        )


def _of_shape(losses: Any, shape: tuple[int, int]) -> jax.Array:
    losses = jnp.asarray(losses, jnp.float32)
    if losses.shape != shape:
        raise ValueError(
            f"losses has shape {losses.shape}, expected {shape}: one row for each of the "
            f"{shape[0]} directions, one column for each of the scheme's {shape[1]} points."
        )
    return losses
