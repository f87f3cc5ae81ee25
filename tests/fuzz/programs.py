"""Random programs: weights, directions, and a chain of operations that ends in one number."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import limits as noise_limits
from . import operations as operations
from . import perturbations
from .drafts import Draft, Step, UnfitError, Value, run
from .operations.table import TABLE
from .precision import FLOATS, Types, is_floating, spacing, text_of
from .sums import summary, summary_outside, terms

MODES = ["one", "vmap"] + ["jit one"] * 20 + ["jit vmap"] * 20 + ["queries"] * 8
"""How the queries run: eagerly, where all is compiled by itself, or as a step does."""


@dataclass(frozen=True)
class Program:
    """A drawn program, and what is asked of it.

    Attributes:
      seed: draws it.
      exact: whether sums and products of its numbers are exact, however narrow.
      x64: whether JAX's double types are on.
      mode: how the queries run.
      device: whether constants are a device's arrays or NumPy's.
      scale: of the directions.
      weights: arrays.
      kinds: of each weight's directions, in words.
      directions: for each query, one for each weight.
      axes: `vmap`'s, for the directions.
      steps: on the weights.
      outputs: numbers of the values that make the loss.
      more: numbers of values that leave beside the loss; weights among them, as they come.
      limits: of the noise that is drawn at once.
      refused: how many steps JAX refused while drawing.
    """

    seed: int
    exact: bool
    x64: bool
    mode: str
    device: bool
    scale: float
    weights: tuple[np.ndarray, ...]
    kinds: tuple[str, ...]
    directions: tuple[tuple[Any, ...], ...]
    axes: tuple[Any, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    more: tuple[int, ...] = ()
    limits: noise_limits.Limits = noise_limits.USUAL
    refused: int = 0

    @property
    def wide(self) -> bool:
        """Whether the loss is summed in double precision."""
        return any(w.dtype == np.float64 for w in self.weights)

    def value(self, types: Types, params: tuple[Any, ...]) -> Any:
        """The loss of the program's own types, or of double ones; perhaps a tree with more."""
        values = run(self.steps, replace(types, device=self.device), params)
        loss = summary(types, [values[i] for i in self.outputs], self.wide)
        if not self.more:
            return loss
        return {"loss": loss, "more": {f"value {i}": (values[i],) for i in self.more}}

    def shape_and_dtype(self, number: int) -> tuple[tuple[int, ...], Any]:
        """Of a weight, or of what a step makes."""
        made = [*self.weights, *(v for step in self.steps for v in step.outputs)]
        found = {getattr(v, "number", i): v for i, v in enumerate(made)}[number]
        return found.shape, found.dtype

    def numbers(self, result: Any) -> list[float]:
        """One number for the loss and one for each value beside it."""
        if not self.more:
            return [float(result)]
        more = [result["more"][f"value {i}"][0] for i in self.more]
        return [float(result["loss"]), *map(summary_outside, more)]

    def numbers_and_sizes(self, types: Types, params: tuple[Any, ...]) -> tuple[Any, Any]:
        """These numbers, and the sums of the absolute terms that they are made of."""
        values = run(self.steps, replace(types, device=self.device), params)
        groups = [self.outputs, *((i,) for i in self.more)]
        parts = [terms(types, [values[i] for i in group], self.wide) for group in groups]
        total = lambda terms: sum(t.sum() for t in terms)
        return (
            jnp.stack([total(p) for p in parts]),
            jnp.stack([total(map(abs, p)) for p in parts]),
        )

    @property
    def dtypes(self) -> set[Any]:
        """The floating-point types in it, nested functions left out."""
        kinds = {w.dtype for w in self.weights}
        for step in self.steps:
            kinds |= {v.dtype for v in step.outputs}
            kinds |= {i.dtype for i in step.inputs if isinstance(i, np.ndarray)}
        return {np.dtype(k) for k in kinds if is_floating(k)}

    @property
    def spacing(self) -> float:
        """Relative distance of neighbouring numbers of the narrowest type."""
        return max(map(spacing, self.dtypes))

    @property
    def text(self) -> str:
        """The program as a list."""
        flags = (
            ", exact" * self.exact + ", x64" * self.x64 + ", NumPy constants" * (not self.device)
        )
        if self.limits != noise_limits.USUAL:
            flags += f", {self.limits.text}"
        lines = [f"seed {self.seed}: {self.mode}, scale {self.scale}{flags}"]
        for i, (w, kind) in enumerate(zip(self.weights, self.kinds, strict=True)):
            lines.append(f"  %{i} = weight {text_of(w.dtype, w.shape)}, {kind}")
        lines += [f"  {step.text}" for step in self.steps]
        more = f", beside it {', '.join(f'%{i}' for i in self.more)}" if self.more else ""
        return "\n".join([*lines, f"  loss of {', '.join(f'%{i}' for i in self.outputs)}{more}"])

    def with_steps(self, steps: tuple[Step, ...]) -> "Program":
        """The same with fewer steps; the loss is of all values that no step takes."""
        made = list(range(len(self.weights)))
        made += [v.number for step in steps for v in step.outputs]
        taken = {i for step in steps for i in step.inputs if isinstance(i, int)}
        outputs = tuple(i for i in made if i not in taken and i >= len(self.weights))
        more = tuple(i for i in self.more if i in made)
        return replace(self, steps=steps, outputs=outputs or (0,), more=more)


