"""The optimisers by name, with the options that each of them has.

A new optimiser is one dataclass of options and one row of `METHODS`. The options have the names of
the factory's own arguments, so nothing is translated, and an option that a method does not have
does not exist in its dataclass: it cannot be given and then ignored.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import optax

from loren_jax.arguments import positive
from loren_jax.optimizers import loren, mezo


@dataclass(frozen=True)
class MethodOptions:
    """What the options of all methods share: they are checked as soon as they exist."""

    def __post_init__(self) -> None:
        # A schedule is made of it later, which the factory would have to take on trust.
        positive("learning_rate", self.learning_rate)  # pyrefly: ignore[missing-attribute]
        # The factory is the only judge of its arguments; asking it costs no array.
        build_optimizer(self)


@dataclass(frozen=True)
class LorenOptions(MethodOptions):
    """LOREN: leave-one-out estimate under a learned covariance; one forward pass a direction.

    Attributes:
        learning_rate: Step size. Momentum multiplies it by 1 / (1 - momentum).
        num_directions: Directions, and forward passes, per step; at least 2.
        perturbation_scale: Size of a perturbation, in units of the parameters.
        damping: Keeps the covariance away from singular; the smaller, the more is learned.
        covariance_learning_rate: Step size of the covariance; 0 freezes it.
        momentum: Heavy-ball momentum below 1; None keeps no buffer.
        rank: Rank of the perturbation of a matrix; None is full Gaussian noise, 1 the cheapest.
        weight_decay: Decoupled weight decay, once a step.
        chunk_size: Forward passes that run at once; None is one, num_directions is all.
    """

    learning_rate: float
    num_directions: int = 6
    perturbation_scale: float = 1e-3
    damping: float = 0.1
    covariance_learning_rate: float = 1e-3
    momentum: float | None = 0.9
    rank: int | None = None
    weight_decay: float = 0.0
    chunk_size: int | None = None


@dataclass(frozen=True)
class MezoOptions(MethodOptions):
    """MeZO: pairs of losses on either side of the parameters; two forward passes a direction.

    Attributes:
        learning_rate: Step size. Momentum multiplies it by 1 / (1 - momentum).
        num_directions: Directions per step; each costs two forward passes.
        perturbation_scale: Size of a perturbation, in units of the parameters.
        momentum: Heavy-ball momentum below 1; None keeps no buffer.
        rank: Rank of the perturbation of a matrix; None is full Gaussian noise, 1 the cheapest.
        weight_decay: Decoupled weight decay, once a step.
        chunk_size: Forward passes that run at once; None is one, 2 num_directions is all.
    """

    learning_rate: float
    num_directions: int = 1
    perturbation_scale: float = 1e-3
    momentum: float | None = None
    rank: int | None = None
    weight_decay: float = 0.0
    chunk_size: int | None = None


class Method(NamedTuple):
    """An optimiser that can be chosen by name.

    Attributes:
        options: Dataclass of its options, named as the factory's arguments are.
        factory: Makes the optimiser; takes the options, `mask` and `key`.
    """

    options: type[MethodOptions]
    factory: Callable[..., optax.GradientTransformationExtraArgs]


METHODS: Mapping[str, Method] = {
    "loren": Method(LorenOptions, loren),
    "mezo": Method(MezoOptions, mezo),
}


def method_named(name: str) -> Method:
    """Looks an optimiser up.

    Args:
        name: A key of `METHODS`.

    Returns:
        The method.

    Raises:
        ValueError: If there is none of this name.

    Example:
        >>> method_named("loren").options.__name__
        'LorenOptions'
    """
    if name not in METHODS:
        raise ValueError(f"optimizer {name!r} is unknown; the optimisers are {', '.join(METHODS)}")
    return METHODS[name]


def method_name(options: MethodOptions) -> str:
    """The name of the optimiser that options belong to.

    Args:
        options: Options of any method.

    Returns:
        A key of `METHODS`.

    Raises:
        TypeError: If no method has options of this type.

    Example:
        >>> method_name(MezoOptions(learning_rate=1e-6))
        'mezo'
    """
    for name, method in METHODS.items():
        if type(options) is method.options:
            return name
    known = ", ".join(method.options.__name__ for method in METHODS.values())
    raise TypeError(f"optimizer is a {type(options).__name__}; it must be one of {known}")


def build_optimizer(
    options: MethodOptions,
    *,
    learning_rate: Any = None,
    mask: Any = None,
    key: Any = 0,
) -> optax.GradientTransformationExtraArgs:
    """The optimiser that options describe.

    Args:
        options: Options of any method.
        learning_rate: Replaces the options' own, for a schedule.
        mask: Which leaves are trained; None for all.
        key: Seed or key of its noise.

    Returns:
        An Optax transformation whose `update` takes `value_fn`.

    Raises:
        ValueError: If an option is out of range.
        TypeError: If no method has options of this type.
    """
    arguments = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    if learning_rate is not None:
        arguments["learning_rate"] = learning_rate
    factory = METHODS[method_name(options)].factory
    return factory(**arguments, mask=mask, key=key)
