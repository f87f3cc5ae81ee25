"""When to give up for want of finite losses."""

import numpy as np
from loren_jax.train.vitality import Vitality

HALVES = np.array([[0], [0], [1], [1]])
NAN = np.nan


def deaths(rows, groups=lambda shape: None, limit=3):
    vitality, dead, found = Vitality(limit, groups), 0, []
    for row in rows:
        losses = np.array(row, np.float32)[:, None]
        dead = 0 if np.isfinite(losses).any() else dead + 1
        found.append(vitality.dead(losses, dead))
    return found


def test_all_losses_in_a_row():
    assert [d and d.group for d in deaths([[NAN, NAN]] * 2 + [[1, NAN]] + [[NAN, NAN]] * 2)] == [
        None
    ] * 5
    assert deaths([[NAN, NAN]] * 3)[-1].steps == 3


def test_those_of_one_group_while_others_are_finite():
    groups = lambda shape: HALVES
    half = [1.0, 2.0, NAN, NAN]
    assert deaths([half] * 3, groups)[-1].group == 1
    assert deaths([half, half, [1, 2, 3, NAN], half, half], groups) == [None] * 5
    assert deaths([half] * 3)[-1] is None  # of one group it is masked


def test_a_dead_run_is_not_blamed_on_a_group():
    found = deaths([[NAN] * 4] * 3, lambda shape: HALVES)
    assert found[:2] == [None, None]
    assert found[2].group is None
    assert found[2].text(3, []).startswith("no loss was finite in the last 3 steps, up to step 3:")
