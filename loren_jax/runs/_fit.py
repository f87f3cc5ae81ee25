"""Fine-tuning of anything, durably: `loren_jax.fit`."""

import dataclasses
import difflib
import functools
import importlib.util
import itertools
import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from loren_jax.directions.masked import matching
from loren_jax.journal import Method
from loren_jax.journal.factors import digest
from loren_jax.journal.method import is_json
from loren_jax.lengths import RATES
from loren_jax.noise import leaf_paths
from loren_jax.optimizers import METHODS, input_subspace, loren
from loren_jax.pacing import require_plan
from loren_jax.runs.plan import require_choices
from loren_jax.runs.record import status
from loren_jax.runs.run import Fitted, Run
from loren_jax.runs.walk import SEARCHING, found_walk, planned_steps, stored_plan
from loren_jax.transformation import ZerothOrder
from loren_jax.types import PyTree
from loren_jax.walk import SEARCHED_BATCHES, search_passes


def fit(
    loss: Callable[..., Any],
    params: PyTree,
    batches: Callable[[int], PyTree] | Sequence[PyTree] | Iterable[PyTree],
    *,
    optimizer: optax.GradientTransformationExtraArgs | Method | Callable[..., ZerothOrder] = loren,
    directory: str | os.PathLike,
    steps: int,
    evaluate: Callable[[PyTree], Any] | None = None,
    chance: ArrayLike = math.inf,
    **options: Any,
) -> Fitted:
    r"""Trains with forward passes only, durably; called again on its directory it goes on.

    The directory gets a journal of all losses, two checkpoints, the metrics, a curve and a summary.
    Killed at any moment and called again, a run ends in the same bits as one that never stopped. A
    run that is complete is not trained again: its parameters are returned. Ctrl-C and SIGTERM stop
    it behind the current step.

    Which axes of a leaf are fan-in is read off the loss (`loren_jax.matrix_axes`), unless the
    optimiser was given `matrix_axes`; the journal holds those that names do not tell.

    Args:
      loss: `(params, batch) -> scalar`, any JAX function; any pytree of arrays where a
        `judge(observed, batch) -> losses (K, S)` among the options says on the host what those
        of all queries are worth.
      params: The parameters to begin with; they are not changed.
      batches: A function of the step's number, from 0; or a sequence, gone through again and
        again; or anything else that can be iterated over, in the same order each time the
        program is run.
      optimizer: A method of this library without a learning rate, such as `loren_jax.loren` or
        `functools.partial(loren_jax.mezo, num_directions=3)`: 76 forward passes find how long
        its steps may be (`loren_jax.automatic`). Or an optimiser, `loren_jax.loren(0.1)`, or an
        Optax chain around one. A `loren_jax.journal.Method` that describes one makes a journal that
        can be replayed without this program, as one without a rate does.
      directory: The run's own; made if need be.
      steps: Steps to take; more than a complete run has had let it go on.
      evaluate: `params -> number`, or numbers by name: scores of held-out data. A `loss` and an
        `accuracy` are drawn.
      chance: The loss of knowing nothing, such as `log C` for C classes, where a model may begin
        above it and no learning rate is given: see `loren_jax.automatic`.
      **options: Further attributes of `loren_jax.runs.Run`, such as `eval_every`, `select`,
        `trained`, `judge`, `callbacks`, `evaluation` for a mesh, and `overwrite`.

    Returns:
      The parameters that are kept, the summary, and the directory.

    Raises:
      ValueError: An argument is wrong, or is not what the run began with; the message says which.
      InUseError: Another process writes to the directory.
      FileExistsError: It holds something that is no run.
      ImportError: A package of `loren-jax[train]` is not installed.
      FloatingPointError: There was no finite loss for `max_nonfinite_steps` steps.

    >>> import tempfile, jax.numpy as jnp, loren_jax
    >>> loss = lambda params, batch: jnp.mean((batch @ params["w"] - 1.0) ** 2)
    >>> batches = jax.random.normal(jax.random.key(0), (10, 8, 3))
    >>> params = {"w": jnp.zeros(3)}
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     fitted = fit(loss, params, batches, directory=directory, steps=20)
    ...     again = fit(loss, params, batches, directory=directory, steps=20)
    >>> bool((fitted.params["w"] == again.params["w"]).all()), fitted.summary.steps
    (True, 20)
    """
    _require_packages()
    _require_known(options)
    own = {name: options[name] for name in ("select", "patience", "trained") if name in options}
    require_choices(evaluate, **own)  # before anything is searched, which takes minutes
    batch, directory, chance = _by_number(batches), Path(directory), float(jax.device_get(chance))
    if not isinstance(optimizer, optax.GradientTransformation | Method):
        factory, knobs = _factory_of(optimizer)
        described = functools.partial(_without_rate, factory, knobs, steps, chance)
        optimizer, options = described(loss, params, batch, directory, options)
    elif chance != math.inf:
        raise ValueError(
            f"chance is {chance:g}, which only steps without a learning rate need: leave it out, "
            "or pass a method without a rate, such as loren_jax.loren"
        )
    run = Run(
        loss=loss,
        params=params,
        batch=batch,
        optimizer=optimizer,
        directory=directory,
        steps=steps,
        evaluate=None if evaluate is None else functools.partial(_scores, evaluate),
        **options,
    )
    return run.go()


