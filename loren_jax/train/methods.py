"""The options of each method, and what a run asks of one: its name, and what a step costs."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from loren_jax.journal.method import import_factory
from loren_jax.optimizers import METHODS
from loren_jax.reports.tables import text_table
from loren_jax.train.options import MethodOptions, options_of

OPTIONS: Mapping[str, Any] = {name: options_of(entry.factory) for name, entry in METHODS.items()}
"""By a method's name the dataclass of its options, which are its factory's own arguments."""


def options_named(name: str) -> Any:
    """The options of a method, by a key of `OPTIONS` or as `MODULE:FUNCTION` of one's own factory.

    >>> options_named("loren").__name__
    'LorenOptions'
    """
    if name in OPTIONS:
        return OPTIONS[name]
    if ":" in name:
        return _import_options(name)
    raise ValueError(
        f"optimizer {name!r} is unknown; the optimisers are {', '.join(OPTIONS)}, and "
        "MODULE:FUNCTION for one of your own"
    )


@functools.cache
def _import_options(name: str) -> Any:
    """Those of a factory that is imported by name; once, as a type is known by its identity."""
    return options_of(import_factory(name))


def method_name(options: MethodOptions) -> str:
    """The name of the method that options belong to; `MODULE:FUNCTION` for one of the user's own.

    >>> method_name(OPTIONS["mezo"](learning_rate=1e-6))
    'mezo'
    """
    factory = type(options).factory
    for name, kind in OPTIONS.items():
        if factory is kind.factory:
            return name
    if "<" not in factory.__qualname__:  # one of the user's own, which a journal can name
        return f"{factory.__module__}:{factory.__qualname__}"
    known = ", ".join(kind.__name__ for kind in OPTIONS.values())
    raise TypeError(f"optimizer is a {type(options).__name__}; it must be one of {known}")


def along_inputs(options: MethodOptions) -> MethodOptions:
    """Options of `input_subspace`, which a run with input directions has.

    It takes them as they are, and those of `loren`, whose covariance the directions take the place
    of; a ValueError if they are of another method, or say something of that covariance.

    >>> along_inputs(OPTIONS["loren"](learning_rate=0.1, momentum=None, rank=1))
    InputSubspaceOptions(learning_rate=0.1, ..., momentum=None, rank=1, ...)
    """
    name = method_name(options)
    if name == "input_subspace":
        return options
    if name != "loren":
        raise ValueError(
            f"input_directions make a run of input_subspace, which {name} has no part in: leave "
            "input_directions away, or give the optimizer input_subspace."
        )
    fields = {field.name: field.default for field in dataclasses.fields(options)}
    own = OPTIONS["input_subspace"]
    kept = {field.name for field in dataclasses.fields(own)}
    for knob in sorted(fields.keys() - kept):
        if (value := getattr(options, knob)) != fields[knob]:
            raise ValueError(
                f"{knob} is {value}, of a learned covariance, which input_directions take the "
                "place of: give one of the two."
            )
    return own(**{knob: getattr(options, knob) for knob in kept})


def passes_of_step(options: Any, step: int, batches: int) -> int:
    """Forward passes of one step over a minibatch, of which `batches` hold all training data.

    >>> options = OPTIONS["mezo_svrg"](learning_rate=1.0, every=3)
    >>> [passes_of_step(options, step, 10) for step in range(4)]
    [20, 4, 4, 20]
    """
    passes, entry = _passes(options), METHODS.get(method_name(options))
    every = None if entry is None else entry.full_every
    if every is None or step % getattr(options, every):
        return passes
    return passes // 2 * batches  # at one point alone, which is half of the others' queries


@functools.cache
def _passes(options: MethodOptions) -> int:
    return options.passes()


def methods_table(width: int | None = None) -> str:
    """The methods, what they cost and where they come from, as text of lines of some width.

    >>> print(methods_table().splitlines()[0])
    optimizer       forward passes a step      ...  reference              summary
    """
    head = ("optimizer", "forward passes a step", "state beyond the parameters", "reference")
    rows = [(*head, "summary")]
    rows += [(e.name, e.passes, e.state, e.reference, e.summary) for e in METHODS.values()]
    return text_table(rows, width)
