"""What is printed at the end."""

import dataclasses
from pathlib import Path

from loren_jax.train import Summary
from loren_jax.train.summary import summary_text

SUMMARY = Summary(
    optimizer="loren",
    model="minilm",
    data="reviews",
    steps=150,
    planned_steps=150,
    interrupted=False,
    accuracy_before=0.466,
    accuracy_after=0.766,
    loss_before=0.701,
    loss_after=0.513,
    majority_accuracy=0.534,
    held_out_examples=500,
    trained_parameters=770,
    parameters=22566146,
    forward_passes=9600,
    evaluation_forward_passes=20,
    nonfinite=0,
    training_seconds=80.0,
    evaluation_seconds=12.34,
    compile_seconds=3.0,
    forward_passes_per_second=120.0,
    temporary_bytes=89 * 2**20,
    peak_resident_bytes=2**30,
    peak_device_bytes=None,
)


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


def test_an_interrupted_run_says_so():
    lines = text(interrupted=True, steps=7, accuracy_after=None, loss_after=None, nonfinite=3)
    assert "interrupted at step 7 of 150" in lines
    assert "0.466 before, not evaluated after" in lines
    assert "3 losses; they had no weight" in lines


def test_a_run_of_no_steps_has_no_speed():
    assert "9,600 training, 20 evaluation\n" in text(forward_passes_per_second=None)