def _factory_of(optimizer: Any) -> tuple[Callable[..., Any], dict[str, Any]]:
    """A method without its learning rate, and the arguments that it has been given."""
    partial = isinstance(optimizer, functools.partial) and not optimizer.args
    factory, knobs = (optimizer.func, optimizer.keywords) if partial else (optimizer, {})
    entry = METHODS.get(getattr(factory, "__name__", ""))
    if entry is None or entry.factory is not factory:
        raise TypeError(
            f"optimizer is a {type(optimizer).__name__}: pass a method of loren_jax, such as "
            "loren_jax.loren, or an optimiser, such as loren_jax.loren(0.1), or a "
            "loren_jax.journal.Method"
        )
    if factory is input_subspace and "factors" not in knobs:
        raise ValueError(
            "optimizer is input_subspace without directions: pass functools.partial("
            "loren_jax.input_subspace, factors=loren_jax.inputs.input_factors(...))"
        )
    if entry.full_every:
        raise ValueError(
            f"optimizer is {entry.name}, whose learning rate cannot be found: pass "
            f"loren_jax.{entry.name}(...) with one"
        )
    for name in sorted(RATES & knobs.keys()):
        raise ValueError(
            f"{name} is given in a functools.partial: pass loren_jax.{entry.name}("
            f"{name}={knobs[name]}, ...), or leave it out and the run finds it"
        )
    return factory, _described(entry.name, knobs)


