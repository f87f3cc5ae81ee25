"""What is printed at the end."""

import dataclasses
from pathlib import Path

from loren_jax.train.summary import summary_text
from train_summaries import SUMMARY

from loren_jax.train import TestScore


def text(**changes):
    return summary_text(dataclasses.replace(SUMMARY, **changes), Path("runs/x"), ["model/", "a"])


def test_everything_is_said():
    assert text() == (
        "loren on minilm, reviews: 150 steps\n"
        "  held-out accuracy  0.466 before, 0.766 after; majority class 0.534 (500 examples)\n"
        "  held-out loss      0.701 before, 0.513 after\n"
        "  trained            770 of 22,566,146 parameters\n"
        "  forward passes     9,600 training, 20 evaluation; 120.0 a second in training\n"
        "  time               80.0 s training, 12.3 s evaluation, 3.0 s compilation\n"
        "  memory             89 MiB temporary of a step, 1,024 MiB peak of the process\n"
        "  written            runs/x/ (model/, a)"
    )


def test_a_protocol_is_named_and_its_test_score_told():
    test = TestScore(
        examples=872, accuracy=0.75, loss=0.5, metrics={"matthews": 0.4}, majority_accuracy=0.509
    )
    lines = text(
        protocol="clean",
        metric="matthews",
        selected_step=100,
        selected_score=0.456,
        stopped=True,
        steps=120,
        test=test,
    ).splitlines()
    assert lines[0] == "loren on minilm, reviews: stopped at step 120 of 150, no longer better"
    assert [line.split(maxsplit=1) for line in lines[1:2]] == [["protocol", "clean"]]
    assert lines[2].startswith("  dev accuracy    0.466 before, 0.766 selected; majority class 0.5")
    assert "  selected        step 100, matthews 0.456" in lines
    expected = "accuracy 0.750, matthews 0.400; majority class 0.509 (872 examples)"
    assert f"  test            {expected}" in lines


def test_json_holds_the_test_score():
    test = TestScore(examples=1, accuracy=1.0, loss=0.1, metrics={}, majority_accuracy=1.0)
    values = dataclasses.replace(SUMMARY, test=test).as_json()
    assert values["test"]["loss"] == 0.1
    assert SUMMARY.as_json()["test"] is None


def test_an_interrupted_run_says_so():
    lines = text(interrupted=True, steps=7, accuracy_after=None, loss_after=None, nonfinite=3)
    assert "interrupted at step 7 of 150" in lines
    assert "0.466 before, not evaluated after" in lines
    assert "3 losses; they had no weight" in lines


def test_a_run_of_no_steps_has_no_speed():
    assert "9,600 training, 20 evaluation\n" in text(forward_passes_per_second=None)
