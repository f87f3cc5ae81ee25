"""A run: a method on a task, its held-out score against forward passes.

The steps between two evaluations are one compiled scan. On small tasks all learning rates and seeds
run side by side (`together`), on large ones each by itself (`alone`); the mathematics is the same.
Parameters are selected by the best evaluation on the dev split, the untrained ones included, and
the test score is theirs alone.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.evidence.methods import Method
from benchmarks.evidence.tasks import Task, take
from loren_jax.transformation import form


class Run(NamedTuple):
    """What a run measured.

    Attributes:
      passes: forward passes spent at each evaluation, from 0, `(E,)`.
      dev: scores on the dev split at each evaluation, `(E,)` each.
      test: score of the selected parameters on the test split.
      best: which evaluation selected them.
      seconds: time of the steps and evaluations, compilation included; None if not its own.
    """

    passes: np.ndarray
    dev: dict[str, np.ndarray]
    test: dict[str, float]
    best: int
    seconds: float | None = None

    @property
    def mean_loss(self) -> float:
        """Mean dev loss over the evaluations after the start, none worse than twice the start.

        What the learning rate is chosen by: it rewards a fall that is early and lasts.
        """
        losses = self.dev["loss"]
        bound = 2 * losses[0]
        return float(np.mean(np.minimum(np.nan_to_num(losses[1:], nan=bound), bound)))


def stepper(task: Task, method: Method) -> Callable[..., tuple[Any, Any]]:
    """`(rate, params, state, train, rows (steps, B)) -> (params, state)`, not yet compiled."""

    def advance(rate: Any, params: Any, state: Any, train: Any, rows: Any) -> tuple[Any, Any]:
        optimizer = method.make(rate, key=0)  # the key that counts is in the state

        def step(carry: Any, indices: Any) -> tuple[Any, None]:
            params, state = carry
            batch = take(train, indices)
            value_fn = lambda params: task.loss(params, batch)
            if method.gradient:
                gradient = jax.grad(value_fn)(params)
                updates, state = optimizer.update(gradient, state, params)
                return (optax.apply_updates(params, updates), state), None
            if apply := form(optimizer, "apply"):
                return apply(params, state, value_fn=value_fn), None
            more = {"full_value_fn": lambda params: task.loss(params, train)} if method.full else {}
            updates, state = optimizer.update(None, state, params, value_fn=value_fn, **more)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), rows)[0]

    return advance


def alone(
    task: Task, method: Method, rate: float, seed: int, *, budget: int, evaluations: int
) -> Run:
    """One run by itself.

    Args:
      task: of this seed.
      method: what trains.
      rate: learning rate.
      seed: of batches and noise.
      budget: forward passes, up to rounding to whole steps.
      evaluations: how many, beside the one before the start.

    Returns:
      The run.
    """
    began = time.perf_counter()
    advance, score = _compiled(task, method)
    steps = method.steps_for(budget / evaluations)
    params = jax.tree.map(jnp.array, task.params)
    knobs = method.prepare(task) if method.prepare else {}
    state = jax.jit(lambda p: method.make(rate, key=seed, **knobs).init(p))(params)
    best = selected = None
    scores = []
    for i in range(evaluations + 1):
        if i:
            rows = task.rows(seed, (i - 1) * steps, i * steps)
            params, state = advance(rate, params, state, task.train, rows)
        scored = method.scored(params, state) if method.scored else params
        scores.append(jax.tree.map(float, score(scored, task.dev)))
        if best is None or _better(task, scores[-1], scores[best]):
            best, selected = i, jax.tree.map(np.asarray, scored)
    dev = {name: np.array([one[name] for one in scores]) for name in scores[0]}
    test = jax.tree.map(float, score(selected, task.test))
    spent = _passes(method, steps, evaluations)
    return Run(spent, dev, test, best or 0, time.perf_counter() - began)


def together(
    tasks: Sequence[Task],
    method: Method,
    rates: Sequence[float],
    seeds: Sequence[int],
    *,
    budget: int,
    evaluations: int,
) -> list[list[Run]]:
    """Runs of all learning rates and seeds side by side, for small tasks.

    Args:
      tasks: one for each seed.
      method: what trains.
      rates: R learning rates.
      seeds: S seeds of batches and noise.
      budget: forward passes of each run, up to rounding to whole steps.
      evaluations: how many, beside the one before the start.

    Returns:
      R lists of S runs.
    """
    task, steps = tasks[0], method.steps_for(budget / evaluations)
    stack = lambda *trees: jax.tree.map(lambda *x: jnp.stack(x), *trees)
    train, dev, test = (stack(*(getattr(t, k) for t in tasks)) for k in ("train", "dev", "test"))
    start = stack(*(t.params for t in tasks))
    knobs = stack(*(method.prepare(t) for t in tasks)) if method.prepare else {}
    init = lambda params, seed, knobs: method.make(1.0, key=seed, **knobs).init(params)
    state = jax.jit(jax.vmap(init))(start, jnp.asarray(seeds), knobs)
    repeat = lambda tree: jax.tree.map(lambda x: jnp.stack([x] * len(rates)), tree)
    params, state = repeat(start), repeat(state)
    advance, score = _side_by_side(task, method)
    found = []
    for i in range(evaluations + 1):
        if i:
            span = (i - 1) * steps, i * steps
            rows = np.stack([t.rows(s, *span) for t, s in zip(tasks, seeds, strict=True)])
            params, state = advance(jnp.asarray(rates), params, state, train, rows)
        found.append(jax.tree.map(np.asarray, (score(params, dev), score(params, test))))
    on_dev, on_test = jax.tree.map(lambda *x: np.stack(x, -1), *found)
    passes = _passes(method, steps, evaluations)
    pick = lambda r, s: _picked(task, passes, on_dev, on_test, (r, s))
    return [[pick(r, s) for s in range(len(seeds))] for r in range(len(rates))]


def _picked(task: Task, passes: Any, on_dev: Any, on_test: Any, at: tuple[int, int]) -> Run:
    dev = {name: values[at] for name, values in on_dev.items()}
    curve = dev[task.metric]
    order = -curve if task.metric != "loss" else curve
    best = int(np.argmin(np.nan_to_num(order, nan=np.inf)))
    return Run(passes, dev, {name: float(v[at][best]) for name, v in on_test.items()}, best)


def _better(task: Task, new: dict[str, float], old: dict[str, float]) -> bool:
    own = task.metric
    return new[own] < old[own] if own == "loss" else new[own] > old[own]


def _passes(method: Method, steps: int, evaluations: int) -> np.ndarray:
    costs = [method.passes(t) for t in range(steps * evaluations)]
    spent = np.concatenate([[0], np.cumsum(costs) + method.before])
    return spent[::steps]


_PROGRAMS: dict[Any, Any] = {}
"""What was compiled, by loss and method; with both, whose identity is the key."""


def _compiled(task: Task, method: Method) -> tuple[Any, Any]:
    key = ("alone", id(task.loss), id(method.make))
    if key not in _PROGRAMS:
        advance = jax.jit(stepper(task, method), donate_argnums=(1, 2))
        _PROGRAMS[key] = advance, jax.jit(task.score), task.loss, method
    return _PROGRAMS[key][:2]


def _side_by_side(task: Task, method: Method) -> tuple[Any, Any]:
    key = ("together", id(task.loss), id(method.make))
    if key not in _PROGRAMS:
        by_seed = jax.vmap(stepper(task, method), (None, 0, 0, 0, 0))
        advance = jax.jit(jax.vmap(by_seed, (0, 0, 0, None, None)), donate_argnums=(1, 2))
        score = jax.jit(jax.vmap(jax.vmap(task.score), (0, None)))
        _PROGRAMS[key] = advance, score, task.loss, method
    return _PROGRAMS[key][:2]