def _described(name: str, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, of which a journal can hold all; said before anything is searched."""
    scalar = lambda x: isinstance(x, np.generic | jax.Array) and not np.ndim(x)
    plain = lambda x: x.item() if scalar(x) and jnp.issubdtype(x.dtype, jnp.number) else x
    knobs = {knob: plain(value) for knob, value in knobs.items()}
    if "key" in knobs:
        try:
            knobs["key"] = operator.index(knobs["key"])
        except TypeError:
            raise ValueError(
                f"key is a {type(knobs['key']).__name__}: give a whole number, which the journal "
                "can hold"
            ) from None
    for knob, value in knobs.items():
        if knob != "factors" and not is_json(value):
            raise ValueError(
                f"{knob} is a {type(value).__name__}, which the journal of a run without a "
                f"learning rate cannot hold: leave it out, or give a rate too, as in loren_jax."
                f"{name}(0.1, {knob}=...)"
            )
    return knobs


def _without_rate(
    factory: Callable[..., Any],
    knobs: dict[str, Any],
    steps: int,
    chance: float,
    loss: Callable[..., Any],
    params: PyTree,
    batch: Callable[[int], PyTree],
    directory: Path,
    options: dict[str, Any],
) -> tuple[Method, dict[str, Any]]:
    """The description of a method whose steps have a planned length, and the other options."""
    evaluation = options.get("evaluation")
    if options.get("judge") is not None:
        raise ValueError(
            "optimizer has no learning rate, which is found from losses and not with a judge: pass "
            f"one that has, such as loren_jax.{factory.__name__}(0.01)"
        )
    options, paths = dict(options), None
    if (patterns := options.pop("trained", None)) is not None:
        mask = matching(tuple(patterns), params, "trained")
        paths = [path for path in leaf_paths(params) if mask(path)]
    seed = knobs.pop("key", 0)
    made = require_plan(factory, steps, chance=chance, **knobs)
    plan = stored_plan(directory, overwrite=options.get("overwrite", False))
    if plan is None:
        among = lambda path: paths is None or path in paths
        frozen = tuple(options.get("frozen", ()))
        found = {"steps": steps, "chance": chance, "key": seed}
        with status(SEARCHING):
            of_run = (among, frozen, evaluation)
            steps_of = found_walk(loss, params, batch, factory, *of_run, **found, **knobs)
        plan = planned_steps(steps, steps_of.walk, longest=steps_of.longest, chance=chance)
    if steps != plan["steps"]:
        raise ValueError(
            f"steps is {steps}, but the steps of the run in {directory} fall to zero at "
            f"{plan['steps']}: give that, or begin a run in another directory with its parameters"
        )
    if chance != (began := plan.get("chance", math.inf)):
        raise ValueError(
            f"chance is {chance:g}, but the run in {directory} began with {began:g}: give that"
        )
    own: dict[str, Any] = {"schedule": {"automatic": plan}, "trained": paths, "seed": seed}
    if (factors := knobs.pop("factors", None)) is not None:
        own["factors"] = digest(factors)
        options["factors"] = factors
    searched = search_passes(made.scheme)
    passes = lambda step: made.passes + (searched if step == 0 else 0)
    return Method(factory.__name__, knobs, **own), {"passes": passes, **options}


def _require_packages() -> None:
    needed = ("matplotlib", "orbax.checkpoint", "tqdm")
    if missing := [n for n in needed if importlib.util.find_spec(n.split(".")[0]) is None]:
        raise ImportError(f"fit needs {', '.join(missing)}: pip install 'loren-jax[train]'")


def _require_known(options: Mapping[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(Run)]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1) or sorted(known)
            raise TypeError(f"fit has no argument {name!r}: did you mean {' or '.join(near)}?")


def _by_number(batches: Any) -> Callable[[int], PyTree]:
    """The batch of a step from its number."""
    if callable(batches):
        return batches
    if isinstance(batches, Mapping):
        raise TypeError(
            f"batches is a {type(batches).__name__}, which is one batch: give [batch], or a "
            "function of the step's number"
        )
    if hasattr(batches, "__getitem__") and hasattr(batches, "__len__"):
        if not len(batches):
            raise ValueError("batches is empty: give one batch or more")
        return lambda step: batches[step % len(batches)]
    if not isinstance(batches, Iterable):
        raise TypeError(
            f"batches is a {type(batches).__name__}: give a function of the step's number, a "
            "sequence, or something to iterate over"
        )
    return _InOrder(iter(batches))


class _InOrder:
    """The batches of an iterator, of which those that were seen are skipped."""

    def __init__(self, batches: Iterator[PyTree]):
        self._batches, self._number, self._first = batches, 0, {}

    def __call__(self, step: int) -> PyTree:
        """The batch of a step; steps must ascend, but the first few may be asked for again."""
        if step in self._first:
            return self._first[step]
        for batch in itertools.islice(self._batches, step - self._number, None):
            self._number = step + 1
            if step < SEARCHED_BATCHES:
                self._first[step] = batch
            return batch
        raise ValueError(
            f"batches ended before step {step}: give more, or fewer steps, or a sequence that is "
            "gone through again"
        )


def _scores(evaluate: Callable[[PyTree], Any], params: PyTree) -> dict[str, float]:
    """What `evaluate` gives, by name."""
    found = evaluate(params)
    scores = found if isinstance(found, Mapping) else {"score": found}
    return {name: float(jax.device_get(value)) for name, value in scores.items()}