def draw(seed: int, only: str | None = None) -> Program:
    """The program of a seed.

    Args:
      seed: a number; neighbours take turns through the table, so that each entry gets its share.
      only: an entry that each program is to hold.

    Returns:
      The program.
    """
    names = sorted(TABLE)
    # Every so many seeds go once through the table, in an order of their own.
    order = np.random.default_rng(seed // len(names)).permutation(len(names))
    wanted = only or names[order[seed % len(names)]]
    for attempt in range(40):
        rng = np.random.default_rng((seed, attempt))
        x64 = bool(rng.random() < 0.4)
        with jax.enable_x64(x64):
            try:
                return _attempt(rng, seed, x64, wanted)
            except UnfitError:
                continue
    raise UnfitError(f"{wanted} fits no program of seed {seed}")


def _attempt(rng: np.random.Generator, seed: int, x64: bool, wanted: str) -> Program:
    names = ["f32"] * 4 + ["bf16", "bf16", "f16", "f8e4m3", "f8e5m2"] + ["f64"] * 4 * x64
    # Steps on two bits of mantissa leave little to compare: one of several weights has them.
    main = str(rng.choice([name for name in names if name != "f8e5m2"]))
    exact = bool(rng.random() < (0.2 if main == "f32" else 0.75)) or main == "f64"
    draft = Draft(rng, exact, TABLE)
    exacts = [1.0, 0.5, -0.5, 2.0]
    # Of few digits small steps leave nothing to compare.
    small = [0.3, -0.1] if main in ("f32", "f64") else [0.3]
    scale = float(rng.choice(exacts if exact else [*exacts, *small]))
    count, wants = draft.choice([1, 2, 2, 3]), TABLE[wanted].wants
    draft.meshes = wants.startswith("even") or draft.flip(0.3)
    several = wants in ("pair", "stacks")
    weights, kinds, moves = [], [], []
    for i in range(draft.choice([2, 2, 3] if several else [1, 1, 2, 2, 3])):
        dtype = FLOATS[main if i == 0 or draft.flip(0.7) else draft.choice(names)]
        alike = i and draft.flip(0.8 if several else 0.4)
        w = weights[0][::-1].astype(dtype) if alike else perturbations.weight(draft, dtype, wants)
        kind, made = perturbations.directions(draft, w, scale, count, wants)
        weights.append(w)
        kinds.append(kind)
        moves.append(made)
        draft.values.append(Value(i, w.shape, w.dtype, kind != "Zero"))
    if all(kind == "Zero" for kind in kinds):
        raise UnfitError
    before = draft.choice([0, 0, 0, 0, 1] if wants else [0, 0, 1, 1, 2])
    for _ in range(before):
        draft.grow()
    if not draft.grow(wanted, attempts=6):
        raise UnfitError
    for _ in range(draft.choice([0, 0, 1, 2, 3])):
        draft.grow()
    queries = tuple(zip(*moves, strict=True))
    more = draft.subset(range(len(draft.values)), 1, 3) if draft.flip(0.3) else []
    noisy = any("Seeded" in kind for kind in kinds)
    program = Program(
        seed,
        exact,
        x64,
        draft.choice(MODES),
        draft.flip(0.8),
        scale,
        tuple(weights),
        tuple(kinds),
        queries,
        perturbations.axes(queries[0]),
        (),
        (),
        tuple(sorted(more)),
        noise_limits.draw(draft) if noisy else noise_limits.USUAL,
        draft.refused,
    )
    return program.with_steps(tuple(draft.steps))
