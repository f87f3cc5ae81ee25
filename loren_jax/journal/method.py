"""An optimiser as a few words and numbers, from which it is built again."""

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from loren_jax import directions, noise, optimizers
from loren_jax.evaluation._axes import UsedAxes
from loren_jax.journal import earlier, schedules
from loren_jax.journal.factors import digest
from loren_jax.journal.records import JournalError
from loren_jax.lengths import RATES
from loren_jax.pacing import automatic
from loren_jax.parts import trained
from loren_jax.transformation import ZerothOrder
from loren_jax.transforms import anchored
from loren_jax.types import Evaluation

AXES = {"attention_axes": directions.attention_axes}
"""Functions that a description may name as `matrix_axes`."""

NO_KNOBS = frozenset({"matrix_axes", "key", "evaluation", "blocks", "always"})
"""Arguments with a default that are no JSON values, or have a place of their own."""


@dataclass(frozen=True)
class Method:
    """How an optimiser is built.

    Attributes:
      name: a name in `loren_jax.optimizers.METHODS`, or `MODULE:FUNCTION` of a factory that was
        allowed (`loren_jax.journal.allow`).
      knobs: its keyword arguments, as JSON values; what is not given is filled in with the
        defaults, so that a later version with others replays it.
      schedule: None, or a description (`loren_jax.journal.schedules`) in place of `learning_rate`;
        `{"automatic": {"steps": ..., "walk": ..., "longest": ...}}` for `loren_jax.automatic`.
      trained: paths of the leaves that are trained; None for all.
      matrix_axes: None, the name of one of `AXES`, or by path the fan-in and fan-out axes of those
        leaves whose names do not tell; `loren_jax.fit` fills these in.
      seed: of the run's noise.
      anchored_weight_decay: None, or that of `loren_jax.transforms.anchored` around the optimiser.
      factors: None, or the digest of `input_subspace`'s fan-in vectors (`journal.factors`).

    >>> method = Method("loren", {"learning_rate": 0.1, "rank": 1}, seed=3)
    >>> Method.from_json(method.as_json()) == method
    True
    >>> optimizer = method.build()
    """

    name: str
    knobs: Mapping[str, Any]
    schedule: Mapping[str, Any] | None = None
    trained: Sequence[str] | None = None
    matrix_axes: str | Mapping[str, Any] | None = None
    seed: int = 0
    anchored_weight_decay: float | None = None
    factors: str | None = None

    def __post_init__(self) -> None:
        for name, value in self.knobs.items():
            if not is_json(value):
                raise JournalError(
                    f"knob {name!r} is a {type(value).__name__}, which a journal does not hold; "
                    "write the journal with method=None, and pass optimizer= to replay it"
                )
        if (factory := self._factory) is not None:
            object.__setattr__(self, "knobs", dict(self.knobs) | _others(factory, self.knobs))

    @property
    def _factory(self) -> Callable[..., Any] | None:
        """What makes the optimiser, if the name is known."""
        if self.name in optimizers.METHODS:
            return optimizers.METHODS[self.name].factory
        if ":" in self.name:
            return import_factory(self.name)
        return earlier.METHODS.get(self.name)

    def build(
        self, evaluation: Evaluation | None = None, factors: Mapping[str, Any] | None = None
    ) -> ZerothOrder:
        """The optimiser.

        Args:
          evaluation: how its queries run; None for its own way.
          factors: the fan-in vectors, where the description has their digest.

        Raises:
          JournalError: a name is not known here; the factors are not those of the description.
          ValueError: a knob is out of range.
        """
        if (factory := self._factory) is None:
            raise JournalError(
                f"method {self.name!r} is not known to this version of loren_jax; pass optimizer="
            )
        if self.factors != (None if factors is None else digest(factors)):
            raise JournalError(
                "factors are not those of the description; read them with "
                "loren_jax.journal.factors.load, or pass optimizer="
            )
        arguments = {**self.knobs, "key": self.seed, "evaluation": evaluation}
        paced = (self.schedule or {}).get("automatic")
        if paced is not None:
            arguments = {n: value for n, value in arguments.items() if n not in RATES}
            # Of before steps grew, a journal does not say by how much.
            factory = functools.partial(automatic, factory, **{"longest": 1.0, **paced})
        elif self.schedule is not None:
            arguments["learning_rate"] = schedules.build(self.schedule)
        if isinstance(self.matrix_axes, str):
            arguments["matrix_axes"] = AXES[self.matrix_axes]
        elif self.matrix_axes is not None:
            arguments["matrix_axes"] = UsedAxes.from_json(self.matrix_axes)
        if factors is not None:
            arguments["factors"] = factors
        optimizer = factory(**arguments)
        if self.anchored_weight_decay is not None:
            optimizer = anchored(optimizer, self.anchored_weight_decay)
        paths = frozenset(self.trained or ())
        # An older journal leaves a last `value` out of a path.
        among = lambda path: path in paths or noise.without_value(path) in paths
        return optimizer if self.trained is None else trained(optimizer, among)

    def as_json(self) -> dict[str, Any]:
        """The description as JSON values; a journal of before knows no factors and no anchor."""
        values = asdict(self)
        for name in ("factors", "anchored_weight_decay"):
            if values[name] is None:
                del values[name]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Method":
        """The inverse of `as_json`; reads what earlier versions wrote too.

        Raises:
          JournalError: it is of a method that is gone.
        """
        factors, among = values.get("factors"), values.get("trained")
        name, knobs = values["name"], values["knobs"]
        name, knobs = earlier.translate(name, knobs, factors=factors is not None)
        return cls(
            name=name,
            # JSON has no tuples, and every sequence among the knobs is one.
            knobs={n: tuple(v) if isinstance(v, list) else v for n, v in knobs.items()},
            schedule=values.get("schedule"),
            trained=None if among is None else list(among),
            matrix_axes=values.get("matrix_axes"),
            seed=values.get("seed", 0),
            anchored_weight_decay=values.get("anchored_weight_decay"),
            factors=factors,
        )


