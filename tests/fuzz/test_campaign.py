"""Some seconds of random programs; `python -m tests.fuzz` runs them for hours."""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import pytest

from loren_jax.evaluation._perturbed import contraction, indexing, rules
from loren_jax.evaluation._perturbed.interpreter import Interpreter, bind

from . import campaign


@pytest.fixture(autouse=True)
def ranks_are_promoted_as_for_users():
    with jax.numpy_rank_promotion("allow"):
        yield


def one_is_wrong(only, *, of):
    """Whether one of so many programs with an operation is found to be; none runs behind it."""
    found = []
    seeds = itertools.takewhile(lambda _: not found, range(of))
    report = campaign.run(
        seeds, only=only, reduce=False, on_failure=lambda _, verdict: found.append(verdict)
    )
    return report.kinds["wrong"] > 0


@pytest.mark.slow
def test_perturbed_evaluation_agrees_with_copies_in_double_precision():
    """The same seeds everywhere, in a process with two devices."""
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--programs", "16", "--json", "--typed"],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr[-4000:]}"
    counts = {"right": 0, "skipped": 0, "undrawn": 0, **json.loads(result.stdout.splitlines()[-1])}
    # What compares nothing finds nothing.
    assert counts["right"] > counts["programs"] / 2, counts
    assert counts["skipped"] + counts["undrawn"] < counts["programs"] / 5, counts


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5006752, 7000520, 7001094, 8000760])
def test_programs_that_failed_once(seed):
    """Parts of a mesh outside a compiled program; noise scaled in float64."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.fuzz", "--replay", str(seed)]
    env = {**os.environ, "PYTHONPATH": str(root)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=root, env=env)
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
def test_a_wrong_rule_is_found(monkeypatch):
    """A rule that turns the weight and forgets the factors."""

    def forgetful(interpreter, equation, inputs):
        (leaf,) = inputs
        return replace(leaf, weight=bind(equation, (leaf.weight,)))

    monkeypatch.setitem(rules.RULES, "rev", forgetful)
    assert one_is_wrong("rev", of=8)


@pytest.mark.slow
def test_a_lost_tail_of_noise_is_found(monkeypatch):
    """The narrower block behind the others is left out of a product."""
    over_blocks = contraction.over_blocks

    def without_tail(direction, carry, fn):
        widths = []

        def whole_blocks(carry, start, width):
            widths.append(width)
            return fn(carry, start, width) if width == widths[0] else carry

        return over_blocks(direction, carry, whole_blocks)

    monkeypatch.setattr(contraction, "over_blocks", without_tail)
    assert one_is_wrong("attend", of=40)


@pytest.mark.slow
def test_rows_that_are_not_there_are_found_where_they_should_be_filled(monkeypatch):
    """Indices out of range, taken for the nearest in range."""
    drawn_rows, clip = indexing._draw_rows, jax.lax.GatherScatterMode.CLIP

    def nearest(equation, leaf, indices):
        return drawn_rows(equation.replace(params=equation.params | {"mode": clip}), leaf, indices)

    monkeypatch.setattr(indexing, "_draw_rows", nearest)
    assert one_is_wrong("rows", of=16)


@pytest.mark.slow
def test_what_leaves_beside_the_loss_is_compared(monkeypatch):
    """A weight that leaves as it came, without its perturbation."""

    def forgetful(interpreter, values, primitive):
        every = [interpreter.dense_one(x, primitive) for x in values]
        if primitive != "output of the loss":
            return every
        return [getattr(x, "weight", y) for x, y in zip(values, every, strict=True)]

    monkeypatch.setattr(Interpreter, "dense", forgetful)
    assert one_is_wrong("neg", of=16)
