"""What a run will take, measured before its first step."""

import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from loren_jax.runs.programs import Programs
from loren_jax.types import PyTree

_COPIED = 64 * 2**20
"""Bytes of parameters and state up to which a whole step is tried, on copies of them."""


class Forecast(NamedTuple):
    """What a run will take.

    Attributes:
      steps: Steps to take.
      forward_passes: Forward passes of all of them.
      step_seconds: Time of a step; without its update where that could not be tried.
      evaluations: Evaluations still to make.
      evaluation_seconds: Time of one; None where there are none.
      compile_seconds: Time of the compilation.
      parameter_bytes: Size of the parameters, the frozen ones too.
      temporary_bytes: What a step needs beside its arguments and results; None if unknown.
    """

    steps: int
    forward_passes: int
    step_seconds: float
    evaluations: int
    evaluation_seconds: float | None
    compile_seconds: float
    parameter_bytes: int
    temporary_bytes: int | None

    @property
    def seconds(self) -> float:
        """All steps and evaluations."""
        return self.steps * self.step_seconds + self.evaluations * (self.evaluation_seconds or 0.0)

    @property
    def text(self) -> str:
        """One line for people.

        >>> Forecast(100, 600, 0.9, 2, 5.0, 3.0, 86 * 2**20, None).text
        'about 1 min 40 s: 600 forward passes in 100 steps of 0.9 s, 2 evaluations of 5 s; ...'
        """
        parts = [
            f"{self.forward_passes:,} forward passes in {self.steps:,} steps of "
            f"{self.step_seconds:.2g} s"
        ]
        if self.evaluation_seconds is not None and self.evaluations:
            each = "evaluation" if self.evaluations == 1 else "evaluations"
            parts.append(f"{self.evaluations:,} {each} of {self.evaluation_seconds:.2g} s")
        memory = f"{_mebibytes(self.parameter_bytes)} of parameters"
        if self.temporary_bytes is not None:
            memory += f" and {_mebibytes(self.temporary_bytes)} for a step"
        return f"about {_duration(self.seconds)}: {', '.join(parts)}; memory: {memory}"


def step_seconds(programs: Programs, params: PyTree, state: PyTree, batch: PyTree) -> float:
    """The time of a step, which changes nothing: its losses are thrown away."""
    start = time.perf_counter()
    losses = jax.block_until_ready(programs.probe(params, state, batch))
    seconds = time.perf_counter() - start
    if nbytes((params, state)) > _COPIED:
        return seconds
    copies = jax.tree.map(jnp.copy, (params, state))
    start = time.perf_counter()
    jax.block_until_ready(programs.absorb(*copies, losses))
    return seconds + time.perf_counter() - start


def nbytes(tree: PyTree) -> int:
    """The size of all arrays of a tree."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _duration(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds.

    >>> _duration(9.6), _duration(100.0), _duration(3700.0)
    ('10 s', '1 min 40 s', '1 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
