"""Means over seeds; whole runs are in test_protocol_runs.py."""

import dataclasses

import pytest
from train_summaries import SUMMARY

from loren_jax.train import TestScore
from loren_jax.train.seeds import reported_scores, score_statistics, spread_text

TEST = TestScore(
    examples=10, accuracy=0.7, loss=0.5, metrics={"matthews": 0.4}, majority_accuracy=0.6
)


def test_scores_that_are_worth_a_mean():
    plain = reported_scores(SUMMARY)
    assert plain == {
        "held-out accuracy": 0.766,
        "majority class": 0.534,
        "training seconds": 80.0,
    }
    changes = {"selected_step": 3, "metric": "matthews", "selected_score": 0.3, "test": TEST}
    found = reported_scores(dataclasses.replace(SUMMARY, **changes))
    assert found["dev matthews"] == 0.3
    assert (found["test accuracy"], found["test matthews"]) == (0.7, 0.4)
    assert found["test majority class"] == 0.6


def test_only_what_all_runs_have():
    runs = [
        dataclasses.replace(SUMMARY, test=test, training_seconds=seconds)
        for test, seconds in ((TEST, 10.0), (None, 14.0))
    ]
    common = score_statistics(runs)
    assert "test accuracy" not in common
    assert common["training seconds"] == {"mean": 12.0, "std": pytest.approx(8**0.5)}
    assert score_statistics(runs[:1])["test accuracy"] == {"mean": 0.7, "std": None}


def test_spread_of_nothing():
    assert spread_text({"mean": None, "std": None}) == "-"
