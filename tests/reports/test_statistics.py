"""Means over runs; whole runs are in tests/train."""

import dataclasses

from reports.summaries import SUMMARY

from loren_jax.reports.statistics import reported_scores, spread_text

TEST = {"loss": 0.5, "accuracy": 0.7, "matthews": 0.4, "majority_accuracy": 0.6, "examples": 10}
PLAIN = {"held-out accuracy": 0.766, "majority class": 0.534, "training seconds": 80.0}
TESTED = {
    **{"held-out accuracy": 0.766, "training seconds": 80.0, "test majority class": 0.6},
    **{"test loss": 0.5, "test accuracy": 0.7, "test matthews": 0.4},
}


def test_scores_that_are_worth_a_mean():
    assert reported_scores(SUMMARY.as_json()) == PLAIN
    assert reported_scores(dataclasses.replace(SUMMARY, test=TEST).as_json()) == TESTED


def test_the_scores_of_a_summary_of_version_0_1_0():
    """It had the other metrics of a test apart, and no name for what was evaluated."""
    test = {"accuracy": 0.7, "loss": 0.5, "metrics": {"matthews": 0.4}, "majority_accuracy": 0.6}
    old = {"accuracy_after": 0.8, "selected_step": 3, "training_seconds": 2.0, "test": test}
    found = reported_scores(old)
    assert (found["dev accuracy"], found["test accuracy"], found["test matthews"]) == (
        0.8,
        0.7,
        0.4,
    )
    assert found["test majority class"] == 0.6


def test_spread_of_nothing():
    assert spread_text({"mean": None, "std": None}) == "-"
