"""The options of a method, read from the arguments of its factory.

What an optimiser can be told from outside is what its factory takes: the names, the defaults and
the words are the factory's own. Nothing is declared twice, so nothing can be forgotten.
"""

import dataclasses
import functools
import inspect
import operator
import re
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args, get_origin

from loren_jax.arguments import positive

NOT_OPTIONS = frozenset({"key", "matrix_axes", "evaluation", "blocks", "always", "factors"})
"""Arguments that are functions or trees, or that the run itself decides."""

FOUND: Mapping[str, Any] = {"factors": {}}
"""Arguments that a run finds out before its first step, and what stands for them until then."""

NEEDED = ("learning_rate", "num_directions", "perturbation_scale", "evaluation", "key")
"""Arguments that a run, its journal and its reports give or read by name."""


_SHELL: Mapping[str, str] = {
    "learning_rate": (
        "Step size. Without one some forward passes find how long the steps may be (the schedule "
        "automatic)."
    ),
    "perturbation_scale": "Size of the perturbations, in units of the parameters.",
    "weight_decay": "Share of the parameters that a step of rate 1 takes away.",
    "chunk_size": (
        "Forward passes computed together: more is faster and needs more memory. By default as "
        "many as fit."
    ),
    "momentum": (
        "How much of the earlier steps' motion is kept, from 0 to below 1; None needs no buffer."
    ),
    "damping": "Of the learned covariance: the larger, the closer it stays to an isotropic one.",
    "covariance_learning_rate": "Step size of the learned covariance; 0 freezes it.",
}
"""Words for a shell, where those of the factory are of Python."""


@dataclass(frozen=True)
class MethodOptions:
    """What the options of all methods share: they are checked as soon as they exist.

    The `factory` makes the optimiser; it takes the options and `key`.
    """

    factory: ClassVar[Callable[..., Any]]

    def __post_init__(self) -> None:
        # A schedule is made of it later, which the factory would have to take on trust.
        if self.learning_rate is not None:  # pyrefly: ignore[missing-attribute]
            positive("learning_rate", self.learning_rate)  # pyrefly: ignore[missing-attribute]
        # The factory is the only judge of its arguments; asking it costs no array.
        self.build(learning_rate=1.0)

    def passes(self) -> int:
        """Forward passes of a step, whatever the rate will be."""
        return self.build(learning_rate=1.0).passes

    def build(self, **changes: Any) -> Any:
        """The optimiser that these options describe, with some arguments changed or added."""
        factory = type(self).factory
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        found = {n: FOUND[n] for n in inspect.signature(factory).parameters if n in FOUND}
        return factory(**(found | own | changes))


def options_of(factory: Callable[..., Any], settings: Mapping[str, Any] = {}) -> Any:
    """A frozen dataclass of a factory's arguments, named and documented as they are.

    `settings` are defaults in place of the factory's own. A TypeError names what the factory lacks:
    an argument that a run gives, an annotation, or words on one of its arguments.

    >>> from loren_jax.optimizers import mezo
    >>> options_of(mezo)(learning_rate=1e-6)
    MezoOptions(learning_rate=1e-06, num_directions=1, ..., chunk_size=None)
    """
    arguments = inspect.signature(factory, eval_str=True).parameters
    if missing := [name for name in NEEDED if name not in arguments]:
        raise TypeError(
            f"{factory.__name__}: argument {missing[0]!r} is missing, which a run gives to every "
            "optimiser: add it, as mezo in loren_jax/optimizers/_mezo.py has it."
        )
    parameters = [p for p in arguments.values() if p.name not in NOT_OPTIONS]
    settings = {p.name: p.default for p in parameters if p.default is not p.empty} | dict(settings)
    fields: list[Any] = []
    for p in parameters:
        kind = _plain(factory, p)
        if p.name == "learning_rate":  # which a run may choose
            fields.append((p.name, kind | None, dataclasses.field(default=None)))
        elif p.name in settings:
            fields.append((p.name, kind, dataclasses.field(default=settings[p.name])))
        else:  # not in the way of the default before it
            fields.append((p.name, kind, dataclasses.field(kw_only=True)))
    name = "".join(part.capitalize() for part in factory.__name__.split("_")) + "Options"
    made = dataclasses.make_dataclass(
        name,
        fields,
        bases=(MethodOptions,),
        namespace={"factory": staticmethod(factory), "__module__": "loren_jax.train"},
        frozen=True,
    )
    made.__doc__ = _documentation(factory, [p.name for p in parameters])
    return made


def _plain(factory: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """What can be written in a shell: a number stands for whatever else may take its place."""
    annotation, where = parameter.annotation, f"{factory.__name__}: argument {parameter.name!r}"
    if annotation is parameter.empty:
        raise TypeError(
            f"{where} has no annotation, which its option is read from: annotate it, as float or "
            "int | None."
        )
    kind = _kind(annotation)
    if kind is None:
        raise TypeError(
            f"{where} is annotated {annotation}, which no option can hold: make it a float, int, "
            "bool or str, or add its name to NOT_OPTIONS in loren_jax/train/options.py."
        )
    return kind


def _kind(annotation: Any) -> Any:
    if get_origin(annotation) is tuple:
        kinds = tuple(_kind(a) for a in get_args(annotation))
        return None if None in kinds else tuple[kinds]  # type: ignore[misc]
    if get_origin(annotation) is Literal:
        return annotation
    members = get_args(annotation) or (annotation,)
    number = next((k for k in (float, bool, int, str) if k in members), None)
    words = [m for m in members if get_origin(m) is Literal]
    kinds = words if number is None else [number, *words]
    if not kinds:
        return None
    optional = [None] if types.NoneType in members else []
    return functools.reduce(operator.or_, [*kinds, *optional])


def _documentation(factory: Callable[..., Any], names: list[str]) -> str:
    """The factory's first line and the words of its arguments, as attributes."""
    text = inspect.getdoc(factory) or ""
    if not text and sys.flags.optimize > 1:  # python -OO takes all docstrings away
        return f"{factory.__name__}."
    if "\nArgs:\n" not in text:
        raise TypeError(
            f"{factory.__name__}: the docstring has no section 'Args:', which the options' help is "
            "read from: add one that describes each argument, as 'name: words.'"
        )
    section = text.split("\nArgs:\n", 1)[1].split("\n\n", 1)[0]
    words = dict(re.findall(r"^  (\w+): (.*(?:\n    .*)*)", section, re.MULTILINE))
    if missing := [name for name in names if name not in words]:
        raise TypeError(
            f"{factory.__name__}: argument {missing[0]!r} is not in the docstring's section "
            f"'Args:', which its option's help is read from: add a line '  {missing[0]}: words.'"
        )
    words |= {name: text for name, text in _SHELL.items() if name in names}
    lines = [f"  {name}: {' '.join(words[name].split())}" for name in names]
    return "\n".join([text.split("\n", 1)[0], "", "Attributes:", *lines])
