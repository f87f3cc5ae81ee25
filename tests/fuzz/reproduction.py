"""The smallest program that still fails in the same way."""

import dataclasses
from collections.abc import Iterator

import jax

from loren_jax.directions.structured import Zero

from . import limits
from .comparison import Verdict, judge
from .programs import Program


def reduced(program: Program, verdict: Verdict, most: int = 40) -> tuple[Program, Verdict]:
    """A smaller program, and what is wrong with it; at most so many are tried."""
    tried = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _candidates(program):
            tried += 1
            if tried > most:
                return program, verdict
            found = judge(candidate)
            if found.kind == "wrong" and found.where == verdict.where:
                program, verdict, smaller = candidate, found, True
                break
    return program, verdict


def _candidates(program: Program) -> Iterator[Program]:
    steps = program.steps
    for end in range(1, len(steps)):
        yield program.with_steps(steps[:end])
    for gone in reversed(range(len(steps))):
        numbers = {v.number for v in steps[gone].outputs}
        taken = any(numbers & {i for i in s.inputs if isinstance(i, int)} for s in steps)
        if not taken:
            kept = program.outputs
            outputs = tuple(i for i in kept if i not in numbers)
            if outputs and gone == len(steps) - 1:
                yield program.with_steps(steps[:gone])
    if len(program.outputs) > 1:
        for output in program.outputs:
            yield dataclasses.replace(program, outputs=(output,))
    for i, kind in enumerate(program.kinds):
        if kind != "Zero" and sum(k != "Zero" for k in program.kinds) > 1:
            yield _frozen(program, i)
    if program.more:
        yield dataclasses.replace(program, more=())
        for value in program.more:
            yield dataclasses.replace(program, more=(value,))
    if program.limits != limits.USUAL:
        yield dataclasses.replace(program, limits=limits.USUAL)
    if program.mode != "jit one":
        yield dataclasses.replace(program, mode="jit one")
    if len(program.directions) > 1:
        yield dataclasses.replace(program, directions=program.directions[:1])


def _frozen(program: Program, place: int) -> Program:
    """One weight not moved."""
    zero = Zero.like(jax.ShapeDtypeStruct(program.weights[place].shape, "float32"))
    change = lambda items, new: tuple(new if i == place else x for i, x in enumerate(items))
    return dataclasses.replace(
        program,
        kinds=change(program.kinds, "Zero"),
        directions=tuple(change(move, zero) for move in program.directions),
        axes=change(program.axes, zero),
    )
