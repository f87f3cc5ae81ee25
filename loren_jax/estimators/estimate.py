"""The zeroth-order gradient estimate as an Optax transformation.

A step is two halves. *Probe* needs the model: it costs the forward passes and returns a few losses.
*Absorb* needs the losses alone: with the state it determines the update. So `update` takes either
`value_fn` and does both, or `losses` from elsewhere (a journal, another process) and does the
second.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from loren_jax import arguments, noise
from loren_jax.directions.queries import draw_queries
from loren_jax.evaluation.perturbed import perturbed
from loren_jax.evaluation.queries import evaluate_queries
from loren_jax.types import Directions, EstimateState, Evaluation, PyTree, Scheme


class Estimator(optax.GradientTransformationExtraArgs):
    """An estimate that can also be added to a tree without being built first.

    Attributes:
      accumulate: `(state, params, into, factor, *, value_fn=None, losses=None) -> (tree, state)`:
        `into + factor * estimate`, in the dtypes of `into` and leaf by leaf, layer by layer.
    """

    accumulate: Callable[..., tuple[PyTree, EstimateState]]

    def __new__(cls, init, update, accumulate):  # noqa: D102
        self = super().__new__(cls, init, update)
        self.accumulate = accumulate
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
      An `optax.GradientTransformationExtraArgs` with an `EstimateState`, and `accumulate`. Its
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

    def step(state, params, value_fn, losses, into, factor):
        params = _given(params)
        _check_exactly_one(value_fn, losses)
        scale = arguments.scheduled(perturbation_scale, state.count)
        step = noise.fold(state.key, state.count)
        learned = directions.refresh(state.directions, params, noise.fold_name(step, "refresh"))
        number, cases = _cases(directions, learned, params)
        queries = noise.fold_all(step, (num_directions,))

        def draw(case):
            return draw_queries(lambda query: case.draw(learned, params, query), queries)

        def probe(case):
            drawn, axes = draw(case)
            return evaluate_queries(
                value_fn,
                params,
                drawn,
                axes=axes,
                points=scheme.points,
                scale=scale,
                evaluation=evaluation or perturbed,
                chunk_size=chunk_size,
            )

        if value_fn is not None:
            losses = _switch(number, [partial(probe, case) for case in cases])
        losses = _of_shape(losses, shape)
        coefficients = scheme.weigh(losses, scale)
        coefficients = coefficients._replace(slope=coefficients.slope * factor)
        absorb = lambda case, into: case.absorb(learned, params, draw(case)[0], coefficients, into)
        if number is None:
            total, learned = absorb(cases[0], into)
        else:
            total = _absorb_case(number, cases, absorb, params, into)
        return total, _next(state, learned, losses)

    return Estimator(init, update, accumulate)


def _cases(directions: Directions, state: PyTree, params: PyTree) -> tuple[Any, list[Directions]]:
    """The distributions of which the step follows one, and the number of that one."""
    return (None, [directions]) if directions.cases is None else directions.cases(state, params)


def _switch(number: Any, branches: list[Callable[[], jax.Array]]) -> jax.Array:
    return branches[0]() if number is None else jax.lax.switch(number, branches)


def _absorb_case(number: Any, cases: Any, absorb: Callable, params: PyTree, into: Any) -> PyTree:
    """The estimate of the case with this number, added to `into`.

    A loop of one turn or none, for each case: unlike a branch it changes its carry in place, so
    the leaves that a case does not touch cost nothing.
    """
    if into is None:
        into = jax.tree.map(lambda leaf: jnp.zeros(jnp.shape(leaf), jnp.float32), params)
    for i, case in enumerate(cases):
        turns = (number == i).astype(jnp.int32)
        into = jax.lax.fori_loop(0, turns, lambda _, into, case=case: absorb(case, into)[0], into)
    return into


def _next(state: EstimateState, learned: PyTree, losses: jax.Array) -> EstimateState:
    finite = jnp.isfinite(losses)
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
