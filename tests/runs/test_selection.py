"""The best evaluation is kept, by score and then by loss, and only what is trained is copied."""

import jax.numpy as jnp
import numpy as np
import pytest

from loren_jax.runs import Selection

NAN = float("nan")


def params(value):
    return {"head": {"bias": jnp.full(2, value)}, "body": jnp.full(3, value)}


def selection(score="accuracy", patience=None):
    return Selection(score, lambda path: path.startswith("head/"), patience)


def scored(accuracy, loss=0.5, **more):
    return {"accuracy": accuracy, "loss": loss, **more}


def test_the_best_trained_leaves_come_back():
    kept = selection()
    judged = [
        kept.consider(step, params(float(step)), scored(accuracy))
        for step, accuracy in enumerate((0.5, 0.8, 0.7))
    ]
    assert judged == [True, True, False]
    assert (kept.best.step, set(kept.best.leaves)) == (1, {"head/bias"})
    restored = kept.restore(params(9.0))
    np.testing.assert_array_equal(restored["head"]["bias"], np.full(2, 1.0))
    np.testing.assert_array_equal(restored["body"], np.full(3, 9.0))  # frozen, and not copied


def test_what_is_kept_survives_the_next_step():
    kept, now = selection(), params(1.0)
    kept.consider(1, now, scored(0.5))
    now["head"]["bias"].delete()  # as a step that overwrites its arguments does
    np.testing.assert_array_equal(kept.restore(params(2.0))["head"]["bias"], np.full(2, 1.0))


@pytest.mark.parametrize(
    ("score", "first", "second", "better"),
    [
        ("accuracy", scored(0.5), scored(0.6, 9.0), True),
        ("accuracy", scored(0.5), scored(0.5, 0.4), True),
        ("accuracy", scored(0.5), scored(0.5), False),
        ("accuracy", scored(0.5, NAN), scored(0.5, 9.0), True),
        ("accuracy", scored(0.5), scored(0.5, NAN), False),
        ("matthews", scored(0.75, matthews=0.0), scored(0.5, matthews=0.5), True),
        ("-loss", scored(0.9, 0.5), scored(0.1, 0.4), True),
        ("-loss", scored(0.1, 0.5), scored(0.9, 0.6), False),
        ("-loss", scored(0.5, NAN), scored(0.5, 9.0), True),
        ("-loss", scored(0.5, 0.5), scored(0.5, NAN), False),
        ("-error", {"error": 2.0}, {"error": 1.0}, True),
        ("error", {"error": 2.0}, {"error": 1.0}, False),
    ],
)
def test_what_is_better(score, first, second, better):
    kept = selection(score)
    assert kept.consider(0, params(0.0), first)
    assert kept.consider(1, params(1.0), second) == better


def test_a_score_that_there_is_none_of_is_named():
    with pytest.raises(ValueError, match=r"select is '-lost', but evaluate gives accuracy, loss: "):
        selection("-lost").consider(0, params(0.0), scored(0.5))


def test_patience_counts_evaluations_in_a_row_also_behind_a_checkpoint():
    kept, seen = selection(patience=2), []
    for step, accuracy in enumerate((0.5, 0.4, 0.6, 0.6, 0.6)):
        kept.consider(step, params(float(step)), scored(accuracy))
        seen.append(kept.exhausted)
        again = selection(patience=2)
        again.go_on(kept.facts(), kept.best.leaves)
        kept = again
    assert seen == [False, False, False, False, True]
    assert (kept.best.step, kept.best.scores) == (2, scored(0.6))
    assert not selection().exhausted


def test_nothing_evaluated_changes_nothing():
    now = params(3.0)
    assert selection().restore(now) is now
