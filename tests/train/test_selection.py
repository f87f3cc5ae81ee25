"""The best evaluation is kept, by metric and then by loss, and only what is trained is copied."""

import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.train import Score, Selection


def score(accuracy, loss=0.5, confusion=((1, 1), (1, 1))):
    return Score(accuracy, loss, 4, 1, confusion)


def params(value):
    return {"head": {"bias": jnp.full(2, value)}, "body": jnp.full(3, value)}


def selection(metric="accuracy", patience=None):
    return Selection(metric, lambda path: path.startswith("head/"), patience)


def test_the_best_trained_leaves_come_back():
    kept = selection()
    judged = [
        kept.consider(step, params(float(step)), score(accuracy))
        for step, accuracy in enumerate((0.5, 0.8, 0.7))
    ]
    assert judged == [True, True, False]
    assert (kept.best.step, set(kept.best.leaves)) == (1, {"head/bias"})
    restored = kept.restore(params(9.0))
    np.testing.assert_array_equal(restored["head"]["bias"], np.full(2, 1.0))
    np.testing.assert_array_equal(restored["body"], np.full(3, 9.0))  # frozen, and not copied


def test_what_is_kept_survives_the_next_step():
    kept, now = selection(), params(1.0)
    kept.consider(1, now, score(0.5))
    now["head"]["bias"].delete()  # as a step that overwrites its arguments does
    np.testing.assert_array_equal(kept.restore(params(2.0))["head"]["bias"], np.full(2, 1.0))


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [
        (score(0.5, 0.5), score(0.5, 0.4), True),
        (score(0.5, 0.5), score(0.5, 0.5), False),
        (score(0.5, float("nan")), score(0.5, 9.0), True),
        (score(0.5, 0.5), score(0.5, float("nan")), False),
        (score(0.5, 0.5), score(0.6, 9.0), True),
    ],
)
def test_ties_go_to_the_lower_loss(first, second, better):
    kept = selection()
    kept.consider(0, params(0.0), first)
    assert kept.consider(1, params(1.0), second) == better


def test_another_metric_may_choose_another_step():
    kept = selection("matthews")
    kept.consider(0, params(0.0), score(0.75, confusion=((0, 1), (0, 3))))
    assert kept.consider(1, params(1.0), score(0.5, confusion=((1, 0), (2, 1))))


def test_patience_counts_evaluations_in_a_row():
    kept = selection(patience=2)
    seen = []
    for step, accuracy in enumerate((0.5, 0.4, 0.6, 0.6, 0.6)):
        kept.consider(step, params(0.0), score(accuracy))
        seen.append(kept.exhausted)
    assert seen == [False, False, False, False, True]
    assert not selection().exhausted


def test_nothing_evaluated_changes_nothing():
    now = params(3.0)
    assert selection().restore(now) is now
