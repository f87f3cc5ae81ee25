"""Learning rates over a run."""

import math

import pytest

from loren_jax.journal import schedules
from loren_jax.train.schedules import schedule_description


def rates(*arguments, steps=8, **options):
    schedule = schedules.built(schedule_description(*arguments, steps=steps, **options))
    return [float(schedule(step)) for step in range(steps + 1)]


def test_a_constant_needs_no_schedule():
    assert schedule_description("constant", 0.1, 10) is None


@pytest.mark.parametrize(
    ("kind", "fall"),
    [
        ("constant", lambda done: 1.0),
        ("linear", lambda done: 1.0 - done),
        ("cosine", lambda done: (1 + math.cos(math.pi * done)) / 2),
    ],
)
@pytest.mark.parametrize("warmup", [0, 3])
def test_shapes(kind, fall, warmup):
    if kind == "constant" and not warmup:
        return
    found = rates(kind, 2.0, warmup_steps=warmup)
    rising = [2.0 * (step + 1) / (warmup + 1) for step in range(warmup)]
    falling = [2.0 * fall((step - warmup) / (8 - warmup)) for step in range(warmup, 9)]
    assert found == pytest.approx(rising + falling, abs=1e-6)
    assert found[0] > 0
