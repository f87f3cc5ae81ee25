"""What is printed at the end, and what a program reads of it."""

import dataclasses
import json
from pathlib import Path

import pytest
from reports.summaries import SUMMARY

from loren_jax.reports import Summary, summary_text
from loren_jax.reports.class_scores import class_scores
from loren_jax.reports.comparison import reported_scores

TEST = {"loss": 0.5, "accuracy": 0.75, "matthews": 0.4, "majority_accuracy": 0.509, "examples": 872}
SELECTED = {
    **{"metric": "matthews", "selected_step": 100, "stopped": True, "steps": 120, "test": TEST},
    "after": {"accuracy": 0.766, "matthews": 0.456},
    "facts": {**SUMMARY.facts, "protocol": "clean", "held_out": "dev"},
}


def text(directory, **changes):
    return summary_text(dataclasses.replace(SUMMARY, **changes), directory)


def test_everything_is_said(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "metrics.jsonl").touch()
    (tmp_path / "notes.txt").touch()
    assert text(tmp_path) == (
        "loren on minilm, reviews: 150 steps\n"
        "  held-out accuracy  0.466 before, 0.766 after; majority class 0.534 (500 examples)\n"
        "  held-out loss      0.701 before, 0.513 after\n"
        "  trained            770 of 22,566,146 parameters\n"
        "  forward passes     9,600 training, 20 evaluation; 120.0 a second in training\n"
        "  time               80.0 s training, 12.3 s evaluation, 3.0 s compilation\n"
        "  memory             89 MiB temporary of a step, 1,024 MiB peak of the process\n"
        f"  written            {tmp_path}/ (model/, metrics.jsonl)"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (SELECTED, "loren on minilm, reviews: stopped at step 120 of 150, no longer better\n"),
        (SELECTED, "\n  protocol        clean\n"),
        (SELECTED, "\n  dev accuracy    0.466 before, 0.766 selected; majority class 0.534 (500"),
        (SELECTED, "\n  selected        step 100, matthews 0.456\n"),
        (
            SELECTED,
            "\n  test            loss 0.500, accuracy 0.750, matthews 0.400; majority class 0.509 "
            "(872 examples)\n",
        ),
        ({"interrupted": True, "steps": 7, "after": None}, "interrupted at step 7 of 150"),
        ({"interrupted": True, "steps": 7, "after": None}, "accuracy  0.466 before, - after"),
        ({"nonfinite": 3}, "3 losses; they had no weight"),
        ({"forward_passes_per_second": None}, "9,600 training, 20 evaluation\n"),
    ],
)
def test_what_is_not_of_every_run_is_said_where_it_is(changes, said):
    assert said in text(Path("runs/x"), **changes)


def test_a_run_of_no_classifier_has_its_scores_alone():
    plain = {"before": {"score": 1.0}, "after": {"score": 0.25}, "facts": {}}
    lines = text(Path("runs/x"), **plain).splitlines()
    assert lines[:2] == ["x: 150 steps", "  score           1.000 before, 0.250 after"]


BY_CLASS = {"by_class": class_scores([[200, 33], [84, 183]], ("bad", "good"))}
CLASSES = {"after": {**SUMMARY.after, **BY_CLASS}}
TESTED = {**SELECTED, "test": {**TEST, **BY_CLASS}, "after": {**SELECTED["after"], **BY_CLASS}}


def test_every_class_is_told_with_the_interval_of_the_accuracy():
    told = text(Path("runs/x"), **CLASSES)
    assert "0.466 before, 0.766 after (95 % interval 0.727 to 0.801); majority class" in told
    assert told.splitlines()[-4:] == [
        "  by class, held-out macro F1 0.766",
        "            precision  recall     F1  examples  answered    1    2",
        "    1 bad       0.704   0.858  0.774       233            200   33",
        "    2 good      0.847   0.685  0.758       267             84  183",
    ]


def test_the_test_is_told_class_by_class_and_what_was_selected_has_no_interval():
    told = text(Path("runs/x"), **TESTED)
    assert "0.400 (95 % interval 0.727 to 0.801); majority class 0.509 (872 examples)" in told
    assert "0.766 selected; majority class 0.534" in told
    assert "  by class, test macro F1 0.766" in told
    assert told.count("by class") == 1


def test_a_mean_over_seeds_is_of_numbers():
    summary = dataclasses.replace(SUMMARY, **TESTED)
    assert all(isinstance(v, float) for v in reported_scores(summary.as_json()).values())


@pytest.mark.parametrize(
    "changes", [{}, SELECTED, {"before": None, "after": None}, CLASSES, TESTED]
)
def test_json_holds_everything(changes):
    summary = dataclasses.replace(SUMMARY, **changes)
    values = json.loads(json.dumps(summary.as_json()))
    again = Summary.from_json(values)
    assert again.as_json() == values
    assert again.test == summary.test
    scores = {n: v for n, v in (summary.after or {}).items() if n != "examples"}
    assert (again.after or {}) == scores
