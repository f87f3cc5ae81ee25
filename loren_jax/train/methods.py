"""The optimisers by name: the table that the command line and a run choose from.

A new optimiser is one line of options and one row of `METHODS`; its options are its factory's own
arguments.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax

from loren_jax import optimizers
from loren_jax.schemes import forward_passes, leave_one_out, one_sided, three_point, two_sided
from loren_jax.train.options import MethodOptions, options_of
from loren_jax.types import Scheme


class Method(NamedTuple):
    """An optimiser that can be chosen by name.

    Attributes:
        options: Dataclass of its options, named as the factory's arguments are.
        scheme: Where it queries the loss; tells what a step costs.
        passes: Forward passes a step, in words; K directions.
        state: Numbers kept beside the parameters: N parameters, of which a matrix has m x n.
        reference: Where it comes from.
        full_every: For a method that also needs the loss on all training data: of options, the
            steps from one such step to the next.
    """

    options: Any
    scheme: Scheme
    passes: str
    state: str
    reference: str
    full_every: Callable[[Any], int] | None = None

    @property
    def factory(self) -> Callable[..., optax.GradientTransformationExtraArgs]:
        """Makes the optimiser; takes the options and `key`."""
        return self.options.factory


LorenOptions = options_of(optimizers.loren)
InputSubspaceOptions = options_of(optimizers.input_subspace)
MezoOptions = options_of(optimizers.mezo)
MezoAdamOptions = options_of(optimizers.mezo_adam)
MezoSvrgOptions = options_of(optimizers.mezo_svrg)
MezoBcdOptions = options_of(optimizers.mezo_bcd)
LozoOptions = options_of(optimizers.lozo)
LozoMOptions = options_of(optimizers.lozo_m)
HizooOptions = options_of(optimizers.hizoo)
ZoMuonOptions = options_of(optimizers.zo_muon)
SubzeroOptions = options_of(optimizers.subzero)
TezoOptions = options_of(optimizers.tezo)
RAdazoOptions = options_of(optimizers.r_adazo)
KerzooOptions = options_of(optimizers.kerzoo)

METHODS: Mapping[str, Method] = {
    "loren": Method(LorenOptions, leave_one_out(), "K", "n, with momentum + N", "arXiv 2511.07971"),
    "input_subspace": Method(
        InputSubspaceOptions,
        leave_one_out(),
        "K",
        "n q, with momentum + N",
        "benchmarks/RESEARCH.md",
    ),
    "mezo": Method(MezoOptions, two_sided(), "2 K", "0, with momentum N", "arXiv 2305.17333"),
    "mezo_adam": Method(MezoAdamOptions, two_sided(), "2 K", "2 N", "arXiv 2305.17333"),
    "mezo_svrg": Method(
        MezoSvrgOptions,
        two_sided(),
        "4 K, or 2 K on all data",
        "2 N",
        "arXiv 2404.08080",
        full_every=lambda options: options.every,
    ),
    "mezo_bcd": Method(MezoBcdOptions, two_sided(), "2 K", "0", "arXiv 2501.19099"),
    "lozo": Method(LozoOptions, two_sided(), "2 K", "n r", "arXiv 2410.07698"),
    "lozo_m": Method(LozoMOptions, two_sided(), "2 K", "(m + n) r", "arXiv 2410.07698"),
    "hizoo": Method(HizooOptions, three_point(), "2 K + 1", "N", "arXiv 2402.15173"),
    "zo_muon": Method(ZoMuonOptions, one_sided(), "K + 1", "m r", "arXiv 2602.17155"),
    "subzero": Method(SubzeroOptions, two_sided(), "2 K", "(m + n) r", "arXiv 2410.08989"),
    "tezo": Method(TezoOptions, two_sided(), "2 K", "(m + n) r", "arXiv 2501.19057"),
    "r_adazo": Method(RAdazoOptions, two_sided(), "2 K", "2 N", "arXiv 2502.01014"),
    "kerzoo": Method(KerzooOptions, two_sided(), "2 K", "0", "arXiv 2505.18886"),
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


def along_inputs(options: MethodOptions) -> MethodOptions:
    """Options of `input_subspace`, which a run with input directions has.

    Args:
        options: Its own, or those of `loren`, whose covariance the directions take the place of.

    Returns:
        Its own.

    Raises:
        ValueError: If they are of another method, or say something of LOREN's covariance.

    Example:
        >>> along_inputs(LorenOptions(learning_rate=0.1, momentum=None, rank=1))
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
    kept = {field.name for field in dataclasses.fields(InputSubspaceOptions)}
    for knob in sorted(fields.keys() - kept):
        if (value := getattr(options, knob)) != fields[knob]:
            raise ValueError(
                f"{knob} is {value}, of a learned covariance, which input_directions take the "
                "place of: give one of the two."
            )
    return InputSubspaceOptions(**{knob: getattr(options, knob) for knob in kept})


def build_optimizer(
    options: MethodOptions, *, learning_rate: Any = None, key: Any = 0
) -> optax.GradientTransformationExtraArgs:
    """The optimiser that options describe.

    Args:
        options: Options of any method.
        learning_rate: Replaces the options' own, for a schedule.
        key: Seed or key of its noise.

    Returns:
        An Optax transformation whose `update` takes `value_fn`.

    Raises:
        ValueError: If an option is out of range.
        TypeError: If no method has options of this type.
    """
    method_name(options)
    changes = {} if learning_rate is None else {"learning_rate": learning_rate}
    return options.build(**changes, key=key)


def passes_of_step(options: Any, step: int, batches: int) -> int:
    """Forward passes of one step, in passes over a minibatch.

    Args:
        options: Options of any method.
        step: The step's number, from 0.
        batches: Minibatches that hold all training data.

    Returns:
        The number.

    Example:
        >>> [passes_of_step(LorenOptions(learning_rate=1.0), step, 4) for step in range(2)]
        [6, 6]
    """
    method = METHODS[method_name(options)]
    passes = forward_passes(method.scheme, options.num_directions)
    if method.full_every is None:
        return passes
    return passes * batches if step % method.full_every(options) == 0 else 2 * passes


def methods_table() -> str:
    """The methods, what they cost and where they come from, as text.

    Example:
        >>> print(methods_table().splitlines()[0])
        optimizer  forward passes a step    state beyond the parameters  reference         summary
    """
    head = ("optimizer", "forward passes a step", "state beyond the parameters", "reference")
    rows = [(*head, "summary")]
    for name, method in METHODS.items():
        summary = (method.options.__doc__ or "").split("\n", 1)[0]
        rows.append((name, method.passes, method.state, method.reference, summary))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
