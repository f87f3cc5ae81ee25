"""The methods that are compared, with about six forward passes a step each, as in the paper.

All knobs but these are the defaults that `loren_jax` had when the rows were measured, those of
version 0.1.0 (`loren_jax.journal.earlier`): the number of directions, the rank where one is
asked for, and the learning rate of ZO-Muon's vectors, which is that of MeZO on the same task.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import optax

import loren_jax
from loren_jax.inputs import input_factors
from loren_jax.journal.earlier import DEFAULTS

GRADIENT_PASSES = 3
"""What a gradient counts as: one pass forward and one backward, of about twice the cost."""


class Method(NamedTuple):
    """An optimiser to measure.

    Attributes:
      make: `(learning_rate, key=seed) -> optax transformation`; both may be traced.
      passes: `step -> forward passes`, of a minibatch.
      gradient: whether it takes gradients.
      full: whether it also needs the loss on all training rows.
      prepare: `task -> arrays`, further arguments of `make` that a task's data give; None for none.
      before: forward passes of a minibatch that `prepare` takes.
      scored: `(params, state) -> params` that `runs.alone` scores; None for those of the run.
    """

    make: Callable[..., Any]
    passes: Callable[[int], int]
    gradient: bool = False
    full: bool = False
    prepare: Callable[[Any], dict[str, Any]] | None = None
    before: int = 0
    scored: Callable[[Any, Any], Any] | None = None

    def steps_for(self, passes: float) -> int:
        """Steps that cost about so many forward passes, at least one."""
        return max(1, round(passes / self.mean_passes))

    @property
    def mean_passes(self) -> float:
        """Forward passes a step, on average."""
        return sum(self.passes(t) for t in range(100)) / 100


def method(name: str, num_directions: int, **knobs: Any) -> Method:
    """A method of `loren_jax` by its name.

    Args:
      name: of the factory.
      num_directions: K.
      knobs: other arguments of the factory.

    Returns:
      The method.
    """
    knobs = {"num_directions": num_directions, **DEFAULTS.get(name, {}), **knobs}
    make = partial(getattr(loren_jax, name), **knobs)
    cost = make(1.0).passes
    return Method(make, lambda step: cost)


def svrg(every: int, batches: int, **knobs: Any) -> Method:
    """MeZO-SVRG; `batches` minibatches hold all training rows."""
    knobs = {**DEFAULTS["mezo_svrg"], **knobs}
    make = partial(loren_jax.mezo_svrg, num_directions=1, every=every, **knobs)
    return Method(make, lambda step: 4 if step % every else 2 * batches, full=True)


def along_inputs(
    num_directions: int, batches: int, rank: int | None = None, count: int = 10, power: float = 0.0
) -> Method:
    """`input_subspace` along the inputs of every matrix, as all training rows have them.

    Args:
      num_directions: K.
      batches: minibatches that hold all training rows, which are seen once, without their labels.
      rank: of directions of other leaves.
      count: directions of a matrix's inputs.
      power: of the inputs' variance.
    """

    def prepare(task: Any) -> dict[str, Any]:
        value_fn = lambda params: task.loss(params, task.train)
        mask = task.train.get("mask")
        factors = input_factors(value_fn, task.params, count=count, power=power, weights=mask)
        return {"factors": factors}

    def make(rate: Any, key: Any, factors: Any = MappingProxyType({})) -> Any:
        # The factors are in the state from `init` on.
        knobs = {"num_directions": num_directions, "rank": rank}
        return loren_jax.input_subspace(rate, factors, key=key, **knobs)

    return Method(make, lambda step: num_directions, prepare=prepare, before=batches)


def adamw() -> Method:
    """AdamW with gradients, the ceiling."""
    make = lambda rate, key: optax.adamw(rate)
    return Method(make, lambda step: GRADIENT_PASSES, gradient=True)


def methods(batches: int, vector_rate: float, rank: int | None = None) -> Mapping[str, Method]:
    """All methods.

    Args:
      batches: minibatches that hold all training rows.
      vector_rate: learning rate of ZO-Muon's vectors.
      rank: rank of the directions where a method leaves the choice; None for full Gaussian.

    Returns:
      Methods by name, MeZO first.
    """
    # A head has few inputs that carry a label; large matrices keep all directions, by variance.
    inputs = {} if rank is None else {"rank": rank, "count": 64, "power": 1.0}
    return {
        "mezo": method("mezo", 3, rank=rank),
        "loren": method("loren", 6, rank=rank),
        "loren, no momentum": method("loren", 6, rank=rank, momentum=None),
        "loren, along the inputs": along_inputs(6, batches, **inputs),
        "loren, along the inputs, K 4": along_inputs(4, batches, **inputs),
        "mezo, one pair": method("mezo", 1, rank=rank),
        "adamw, gradients": adamw(),
        "mezo_adam": method("mezo_adam", 3, rank=rank),
        "zo_muon": method("zo_muon", 5, vector_learning_rate=vector_rate),
        "lozo": method("lozo", 3),
        "hizoo": method("hizoo", 2),
        "r_adazo": method("r_adazo", 3, rank=rank),
        "lozo_m": method("lozo_m", 3),
        "subzero": method("subzero", 3),
        "tezo": method("tezo", 3),
        "kerzoo": method("kerzoo", 3, rank=rank),
        "mezo_bcd": method("mezo_bcd", 3, rank=rank),
        "mezo_svrg": svrg(2, batches, rank=rank),
        "mezo_svrg, every 10": svrg(10, batches, rank=rank),
    }
