"""Programs while they are drawn: steps on numbered values, of known shapes and types."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from .precision import OTHERS, OWN, Types, is_floating, is_integer, text_of


class UnfitError(Exception):
    """The operation cannot be applied to the values that were drawn."""


def need(condition: Any) -> None:
    """Gives an operation up."""
    if not condition:
        raise UnfitError


@dataclass(frozen=True)
class Value:
    """What a step makes: its number, its shape and type, and whether a weight is in it."""

    number: int
    shape: tuple[int, ...]
    dtype: Any
    touched: bool

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def text(self) -> str:
        """As in a report."""
        return f"%{self.number}:{text_of(self.dtype, self.shape)}"


Operand = Value | np.ndarray
Apply = Callable[..., Any]
"""`(types, *arrays) -> pytree of arrays`."""


@dataclass(frozen=True)
class Step:
    """One operation on earlier values, and on constants of its own."""

    name: str
    text: str
    inputs: tuple[int | np.ndarray, ...]
    apply: Apply
    outputs: tuple[Value, ...]


@dataclass(frozen=True)
class Operation:
    """An entry of the table.

    Attributes:
      name: as in `--only`.
      make: `(draft, value) -> (text, apply, operands)`; `apply` gets the value first.
      covers: the public functions of `jax.lax` that it runs.
      keeps: whether a lazily perturbed value may stay so.
      wants: the weights of a program that is drawn for it, if they are to be of a special kind.
    """

    name: str
    make: Callable[["Draft", Value], tuple[str, Apply, Sequence[Operand]]]
    covers: tuple[str, ...]
    keeps: bool
    wants: str = ""


@dataclass(frozen=True)
class Body:
    """A drawn function: steps on its own inputs; gives the last value."""

    steps: tuple[Step, ...]
    number_of_inputs: int
    last: Value

    def __call__(self, types: Types, *inputs: Any) -> Any:
        """The last value."""
        return run(self.steps, types, inputs)[self.last.number]

    @property
    def text(self) -> str:
        """All steps in one line."""
        return "{" + "; ".join(s.text for s in self.steps) + f" -> %{self.last.number}}}"


def run(steps: Sequence[Step], types: Types, inputs: Sequence[Any]) -> list[Any]:
    """All values, the inputs first."""
    values = list(inputs)
    for step in steps:
        arrays = [types.array(i) if isinstance(i, np.ndarray) else values[i] for i in step.inputs]
        values += jax.tree.leaves(step.apply(types, *arrays))
    return values


@dataclass
class Draft:
    """Steps so far, and the random numbers for more.

    Attributes:
      rng: of the program.
      exact: whether constants are small dyadic numbers, so that sums and products are exact.
      table: the operations to draw from.
      values: inputs and what the steps make.
      steps: drawn so far.
      depth: how many functions deep this one is.
      meshes: whether meshes have several devices. XLA's partitioner then meets every operation,
        and ends the process at narrow indices.
      refused: how often JAX refused a step, which was then drawn anew.
    """

    rng: np.random.Generator
    exact: bool
    table: dict[str, Operation]
    values: list[Value] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    depth: int = 0
    meshes: bool = False
    refused: int = 0

    def integer(self, low: int, high: int) -> int:
        """From `low` to `high`, both included."""
        return int(self.rng.integers(low, high + 1))

    def flip(self, chance: float = 0.5) -> bool:
        """True with this chance."""
        return bool(self.rng.random() < chance)

    def choice(self, items: Sequence[Any]) -> Any:
        """One of the items."""
        need(len(items))
        return items[self.integer(0, len(items) - 1)]

    def permutation(self, number: int) -> tuple[int, ...]:
        """The first numbers in any order."""
        return tuple(int(i) for i in self.rng.permutation(number))

    def subset(self, items: Sequence[int], least: int = 0, most: int | None = None) -> list[int]:
        """Some of the items, in any order."""
        most = len(items) if most is None else min(most, len(items))
        need(most >= least)
        count = self.integer(least, most)
        return [items[i] for i in self.permutation(len(items))[:count]]

    def axis(self, x: Value) -> int:
        """One of a value's axes."""
        need(x.ndim)
        return self.integer(0, x.ndim - 1)

    def shape(self, least: int = 0, most: int = 3) -> tuple[int, ...]:
        """A small shape."""
        sizes = (1, 2, 3, 4)
        return tuple(int(self.rng.choice(sizes)) for _ in range(self.integer(least, most)))

    def dtype(self, own: Any) -> Any:
        """A type for an operand: mostly the value's own, or any other."""
        return np.dtype(own) if self.flip(0.8) else self.choice(list(OTHERS.values()))

    def index_type(self, kinds: Sequence[Any]) -> Any:
        """A type for indices."""
        kind = self.choice(kinds)
        return np.int32 if self.meshes else kind

    def array(self, shape: Sequence[int], dtype: Any, *, positive: bool = False) -> np.ndarray:
        """A constant."""
        dtype = np.dtype(dtype)
        if dtype == np.bool_:
            return np.asarray(self.rng.random(shape) < 0.5)
        if is_integer(dtype):
            low = 0 if positive or np.issubdtype(dtype, np.unsignedinteger) else -3
            return np.asarray(self.rng.integers(low, 4, shape), dtype)
        if not is_floating(dtype):
            return np.asarray(self.numbers(shape) + 1j * self.numbers(shape), dtype)
        numbers = self.numbers(shape)
        return np.asarray(np.abs(numbers) + 0.5 if positive else numbers, dtype)

    def numbers(self, shape: Sequence[int]) -> np.ndarray:
        """Real numbers, dyadic if all is to be exact."""
        if self.exact:
            return self.rng.choice([-1.5, -1.0, -0.5, 0.5, 1.0, 2.0], shape)
        return self.rng.normal(size=shape)

    def operand(self, shape: Sequence[int], dtype: Any, chance: float = 0.35) -> Operand:
        """A value of just this shape and type, or a constant."""
        fits = [
            v for v in self.values if v.touched and v.shape == tuple(shape) and v.dtype == dtype
        ]
        if fits and self.flip(chance):
            return self.choice(fits)
        return self.array(shape, dtype)

    def other(self) -> Value:
        """Any value with a weight in it."""
        return self.choice([v for v in self.values if v.touched])

    def body(self, inputs: Sequence[Any], most: int = 2) -> Body:
        """A function of things with a shape and a dtype; each may have a weight in it."""
        need(self.depth < 2)
        touched = [getattr(x, "touched", True) for x in inputs]
        pairs = enumerate(zip(inputs, touched, strict=True))
        values = [Value(i, tuple(x.shape), np.dtype(x.dtype), t) for i, (x, t) in pairs]
        inner = Draft(self.rng, self.exact, self.table, values)
        inner.depth, inner.meshes = self.depth + 1, self.meshes
        for _ in range(self.integer(1, most)):
            inner.grow()
        self.refused += inner.refused
        need(inner.steps)
        return Body(tuple(inner.steps), len(inputs), inner.values[-1])

    def grow(self, name: str | None = None, attempts: int = 12) -> bool:
        """One more step, by name or by chance; False where none was found."""
        for _ in range(attempts):
            chosen = name or self._any_name()
            try:
                self.apply(self.table[chosen], self._any_value())
            except UnfitError:
                continue
            return True
        return False

    def apply(self, operation: Operation, x: Value) -> None:
        """The operation as a step; UnfitError where it or JAX refuses."""
        text, apply, operands = operation.make(self, x)
        inputs = tuple(o if isinstance(o, np.ndarray) else o.number for o in (x, *operands))
        arrays = [jax.ShapeDtypeStruct(o.shape, o.dtype) for o in (x, *operands)]
        try:
            made = jax.eval_shape(lambda *xs: apply(OWN, *xs), *arrays)
        except UnfitError:
            raise
        except Exception as error:
            self.refused += 1
            raise UnfitError from error
        touched = any(isinstance(o, Value) and o.touched for o in (x, *operands))
        start = len(self.values)
        made = jax.tree.leaves(made)
        need(made and all(0 < np.prod(m.shape, dtype=int) <= 256 for m in made))
        outputs = tuple(
            Value(start + i, m.shape, np.dtype(m.dtype), touched) for i, m in enumerate(made)
        )
        shown = [
            f"{text_of(o.dtype, o.shape)}" if isinstance(o, np.ndarray) else o.text
            for o in (x, *operands)
        ]
        names = ", ".join(f"%{v.number}" for v in outputs)
        line = f"{names} = {operation.name}({', '.join(shown)}){' ' + text if text else ''}"
        self.steps.append(Step(operation.name, line, inputs, apply, outputs))
        self.values += outputs

    def _any_name(self) -> str:
        keeping = self.flip(0.5)
        names = [n for n, o in self.table.items() if o.keeps or not keeping]
        if self.depth:
            names = [n for n in names if not n.startswith("in ")] or names
        return self.choice(names)

    def _any_value(self) -> Value:
        touched = [v for v in self.values if v.touched]
        return touched[-1] if touched and self.flip(0.6) else self.choice(touched or self.values)