_ALLOWED: set[str] = set()
"""Factories of one's own that may be imported in this process."""


def allow(name: str) -> None:
    """Lets journals and runs of this process name a factory of one's own.

    A file may come from anyone, and importing a module runs it: so the name that a journal or a
    `config.json` holds is imported only where the user has said it too.

    Args:
      name: `MODULE:FUNCTION`.

    Raises:
      ValueError: it is spelled otherwise.

    >>> allow("my_module:zo_sign")
    """
    module, mark, function = name.partition(":")
    if not (module and mark and function):
        raise ValueError(f"optimizer is {name!r}: name a factory of your own as MODULE:FUNCTION")
    _ALLOWED.add(name)


def import_factory(name: str) -> Callable[..., Any]:
    """A factory by `MODULE:FUNCTION`; the current directory is looked at too.

    Raises:
      JournalError: nobody has allowed it, or there is no such module or function.
    """
    if name not in _ALLOWED:
        raise JournalError(
            f"the optimizer {name!r} is code that a file names, which is not run unasked: if you "
            f"trust it, say --optimizer {name}, in Python loren_jax.journal.allow({name!r})"
        )
    module, _, function = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise JournalError(
            f"optimizer {name!r} cannot be imported ({error}); name MODULE:FUNCTION, of a module "
            "here or on PYTHONPATH"
        ) from error


def is_json(value: Any) -> bool:
    """Whether a journal can hold an argument: a number, a word or nothing, or several of these."""
    members = value if isinstance(value, tuple | list) else [value]
    return all(isinstance(x, int | float | str | None) for x in members)


def _others(factory: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The factory's knobs that are not given, at their defaults."""
    defaults = {n: p.default for n, p in inspect.signature(factory).parameters.items()}
    return {n: v for n, v in defaults.items() if n not in {*given, *NO_KNOBS} and is_json(v)}
