"""Fine-tuning of anything, durably: `loren_jax.fit`."""

import dataclasses
import difflib
import functools
import importlib.util
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import optax

from loren_jax.journal import Method
from loren_jax.runs.run import Fitted, Run
from loren_jax.types import PyTree


def fit(
    loss: Callable[..., Any],
    params: PyTree,
    batches: Callable[[int], PyTree] | Sequence[PyTree] | Iterable[PyTree],
    *,
    optimizer: optax.GradientTransformationExtraArgs | Method,
    directory: str | os.PathLike,
    steps: int,
    evaluate: Callable[[PyTree], Any] | None = None,
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
      optimizer: An optimiser of this library, or an Optax chain around one. A
        `loren_jax.journal.Method` that describes one
        makes a journal that can be replayed without this program.
      directory: The run's own; made if need be.
      steps: Steps to take; more than a complete run has had let it go on.
      evaluate: `params -> number`, or numbers by name: scores of held-out data. A `loss` and an
        `accuracy` are drawn.
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
    >>> params, make = {"w": jnp.zeros(3)}, lambda: loren_jax.loren(0.1)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     fitted = fit(loss, params, batches, optimizer=make(), directory=directory, steps=20)
    ...     again = fit(loss, params, batches, optimizer=make(), directory=directory, steps=20)
    >>> bool((fitted.params["w"] == again.params["w"]).all()), fitted.summary.steps
    (True, 20)
    """
    _require_packages()
    _require_known(options)
    if not isinstance(optimizer, optax.GradientTransformation | Method):
        raise TypeError(
            f"optimizer is a {type(optimizer).__name__}: pass one of loren_jax, such as "
            "loren_jax.loren(0.1), or a loren_jax.journal.Method"
        )
    run = Run(
        loss=loss,
        params=params,
        batch=_by_number(batches),
        optimizer=optimizer,
        directory=Path(directory),
        steps=steps,
        evaluate=None if evaluate is None else functools.partial(_scores, evaluate),
        **options,
    )
    return run.go()


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
        self._batches, self._number, self._first = batches, 0, None

    def __call__(self, step: int) -> PyTree:
        """The batch of a step; steps must ascend, but the first may be asked for twice."""
        if step == 0 and self._first is not None:
            return self._first
        for batch in itertools.islice(self._batches, step - self._number, None):
            self._number = step + 1
            self._first = batch if self._first is None else self._first
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
